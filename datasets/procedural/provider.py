"""Opens the splits of a category; what a procedural data set registers derives from it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, did_you_mean
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema
from datasets.procedural.category import Category
from datasets.procedural.dataset import CategoryDataset, RenderedDataset
from datasets.procedural.job import CategoryJob, class_path


class RenderOptions(BaseModel):
    """What can be chosen for every rendered set; who derives adds a count per split, named like the split.

    Attributes:
        size: Side of the square pictures in pixels.
        seed: Another seed shows other individuals.
        wild: Small subjects anywhere in a scene instead of crops that the subject fills.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=128, ge=32, le=512)
    seed: int = Field(default=0, ge=0)
    wild: bool = False


class ProceduralOptions(RenderOptions):
    """What can be chosen.

    Attributes:
        pretrain, train, test: Number of pictures in each split.
    """

    pretrain: int = Field(default=4000, ge=1)
    train: int = Field(default=1000, ge=1)
    test: int = Field(default=300, ge=1)


class RenderedProvider(DatasetProvider):
    """What all rendered sets share: nothing has to be downloaded, and the options say how much to render."""

    Options: ClassVar[type[BaseModel]] = ProceduralOptions

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """pretrain and train show the same individuals in different pictures; test shows others."""
        del location, options
        return ("pretrain", "train", "test")

    def validation_split(self, location: str | None, options: BaseModel) -> str | None:
        """Other pictures than those learned from; their landmarks are known, though pre-training ignores them."""
        return "pretrain" if "pretrain" in self.splits(location, options) else None

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """All pictures of the individuals that are not tested on."""
        del location, options
        return ("pretrain", "train")

    def render_options(
        self, split: str, location: str | None, options: BaseModel
    ) -> tuple[RenderOptions, int]:
        """The options, checked, and how many pictures the split has.

        Raises:
            BenchError: for a split that does not exist, a location, or another set's options.
        """
        if location is not None:
            raise BenchError(
                f"{self.name} is rendered and lies nowhere, but a location was given: {location!r}",
                hint="Name the data set without a location; BENCH_CACHE says where renderings are kept.",
            )
        known = self.splits(location, options)
        if split not in known:
            raise BenchError(f"{self.name} has no split {split!r}", hint=did_you_mean(split, known))
        if not isinstance(options, RenderOptions) or not isinstance(options, self.Options):
            raise BenchError(f"{self.name} takes {self.Options.__name__}, not {type(options).__name__}")
        return options, int(getattr(options, split))


class ProceduralProvider(RenderedProvider):
    """Opens a category.

    Attributes:
        category: Set by who derives, with ``name`` and ``summary`` (usually the category's own).
    """

    category: ClassVar[type[Category]]

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """Splits of one pool show the same individuals in different pictures."""
        del location, options
        return tuple(self.category.pools)

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """All splits whose individuals are not those of the test split."""
        del location, options
        pools = self.category.pools
        return tuple(split for split, pool in pools.items() if pool == pools[self.train_split])

    def open(self, split: str, location: str | None, options: BaseModel) -> RenderedDataset:
        """Open a split; cheap, nothing is rendered yet.

        Raises:
            BenchError: for a split that does not exist, or a location.
        """
        chosen, count = self.render_options(split, location, options)
        kind = self.category
        job = CategoryJob(
            split=split,
            count=count,
            size=chosen.size,
            seed=chosen.seed,
            wild=chosen.wild,
            version=kind.version,
            category=class_path(kind),
        )
        dataset = CategoryDataset(job)
        dataset.schema = LandmarkSchema(
            kind.landmark_names, kind.normaliser, kind.normaliser_name, kind.flip_indices
        )
        dataset.info = DatasetInfo(
            title=f"{kind.title} in the wild" if chosen.wild else kind.title,
            tier="procedural",
            licence="MIT",
            citation=f"bench {kind.name}, version {kind.version}, seed {chosen.seed}.",
            category=kind.kind,
        )
        return dataset
