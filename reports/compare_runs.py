"""The values that two runs have in common, compared on the samples that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.errors import BenchError, did_you_mean
from bench.paired import PairedDifference, holm, paired_differences
from bench.protocol import NothingStoredError
from bench.record import MetricPart
from bench.run_reference import StoredRun
from bench.samples import Samples
from bench.scoring import Rescored, ScoredValue, rescore
from reports.compare_checks import require_comparable, same_order
from reports.frame import condition_text

LEVEL = 0.95
"""Of the intervals; p-values below 1 - LEVEL, corrected, tell two runs apart."""

Side = Literal["first", "second"]


@dataclass(frozen=True)
class Row:
    """One number of both runs.

    Attributes:
        part: Landmark or class; None: of all.
        result: The second minus the first.
        p_corrected: By Holm over all rows of the same table; None where nothing was tested.
    """

    metric: MetricPart
    part: str | None
    first: float
    second: float
    result: PairedDifference
    p_corrected: float | None = None

    @property
    def condition(self) -> str:
        return condition_text(self.metric.condition)

    @property
    def better(self) -> Side | None:
        """Which run surely is; None where the samples do not tell."""
        if self.p_corrected is None or self.p_corrected >= 1 - LEVEL or self.result.difference == 0:
            return None
        grew = self.result.difference > 0
        return "second" if grew == (self.metric.direction == "higher") else "first"


@dataclass(frozen=True, eq=False)
class Compared:
    """Everything that is reported of two runs.

    Attributes:
        rows: One per metric and condition.
        parts: The first metric by landmark or class; empty where it has none.
        left_out: Values that are not compared, and why.
        samples: How many the runs share.
    """

    first: StoredRun
    second: StoredRun
    rows: tuple[Row, ...]
    parts: tuple[Row, ...]
    left_out: tuple[tuple[str, str], ...]
    samples: int
    resamples: int


def compare(
    first: StoredRun,
    second: StoredRun,
    *,
    metrics: Sequence[str] = (),
    by_part: bool = True,
    resamples: int = 10_000,
) -> Compared:
    """Compare all values that two runs have in common.

    Args:
        metrics: Only these; none: all.
        by_part: Also break the first metric down.

    Raises:
        BenchError: where the two cannot be compared, with every reason.
    """
    require_comparable(first, second)
    (one, ids), (other, other_ids) = _scored(first), _scored(second)
    order = same_order(ids, other_ids)
    pairs, left_out = _matched(one, other, metrics)
    aligned = [(a, b, b_samples.in_order(order)) for a, b, b_samples in pairs]
    whole = [(part, None, a, b) for part, a, b in aligned]
    broken_down = _parts(aligned) if by_part else []
    seed = first.record.seed
    return Compared(
        first,
        second,
        _tested(whole, seed, resamples),
        _tested(broken_down, seed, resamples),
        tuple(left_out),
        len(ids),
        resamples,
    )


_Question = tuple[MetricPart, str | None, Samples, Samples]


def _scored(run: StoredRun) -> tuple[Rescored, tuple[str, ...]]:
    arrays = run.arrays()
    try:
        rescored = rescore(run.record, arrays)
    except NothingStoredError as error:
        raise BenchError(
            f"values of protocol {run.record.protocol.name!r} are not computed from samples, so that there is "
            f"nothing to draw again: a difference between them is what it is",
            hint="bench leaderboard shows them beside each other.",
        ) from error
    wrong = rescored.where("differs")
    if wrong:
        part = wrong[0].part
        raise BenchError(
            f"the per-sample values of run {run.record.id} are not those of its record: {part.metric} "
            f"{condition_text(part.condition)}".rstrip(),
            hint=f"See: bench score {run.file}",
        )
    return rescored, rescored.protocol.sample_ids(arrays)


def _matched(
    first: Rescored, second: Rescored, metrics: Sequence[str]
) -> tuple[list[tuple[MetricPart, Samples, Samples]], list[tuple[str, str]]]:
    """What both have, and what is left out with the reason."""
    known = {value.part.metric for value in (*first.values, *second.values)}
    for name in metrics:
        if name not in known:
            raise BenchError(f"neither run has the metric {name!r}", hint=did_you_mean(name, known))
    others = {_key(value): value for value in second.values if value.now}
    pairs = []
    left_out = []
    for value in first.values:
        if value.now is None or (metrics and value.now.metric not in metrics):
            continue
        other = others.pop(_key(value), None)
        if other is None:
            left_out.append((_name(value), "only the first run has it"))
        elif value.samples is None or other.samples is None:
            left_out.append((_name(value), "not computed from samples of the method's output"))
        else:
            pairs.append((value.now, value.samples, other.samples))
    left_out += [
        (_name(value), "only the second run has it")
        for value in others.values()
        if not metrics or value.part.metric in metrics
    ]
    if not pairs:
        raise BenchError("the two runs have no sampled value in common", hint="See: bench score A B")
    return pairs, left_out


def _parts(pairs: Sequence[tuple[MetricPart, Samples, Samples]]) -> list[_Question]:
    """The first metric that has parts, part by part and condition by condition."""
    metric = next((part.metric for part, a, _ in pairs if a.parts), None)
    return [
        (part, name, a.parts[name], b.parts[name])
        for part, a, b in pairs
        if part.metric == metric
        for name in a.parts
        if name in b.parts and a.parts[name].counted.any() and b.parts[name].counted.any()
    ]


def _tested(questions: Sequence[_Question], seed: int, resamples: int) -> tuple[Row, ...]:
    results = paired_differences(
        [(a, b) for _, _, a, b in questions], seed=seed, resamples=resamples, level=LEVEL
    )
    rows = [
        Row(metric, part, a.number(), b.number(), result)
        for (metric, part, a, b), result in zip(questions, results, strict=True)
    ]
    tested = [place for place, row in enumerate(rows) if row.result.p_value is not None]
    p_values = [result.p_value for result in results if result.p_value is not None]
    for place, corrected in zip(tested, holm(p_values), strict=True):
        rows[place] = replace(rows[place], p_corrected=corrected)
    return tuple(rows)


def _key(value: ScoredValue) -> tuple[str, str]:
    return value.part.metric, condition_text(value.part.condition)


def _name(value: ScoredValue) -> str:
    return " ".join(text for text in _key(value) if text)


def describe(run: StoredRun) -> dict[str, Any]:
    record = run.record
    return {
        "run": record.id,
        "file": str(run.file),
        "method": record.method.name,
        "weights": record.method.weights_label,
        "feature_dim": record.method.feature_dim,
    }
