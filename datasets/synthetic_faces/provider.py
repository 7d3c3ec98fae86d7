"""The data set ``synthetic-faces``: options, splits, samples."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, did_you_mean
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkDataset, LandmarkSchema, Sample
from bench.progress import Progress
from datasets.synthetic_faces import layout
from datasets.synthetic_faces.cache import Arrays, open_split
from datasets.synthetic_faces.job import Job, Split
from datasets.synthetic_faces.renderer import RENDERER_VERSION

_SCHEMAS = {
    5: LandmarkSchema(layout.NAMES_5, ((0,), (1,)), "eye centres", layout.FLIP_5),
    68: LandmarkSchema(layout.NAMES_68, ((36,), (45,)), "outer eye corners", layout.FLIP_68),
}


class SyntheticFacesOptions(BaseModel):
    """What can be chosen.

    Attributes:
        size: Side of the square pictures in pixels.
        landmarks: The 68 points of the iBUG order, or 5: eye centres, nose tip, mouth corners.
        seed: Another seed shows other people.
        wild: Small heads anywhere in a scene instead of crops that a face fills.
        pretrain, train, test: Number of pictures in each split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=128, ge=32, le=512)
    landmarks: Literal[5, 68] = 5
    seed: int = Field(default=0, ge=0)
    wild: bool = False
    pretrain: int = Field(default=4000, ge=1)
    train: int = Field(default=1000, ge=1)
    test: int = Field(default=300, ge=1)


class SyntheticFaces(LandmarkDataset):
    """One split; rendered when the first sample is read, unless the cache holds it.

    Rendering is deterministic; between processors, rounding may move a pixel by a grey level.
    """

    name = "synthetic-faces"

    def __init__(self, job: Job, landmarks: Literal[5, 68], progress: Progress | None = None) -> None:
        self.job, self.split, self.schema = job, job.split, _SCHEMAS[landmarks]
        self.info = DatasetInfo(
            title="Procedural faces in the wild" if job.wild else "Procedural faces",
            tier="procedural",
            licence="MIT",
            citation=f"bench synthetic-faces, renderer version {RENDERER_VERSION}, seed {job.seed}.",
            category="face",
        )
        self._landmarks = landmarks
        self._progress = progress or Progress()
        self._arrays: Arrays | None = None

    def __len__(self) -> int:
        return self.job.count

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._id(i) for i in range(len(self)))

    @property
    def fingerprint(self) -> str:
        text = f"{self.name}\n{self._landmarks}\n{self.job.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def prepare(self, workers: int | None = None) -> Arrays:
        """Render the split now, where the cache does not hold it.

        Returns:
            The memory-mapped arrays (see ``Job.shapes``), always with 68 points.
        """
        if self._arrays is None:
            self._arrays = open_split(self.job, self._progress, workers)
        return self._arrays

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a split of {len(self)}")
        index %= len(self)
        arrays, size = self.prepare(), self.job.size
        points, visible = np.array(arrays["points"][index]), np.array(arrays["visible"][index])
        if self._landmarks == 5:
            points, visible = layout.five_points(points), layout.five_visible(visible)
        mask = np.unpackbits(arrays["masks"][index], count=size * size).reshape(size, size)
        return Sample(
            id=self._id(index),
            image=torch.from_numpy(np.ascontiguousarray(arrays["images"][index].transpose(2, 0, 1))),
            points=torch.from_numpy(points),
            visible=torch.from_numpy(visible),
            identity=f"{self.job.pool}-{int(arrays['identities'][index]):05d}",
            mask=torch.from_numpy(mask.astype(np.bool_)),
            box=torch.from_numpy(np.array(arrays["boxes"][index])),
        )

    def __getstate__(self) -> dict[str, Any]:
        # A worker process maps the files itself; pickled, the maps would become copies.
        return self.__dict__ | {"_arrays": None}

    def _id(self, index: int) -> str:
        return f"{self.split}-{index:06d}"


class SyntheticFacesProvider(DatasetProvider):
    """Opens the splits of ``synthetic-faces``; nothing has to be downloaded."""

    name: ClassVar[str] = "synthetic-faces"
    summary: ClassVar[str] = "procedural 3D faces with exact landmarks, visibility, masks and identities"
    Options: ClassVar[type[BaseModel]] = SyntheticFacesOptions

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """pretrain and train show the same people in different pictures; test shows others."""
        del location, options
        return get_args(Split)

    def open(self, split: str, location: str | None, options: BaseModel) -> SyntheticFaces:
        """Open a split; cheap, nothing is rendered yet.

        Raises:
            BenchError: for a split that does not exist, or a location.
        """
        if location is not None:
            raise BenchError(
                f"synthetic-faces is rendered and lies nowhere, but a location was given: {location!r}",
                hint="Name the data set without a location; BENCH_CACHE says where renderings are kept.",
            )
        if split not in get_args(Split):
            raise BenchError(
                f"synthetic-faces has no split {split!r}", hint=did_you_mean(split, get_args(Split))
            )
        if not isinstance(options, SyntheticFacesOptions):
            raise BenchError(f"synthetic-faces takes SyntheticFacesOptions, not {type(options).__name__}")
        name = cast(Split, split)
        counts = {"pretrain": options.pretrain, "train": options.train, "test": options.test}
        job = Job(split=name, count=counts[name], size=options.size, seed=options.seed, wild=options.wild)
        return SyntheticFaces(job, options.landmarks)

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """All pictures of the people that are not tested on."""
        del location, options
        return ("pretrain", "train")
