"""Pairs of stored runs for tests of comparisons."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bench.context import Arrays
from bench.protocol import Protocol
from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from bench.store import RunStore
from protocols.regression import Regression
from reports.compare import CompareOptions, CompareReport
from tests.protocols.scored_runs import MEASURED, keep, worse

PREDICTED = {"matching": "predicted", "equivariance": "predicted", "fewshot": "predictions_5"}


@cache
def measured(protocol: type[Protocol]) -> tuple[Arrays, Any]:
    measurement, options = MEASURED[protocol]()
    return measurement.per_sample, options


def two_runs(
    folder: Path, protocol: type[Protocol] = Regression, by: float = 2.0, **changes: Any
) -> tuple[RunRecord, RunRecord]:
    """A run, and one of another method that is worse by some pixels."""
    arrays, options = measured(protocol)
    first = keep(folder, protocol, arrays, options)
    name = PREDICTED.get(protocol.name, "predictions")
    second = keep(folder, protocol, worse(arrays, by, name), options, **({"method": "dve"} | changes))
    return first, second


def render(folder: Path, first: str, second: str, **options: Any) -> ReportOutput:
    chosen = CompareOptions(first=first, second=second, **options)
    return CompareReport().render(Runs((), store=RunStore(folder)), chosen)
