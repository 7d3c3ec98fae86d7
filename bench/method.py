"""How a method is described, built and trained: what the entry-point group ``bench.methods`` names."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor

    from bench.features import FeatureExtractor
    from bench.progress import Progress
    from bench.weights import Weights


class MethodOptions(BaseModel):
    """Base of every method's architecture options: unknown names are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Recipe(BaseModel):
    """Base of every method's pre-training recipe. ``image_size`` is the side of the square training images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = 96


@dataclass(frozen=True)
class Preset:
    """A named choice of architecture and recipe, as overrides of their defaults (which are the paper's)."""

    summary: str
    options: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Translation:
    """What a checkpoint of other code holds, in bench's terms.

    Attributes:
        tensors: State-dict name of bench's network -> value. One file may hold a part of the network only.
        options: What the file tells about the architecture.
        unused: Name in the file -> why it is not needed (an optimiser's state, a head that is discarded).
    """

    tensors: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointFormat:
    """A layout in which an official repository saves its checkpoints.

    Attributes:
        name: Short, e.g. ``moco``.
        summary: Whose files these are, with an example of a name.
        recognise: Whether the content of a file has this layout. Content is what the file's top-level dict holds;
            whatever is neither a tensor nor plain data stands there as an inert object.
        translate: Content -> Translation. Every tensor of the content is in ``tensors`` under its new name or
            explained in ``unused``; what is in neither is reported to the user as unmatched.
    """

    name: str
    summary: str
    recognise: Callable[[Mapping[str, Any]], bool]
    translate: Callable[[Mapping[str, Any]], Translation]


@dataclass(frozen=True, eq=False)
class Annotations:
    """Landmarks of training images, for methods that learn from them.

    Shapes:
        points: (N, K, 2), float32, pixels of the images, corner origin.  visible: (N, K), bool.
    """

    points: Tensor
    visible: Tensor


@dataclass(frozen=True, eq=False)
class PretrainJob:
    """Everything that a pre-training run depends on.

    Shapes:
        images: (N, 3, S, S), uint8, S = ``recipe.image_size``.

    Attributes:
        initial: Weights to start from (fine-tuning); None: the method's initialisation.
        annotations: Of the images, for a method that ``learns_from_annotations``; else None.
        provenance: What the weights file will say about its origin (data set, fingerprint, preset, command).
        snapshot_every: Also write weights every so many steps (0: only at the end), for learning curves.
        tensorboard: Write TensorBoard events beside log.csv.
        accumulate: Parts that a batch is computed in, one after another, before a step is taken.
        on_checkpoint: To be called whenever the state of the training has been saved.
    """

    images: Tensor
    options: Any
    recipe: Any
    output: Path
    seed: int
    device: torch.device
    progress: Progress
    provenance: dict[str, Any]
    precision: str = "float32"
    snapshot_every: int = 0
    checkpoint_seconds: float = 60.0
    accumulate: int = 1
    tensorboard: bool = False
    initial: Weights | None = None
    annotations: Annotations | None = None
    on_checkpoint: Callable[[], None] = lambda: None


class Method(ABC):
    """One line of work, with its networks, its recipe and its presets.

    Attributes:
        Options: Architecture and which features are read; defaults are the paper's.
        Recipe: Pre-training hyperparameters; defaults are the paper's.
        presets: ``paper`` always exists for a method that trains.
        variants: The networks and ablations that the paper's tables name, as overrides on top of a preset.
        stages: What a pre-training does, one line per stage, in order.
        checkpoint_formats: Layouts of released checkpoints that can be read.
        fetches_weights: Whether :meth:`default_checkpoint` gives a file.
        learns_from_annotations: Whether training needs annotated images (baselines do, the papers' methods do not).
        default_preset: What ``bench run`` trains, once, where no weights are given or shipped; None: no training.
        shipped_presets: Presets whose weights may lie in :meth:`weights_folder`; where no weights are given,
            ``bench run`` takes those of the first one that does.
        rehearsal: Options that make the network small and a recipe of a few steps a stage on 24 images, with which
            ``bench doctor`` and the conformance suite go through it in seconds; None: its training is not checked.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    Options: ClassVar[type[MethodOptions]] = MethodOptions
    Recipe: ClassVar[type[Recipe]] = Recipe
    presets: ClassVar[dict[str, Preset]] = {}
    variants: ClassVar[dict[str, Preset]] = {}
    default_preset: ClassVar[str | None] = None
    shipped_presets: ClassVar[tuple[str, ...]] = ()
    rehearsal: ClassVar[Preset | None] = None
    stages: ClassVar[tuple[str, ...]] = ()
    checkpoint_formats: ClassVar[tuple[CheckpointFormat, ...]] = ()
    fetches_weights: ClassVar[bool] = False
    learns_from_annotations: ClassVar[bool] = False

    @abstractmethod
    def build(self, options: Any) -> FeatureExtractor:
        """The network, with initial weights."""

    def describe(self, options: Any) -> dict[str, Any]:
        """What a record says the network was built from, as JSON: the same for the same network."""
        described: dict[str, Any] = options.model_dump(mode="json")
        return described

    def untrained_label(self, options: Any) -> str:
        """What a record calls the initial weights."""
        del options
        return "initial weights, not trained"

    def like(self, weights: Weights) -> dict[str, Any]:
        """Options that build the network that a weights file describes; its values are left alone.

        Raises:
            BenchError: where this method cannot build that network.
        """
        if weights.method != self.name:
            raise BenchError(
                f"{weights.path} describes a network of method {weights.method!r}, not of {self.name!r}",
                hint=f"Its untrained network: --method random, or --method {weights.method}.",
            )
        return weights.options

    def weights_folder(self) -> Path:
        """Where the weights lie that are installed with the method: ``weights``, beside the module of its class."""
        return Path(inspect.getfile(type(self))).parent / "weights"

    def default_checkpoint(self, options: Any, progress: Progress) -> Path | None:
        """A released checkpoint in one of ``checkpoint_formats``, where the user names none; fetched once and kept.

        Raises:
            BenchError: where it cannot be had; says how to get it by hand.
        """
        del options, progress
        return None

    def pretrain(self, job: PretrainJob) -> Path:
        """Train without labels; resumes from ``job.output`` where a run of the same job lies there.

        Returns:
            The path of the final weights (safetensors with metadata, see ``bench.weights``).
        """
        del job
        raise BenchError(f"method {self.name!r} is not trained: it has nothing to pre-train")
