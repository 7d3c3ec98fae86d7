"""What two records have in common and what not: what was asked for, what was found, what it ran on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.record import MetricPart, RunRecord

ABSENT = object()
"""Stands where only the other record has something."""


@dataclass(frozen=True)
class Difference:
    """A place of both records, dotted, with what stands there; ``ABSENT`` where nothing does."""

    place: str
    one: Any
    other: Any

    @property
    def part(self) -> str:
        """``method``, ``protocol``, ..."""
        return self.place.partition(".")[0]


@dataclass(frozen=True)
class ValuePair:
    """A metric under a condition, as both records have it; None where one does not."""

    one: MetricPart | None
    other: MetricPart | None

    @property
    def declared(self) -> MetricPart:
        """The one that is there."""
        found = self.one or self.other
        if found is None:
            raise ValueError("a pair of nothing")
        return found

    @property
    def change(self) -> float | None:
        """Second minus first; None where one is missing, or they are in different units."""
        if self.one is None or self.other is None or self.one.unit != self.other.unit:
            return None
        return self.other.value - self.one.value


@dataclass(frozen=True)
class RecordDifference:
    """How two records differ.

    Attributes:
        identity: In what could change a number; empty: the same run.
        beside: In names, labels, counts, notes and status, which cannot.
        provenance: In versions, device, command and seconds.
        values: All of them, in the order of the first record, then what only the second has.
    """

    identity: tuple[Difference, ...]
    beside: tuple[Difference, ...]
    provenance: tuple[Difference, ...]
    values: tuple[ValuePair, ...]


def difference(one: RunRecord, other: RunRecord) -> RecordDifference:
    """Compare two records, field by field and value by value."""
    places = {*flat(one.identity()), *flat(other.identity())}
    parts = [
        flat(record.model_dump(mode="json", exclude={"metrics", "provenance", "schema_version"}))
        for record in (one, other)
    ]
    differing = sorted(_differing(*parts), key=lambda found: list(RunRecord.model_fields).index(found.part))
    return RecordDifference(
        tuple(found for found in differing if found.place in places),
        tuple(found for found in differing if found.place not in places),
        tuple(_differing(flat(one.provenance), flat(other.provenance))),
        paired(one, other),
    )


def paired(one: RunRecord, other: RunRecord) -> tuple[ValuePair, ...]:
    """The values of both, matched by metric and condition."""
    first = {_cell(part): part for part in one.metrics}
    second = {_cell(part): part for part in other.metrics}
    return tuple(ValuePair(first.get(cell), second.get(cell)) for cell in dict.fromkeys([*first, *second]))


def flat(value: dict[str, Any], above: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists and empty dicts are values."""
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        place = f"{above}{key}"
        if isinstance(inner, dict) and inner:
            leaves |= flat(inner, f"{place}.")
        else:
            leaves[place] = inner
    return leaves


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[Difference]:
    pairs = (
        Difference(place, one.get(place, ABSENT), other.get(place, ABSENT))
        for place in dict.fromkeys([*one, *other])
    )
    return [pair for pair in pairs if not _equal(pair.one, pair.other)]


def _equal(one: Any, other: Any) -> bool:
    """As JSON sees it: 1 is not true."""
    return type(one) is type(other) and bool(one == other)


def _cell(part: MetricPart) -> tuple[Any, ...]:
    return part.metric, tuple(
        sorted((key, type(value).__name__, value) for key, value in part.condition.items())
    )
