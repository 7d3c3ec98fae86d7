"""What a cell is asked for: names and texts, before anything is opened; can be sent to another process as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from bench.loading import Preprocessing
from bench.opening import DatasetRequest
from bench.record import FeatureType


@dataclass(frozen=True)
class RunRequest:
    """What ``bench run`` was asked for.

    Attributes:
        checkpoint: Weights of bench or an official checkpoint; None: shipped, released or default ones.
        like: Build the network that this weights file describes, without its weights (for untrained baselines).
        weights: Preset whose shipped weights are measured, where the method ships several.
        feature_dtype: float16 rounds features, so that they take half the room on disk; it changes numbers.
        force: Measure again where the record is already there.
    """

    method: str
    protocol: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    preset: str = "quick"
    checkpoint: Path | None = None
    like: Path | None = None
    weights: str | None = None
    method_options: Sequence[str] = ()
    protocol_options: Sequence[str] = ()
    train_split: str | None = None
    test_split: str | None = None
    validation_split: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    runs: Path = Path("runs")
    seed: int = 0
    device: str = "auto"
    batch_size: int = 64
    workers: int = 0
    feature_dtype: FeatureType = "float32"
    force: bool = False

    def to_json(self) -> str:
        return _adapter().dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> RunRequest:
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[RunRequest]:
    return TypeAdapter(RunRequest)
