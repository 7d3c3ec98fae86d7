"""By what runs that predict landmarks are ordered in figures."""

from __future__ import annotations

from bench.record import MetricPart, RunRecord
from reports.figures.series import Question, drawable

_COUNT = "annotations"
_METRICS = ("nme_interocular", "pck_5pct_longer_side", "accuracy_6px")


def headline(record: RunRecord) -> MetricPart | None:
    """The error with all annotations, or with the largest number that was drawn; an accuracy where errors lack."""
    for metric in _METRICS:
        parts = [part for part in record.metrics if part.metric == metric and drawable(part)]
        whole = [part for part in parts if not part.condition]
        if whole:
            return whole[0]
        few = [
            part for part in parts if set(part.condition) == {_COUNT} and type(part.condition[_COUNT]) is int
        ]
        if few:
            return max(few, key=lambda part: float(part.condition[_COUNT]))
    return None


def ranked(question: Question) -> Question:
    """The best first; runs without such a score are left out."""
    parts = [part for each in question.series if (part := headline(each.record)) is not None]
    direction = parts[0].direction if parts else "lower"
    return question.ranked(_value, direction)


def _value(record: RunRecord) -> float | None:
    part = headline(record)
    return None if part is None else part.value
