"""What is measured, and exactly how: the interface of every protocol, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.context import EvaluationData, RunContext
    from bench.features import Capability, FeatureExtractor
    from bench.landmarks import LandmarkDataset

Role = Literal["train", "validation", "test"]
Direction = Literal["lower", "higher"]
Scalar = str | int | float | bool


class ProtocolOptions(BaseModel):
    """Base of every protocol's options: unknown names are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class MetricSpec:
    """The declaration that travels with every value of a metric.

    Attributes:
        name: The definition in short, e.g. ``nme_interocular``.
        definition: One sentence: what is computed.
        unit: e.g. "% of inter-ocular distance", "px of a 70-pixel image".
        direction: Which way is better.
        averaging: How per-sample values become the one value.
    """

    name: str
    definition: str
    unit: str
    direction: Direction
    averaging: str


@dataclass(frozen=True)
class MetricValue:
    """One number with its uncertainty.

    Attributes:
        metric: Name of a declared MetricSpec.
        value: Finite; a value that does not exist is not reported.
        condition: Which cell of the protocol, e.g. ``{"annotations": 10}`` or ``{"pairs": "different"}``.
        low, high: 95 % bootstrap interval over images (None where it does not apply).
        std: Standard deviation over draws (ddof = 1), where the protocol draws.
        count: Number of images (or pairs) that the value is the mean of.
    """

    metric: str
    value: float
    condition: dict[str, Scalar] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    std: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class Measurement:
    """What a protocol hands back.

    Attributes:
        values: The metrics, in the order in which a report prints them.
        per_sample: Named arrays, e.g. errors (N, K) per image and landmark, predictions, sample ids; stored beside
            the record so that every metric can be recomputed without the model.
        notes: Remarks for the reader of the result.
        pictures: Named drawings, (H, W, 3), uint8, RGB; stored as PNG files beside the record.
    """

    values: tuple[MetricValue, ...]
    per_sample: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pictures: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


class Protocol(ABC):
    """What the entry-point group ``bench.protocols`` names. One file that reads like the paper's description.

    Attributes:
        name: As on the command line.
        version: Raised whenever a change can alter a number; part of the record's identity.
        summary: One line.
        reference: Paper, section, table.
        Options: Typed options; every field has a default (those of the ``paper`` preset).
        presets: Named overrides of the options; ``paper`` and ``quick`` always exist.
        metrics: The declared metrics.
        requires: What a method must be able to do.
        uses_training_split: Whether annotated training images are read at all.
        uses_data: Whether images are read at all; where not (costs of a network), the splits are empty.
        baselines: Methods that have learned nothing and belong beside every result; tables show where one is missing.
        uses_weights: Whether the values of the weights matter. Where not (costs again), none are asked for, fetched
            or trained; those that are given only say how the network is built.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
    reference: ClassVar[str]
    Options: ClassVar[type[ProtocolOptions]]
    presets: ClassVar[dict[str, dict[str, Any]]]
    metrics: ClassVar[tuple[MetricSpec, ...]]
    requires: ClassVar[frozenset[Capability]] = frozenset({"dense"})
    uses_training_split: ClassVar[bool] = True
    uses_data: ClassVar[bool] = True
    uses_weights: ClassVar[bool] = True
    baselines: ClassVar[tuple[str, ...]] = ("random",)

    def roles(self, options: Any) -> tuple[Role, ...]:
        """Which splits are read with these options; ``validation`` is what is chosen by, apart from both others."""
        del options
        return ("train", "test") if self.uses_training_split else ("test",)

    def view(self, dataset: LandmarkDataset, role: Role, options: Any, seed: int) -> LandmarkDataset:
        """What is read of a split, where that is not all of each image: e.g. cuts around the object's box."""
        del role, options, seed
        return dataset

    def resolve(self, options: Any, device: torch.device) -> Any:
        """The options as the record states them, where one of them depends on the device and changes the numbers."""
        del device
        return options

    @abstractmethod
    def check(self, options: Any, data: EvaluationData) -> None:
        """Raise BenchError for what cannot work, before anything is computed."""

    @abstractmethod
    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        """Measure. Equal inputs give equal numbers, whatever the batch size or the number of workers."""

    @classmethod
    def metric(cls, name: str) -> MetricSpec:
        return next(m for m in cls.metrics if m.name == name)
