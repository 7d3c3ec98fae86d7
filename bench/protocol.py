"""What is measured, and exactly how: the interface of every protocol, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.context import Arrays, EvaluationData, RunContext
    from bench.features import Capability, FeatureExtractor
    from bench.landmarks import LandmarkDataset
    from bench.record import RunRecord
    from bench.samples import Samples

Role = Literal["train", "validation", "test"]
Direction = Literal["lower", "higher"]
Scalar = str | int | float | bool


class NothingStoredError(BenchError):
    """A protocol stores nothing from which its values could be computed again."""


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
        samples: What the value is computed from, sample by sample, in the order of ``Protocol.sample_ids``; None where
            nothing is sampled. Not stored: :meth:`Protocol.score` gives it again.
    """

    metric: str
    value: float
    condition: dict[str, Scalar] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    std: float | None = None
    count: int | None = None
    samples: Samples | None = field(default=None, compare=False, repr=False)


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

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        """All values again, from the stored per-sample arrays of a run of this version; the network is not needed.

        :meth:`measure` gets its values by the same code, so that they are equal to the last digit.

        Raises:
            NothingStoredError: where the protocol stores nothing to compute them from.
            BenchError: where an array is missing.
        """
        del arrays, record
        raise NothingStoredError(
            f"protocol {self.name!r} stores nothing that its values could be computed from again",
            hint=f"Measure again: bench run --protocol {self.name} --force",
        )

    def options_of(self, record: RunRecord) -> Any:
        """The options that a record states.

        Raises:
            BenchError: where they are not options of this protocol.
        """
        try:
            return self.Options.model_validate(record.protocol.options)
        except ValidationError as error:
            first = error.errors()[0]
            raise BenchError(
                f"protocol {self.name!r} does not have the options that the run states: "
                f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
                hint="It was measured by another version; measure it again.",
            ) from error

    def sample_ids(self, arrays: Arrays) -> tuple[str, ...]:
        """What is sampled, in the order of the stored arrays: image ids; overridden where it is something else.

        Raises:
            BenchError: where they are not stored.
        """
        if "ids" not in arrays:
            raise BenchError(f"a run of protocol {self.name!r} stores no sample ids")
        return tuple(str(name) for name in arrays["ids"])

    @classmethod
    def metric(cls, name: str) -> MetricSpec:
        return next(m for m in cls.metrics if m.name == name)
