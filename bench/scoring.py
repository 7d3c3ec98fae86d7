"""The values of a run once more, from what it has stored: the network, its weights and the images are not needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import bench
from bench import registry
from bench.context import Arrays
from bench.errors import BenchError, did_you_mean
from bench.protocol import MetricValue, Protocol
from bench.record import MetricPart, RunRecord
from bench.samples import Samples

ROUNDING = 1e-6
"""Relative; a value that comes out differently by less is the same one, in another machine's arithmetic."""

Agreement = Literal["equal", "rounding", "differs", "completed", "added", "not computed"]
"""``added``: the record lacks the value; ``completed``: its interval or deviation. ``not computed``: only the record
has it."""

_NUMBERS = ("value", "low", "high", "std", "count")

_MISFITS = (ValueError, TypeError, KeyError, IndexError, RuntimeError, ZeroDivisionError)
"""What arrays that do not fit each other can lead to."""


@dataclass(frozen=True)
class ScoredValue:
    """One value as it is stored and as it comes out now; at least one of the two.

    Attributes:
        difference: Now minus stored; None where one is missing.
        samples: What it comes out from, sample by sample; None where nothing is sampled.
    """

    stored: MetricPart | None
    now: MetricPart | None
    agreement: Agreement
    difference: float | None = None
    samples: Samples | None = None

    @property
    def part(self) -> MetricPart:
        """As stored, completed by what comes out now."""
        if self.stored is None or self.now is None:
            return self.stored or self._now()
        lacking = [name for name in _NUMBERS if getattr(self.stored, name) is None]
        return self.stored.model_copy(update={name: getattr(self.now, name) for name in lacking})

    @property
    def differing(self) -> list[str]:
        """Which of its stored numbers come out differently."""
        if self.stored is None or self.now is None:
            return []
        return [name for name in _NUMBERS if not _close(getattr(self.stored, name), getattr(self.now, name))]

    def _now(self) -> MetricPart:
        if self.now is None:
            raise BenchError("a scored value is stored, computed, or both")
        return self.now


@dataclass(frozen=True)
class Rescored:
    """A record beside the values that come out now, in the protocol's order; those that do not come out are last."""

    record: RunRecord
    protocol: Protocol
    values: tuple[ScoredValue, ...]

    def where(self, *agreements: Agreement) -> list[ScoredValue]:
        return [value for value in self.values if value.agreement in agreements]

    @property
    def differs(self) -> bool:
        return bool(self.where("differs"))

    def with_added(self) -> RunRecord:
        """The record with the values that it lacks; those that it has stay as they are, and so does its identity."""
        added = sorted({value.part.metric for value in self.where("added", "completed")})
        if not added:
            return self.record
        history = self.record.provenance.get("added_metrics", [])
        entry = {"metrics": added, "bench": bench.__version__}
        return self.record.model_copy(
            update={
                "metrics": [value.part for value in self.values],
                "provenance": self.record.provenance | {"added_metrics": [*history, entry]},
            }
        )


def rescore(record: RunRecord, arrays: Arrays) -> Rescored:
    """Compute all values again and put them beside those of the record.

    Raises:
        BenchError: as :func:`scored_values`.
    """
    protocol, values = scored_values(record, arrays)
    stored = {_key(part): part for part in record.metrics}
    found = []
    for value, now in zip(values, declared(values, protocol), strict=True):
        found.append(_compared(stored.pop(_key(now), None), now, value.samples))
    found += [ScoredValue(part, None, "not computed") for part in stored.values()]
    return Rescored(record, protocol, tuple(found))


def scored_values(record: RunRecord, arrays: Arrays) -> tuple[Protocol, tuple[MetricValue, ...]]:
    """The protocol of a run, and its values computed from the run's arrays.

    Raises:
        NothingStoredError: where the protocol stores nothing to compute them from.
        BenchError: where the run failed, its protocol is not installed in its version, or an array is missing or
            does not fit.
    """
    if record.status == "failed":
        raise BenchError(f"run {record.id} failed, so that there is nothing to score: {record.reason}")
    protocol: Protocol = registry.load("protocols", record.protocol.name)()
    if protocol.version != record.protocol.version:
        raise BenchError(
            f"run {record.id} was measured by version {record.protocol.version} of protocol {protocol.name!r}, and "
            f"the rules here are those of version {protocol.version}",
            hint="Measure it again.",
        )
    try:
        values = protocol.score(arrays, record)
        declared(values, protocol)
    except BenchError as error:
        raise type(error)(f"run {record.id}: {error.message}", hint=error.hint) from error
    except _MISFITS as error:
        raise BenchError(
            f"the stored values of run {record.id} do not fit each other: {type(error).__name__}: {error}",
            hint="Its file was damaged or edited. Measure it again, with --force.",
        ) from error
    return protocol, values


def declared(values: Iterable[MetricValue], protocol: Protocol) -> list[MetricPart]:
    """Values with the declarations of their metrics, as records hold them.

    Raises:
        BenchError: where a metric is not declared by the protocol.
    """
    known = {spec.name: spec for spec in protocol.metrics}
    parts = []
    for value in values:
        if value.metric not in known:
            raise BenchError(
                f"protocol {protocol.name!r} reports {value.metric!r}, which it does not declare",
                hint=did_you_mean(value.metric, known),
            )
        spec = known[value.metric]
        parts.append(
            MetricPart(
                metric=value.metric,
                condition=dict(value.condition),
                value=value.value,
                low=value.low,
                high=value.high,
                std=value.std,
                count=value.count,
                unit=spec.unit,
                direction=spec.direction,
                definition=spec.definition,
                averaging=spec.averaging,
            )
        )
    return parts


def _compared(stored: MetricPart | None, now: MetricPart, samples: Samples | None) -> ScoredValue:
    if stored is None:
        return ScoredValue(None, now, "added", samples=samples)
    value = ScoredValue(stored, now, "equal", now.value - stored.value, samples)
    if value.differing:
        return replace(value, agreement="differs")
    if value.part != stored:
        return replace(value, agreement="completed")
    same = all(getattr(stored, name) == getattr(now, name) for name in _NUMBERS)
    return value if same else replace(value, agreement="rounding")


def _close(before: float | None, after: float | None) -> bool:
    if before is None:
        return True
    return after is not None and math.isclose(before, after, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _key(part: MetricPart) -> tuple[str, frozenset[tuple[str, object]]]:
    return part.metric, frozenset(part.condition.items())
