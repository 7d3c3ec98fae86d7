"""Is a number worse than it was? The rule, and the pairing of rows with the baseline rows they answer to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from reports.frame import CELL, rows_of
from reports.grid import decimals
from reports.pivot import MISSING

Row = dict[str, Any]
Verdict = Literal[
    "worse", "within error bars", "better", "unchanged", "missing", "failed", "ambiguous", "new"
]
"""``missing``: in the baseline only. ``failed``: the run that should give the value failed. ``new``: not in
the baseline. ``ambiguous``: the baseline has several weights of the method, none the known predecessor."""

COMPARED: tuple[Verdict, ...] = ("worse", "within error bars", "better", "unchanged")
ABSENT: tuple[Verdict, ...] = ("missing", "failed")
VERDICTS: tuple[Verdict, ...] = (*COMPARED, *ABSENT, "ambiguous", "new")

KEY = ("method", "method_options", *CELL)
"""A row answers to the baseline rows that agree in these. The weights are not among them: a model that was
trained again is compared with its predecessor."""

_RUN_KEY = tuple(column for column in KEY if column not in ("metric", "condition", "unit", "direction"))


@dataclass(frozen=True)
class Tolerance:
    """How much worse, relative to the baseline value, still counts as equal."""

    default: float
    by_metric: Mapping[str, float]

    def of(self, metric: str) -> float:
        return self.by_metric.get(metric, self.default)


@dataclass(frozen=True)
class Comparison:
    """One cell, now and then.

    Attributes:
        row: The row now; that of the baseline where there is none now.
        worse_by: How much worse than the baseline, in the metric's unit; negative is better.
        error: Combined half-width of both error bars.
    """

    verdict: Verdict
    row: Row
    current: float | None = None
    baseline: float | None = None
    worse_by: float | None = None
    error: float | None = None
    weights_changed: bool = False

    def number(self, value: float | None) -> str:
        """A value of this comparison in the digits that both of its values are given in."""
        known = [known for known in (self.baseline, self.current) if known is not None]
        return MISSING if value is None else f"{value:.{decimals(known)}f}"

    def percent(self) -> str:
        """By how much it is worse, relative to the baseline; empty where that says nothing."""
        if self.worse_by is None or not self.baseline:
            return ""
        return f"{100 * self.worse_by / abs(self.baseline):+.1f} %"

    def sentence(self) -> str:
        """One line: what was measured, what it was and what it is."""
        row = self.row
        what = f"{row['metric']} {row['condition']}".rstrip()
        text = f"{row['method']}, {row['protocol']} on {row['dataset']}, {what}: {self.verdict}"
        if self.worse_by is None:
            values = [("was", self.baseline), ("is", self.current)]
            known = [f"{verb} {self.number(value)}" for verb, value in values if value is not None]
            return f"{text} ({', '.join(known)})"
        percent = f", {self.percent()}" if self.percent() else ""
        return (
            f"{text} (was {self.number(self.baseline)}, is {self.number(self.current)}; worse by "
            f"{self.number(self.worse_by)}{percent}; error bars {self.number(self.error)})"
        )


def judge(current: Row, baseline: Row, tolerance: float) -> Comparison:
    """Compare a value with its baseline.

    Let w be the amount by which the value is worse in the metric's direction, b the baseline value, t the
    tolerance, and e = sqrt(h_now^2 + h_then^2) the combined half-width of the error bars. The value is
    *worse* where w > t |b| and w > e; *within error bars* where only the first holds; *better* where
    -w > t |b| and -w > e; and *unchanged* otherwise.
    """
    worse_by = current["value"] - baseline["value"]
    if current["direction"] == "higher":
        worse_by = -worse_by
    allowed = tolerance * abs(baseline["value"])
    error = math.hypot(half_width(current), half_width(baseline))
    verdict: Verdict = "unchanged"
    if worse_by > allowed:
        verdict = "worse" if worse_by > error else "within error bars"
    elif -worse_by > max(allowed, error):
        verdict = "better"
    changed = current["weights_sha256"] != baseline["weights_sha256"]
    return Comparison(verdict, current, current["value"], baseline["value"], worse_by, error, changed)


def half_width(row: Row) -> float:
    """Half the 95 % interval where there is one, else the standard deviation over draws, else 0."""
    if row["low"] is not None and row["high"] is not None:
        return abs(float(row["high"]) - float(row["low"])) / 2
    return float(row["std"] or 0.0)


def compare(current: pd.DataFrame, baseline: pd.DataFrame, tolerance: Tolerance) -> list[Comparison]:
    """Every row now with its baseline row, then every baseline row that no row now answers to.

    Weights that the baseline knows are compared with themselves; other weights with the baseline row of the
    same weights label, or else with the only baseline row there is.
    """
    then = _by_key(baseline)
    failures = {_key(row, _RUN_KEY) for row in rows_of(current[current["status"] == "failed"])}
    results: list[Comparison] = []
    answered: set[int] = set()
    for row in rows_of(current[current["status"] == "ok"]):
        candidates = then.get(_key(row, KEY), [])
        predecessor = _predecessor(row, candidates)
        if predecessor is not None:
            answered.add(id(predecessor))
            results.append(judge(row, predecessor, tolerance.of(row["metric"])))
        else:
            verdict: Verdict = "ambiguous" if candidates else "new"
            results.append(Comparison(verdict, row, current=row["value"]))
    for row in (row for rows in then.values() for row in rows if id(row) not in answered):
        verdict = "failed" if _key(row, _RUN_KEY) in failures else "missing"
        results.append(Comparison(verdict, row, baseline=row["value"]))
    return results


def _predecessor(row: Row, candidates: list[Row]) -> Row | None:
    for agree in ("weights_sha256", "weights_label"):
        alike = [candidate for candidate in candidates if candidate[agree] == row[agree]]
        if len(alike) == 1:
            return alike[0]
    return candidates[0] if len(candidates) == 1 else None


def _by_key(baseline: pd.DataFrame) -> dict[tuple[Any, ...], list[Row]]:
    rows: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows_of(baseline):
        rows[_key(row, KEY)].append(row)
    return rows


def _key(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)
