"""A table before it is drawn: labels down, values across, with what has to be said beside it.

Terminal, Markdown, LaTeX and HTML all draw the same grids (``reports.pivot``, ``reports.markup``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports.frame import NO_DATA, plain

IDENTITY = ("method", "weights_label", "weights_sha256", "feature_dim", "method_options", "seed")
"""What makes a row of its own: rows that agree in these are one network, measured with one seed."""

TIERS = {
    "procedural": "procedural data, not photographs",
    "own": "own data",
    "published": "published data set",
}
ARROWS = {"lower": "↓", "higher": "↑"}

_HEADINGS = {"weights_label": "weights", "feature_dim": "dim"}


@dataclass(frozen=True)
class Cell:
    """One value with its uncertainty and the ranks that its error bar leaves open.

    Attributes:
        record: Id of the record that it is from; empty for a mean over seeds.
    """

    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    record: str = ""

    @property
    def open_rank(self) -> str:
        """``1-3`` where error bars overlap, so that no rank is claimed; else empty."""
        if self.rank_low is None or self.rank_low == self.rank_high:
            return ""
        return f"{self.rank_low}-{self.rank_high}"

    def text(self, digits: int) -> str:
        """``2.730 ± 0.050``, or ``2.730 [2.680, 2.790]``; a mean over seeds has both."""
        shown = f"{self.value:.{digits}f}"
        if self.std is not None:
            shown += f" ± {self.std:.{digits}f}"
            if self.record:
                return shown
        if self.low is not None and self.high is not None:
            shown += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return shown


@dataclass(frozen=True)
class Measured:
    """What a column's values measure."""

    protocol: str
    dataset: str
    tier: str
    metric: str
    condition: str


@dataclass(frozen=True)
class Column:
    """What its values are.

    Attributes:
        key: Tells it from the other columns of its grid.
        group: First line of the heading, which neighbours may share.
        name: Second line; may be empty.
        digits: Behind the point, of every value.
        compared: Whether its values differ, so that one can be marked as the best.
        of: What is measured.
    """

    key: tuple[Any, ...]
    group: str
    name: str
    digits: int
    compared: bool
    of: Measured


@dataclass(frozen=True)
class Entry:
    """A row: its labels, and a cell or None for every column."""

    labels: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    method: str = ""


@dataclass(frozen=True)
class PrintedEntry:
    """A row of a paper: whose, printed where, and what stands there for each column, if anything."""

    row: str
    citation: str
    printed: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """How much of a table is there: cells with a value, cells in all, and records that failed."""

    measured: int
    cells: int
    failed_runs: int

    def __str__(self) -> str:
        text = f"{self.measured} of {self.cells} cells measured"
        return text + (f", failed runs: {self.failed_runs}" if self.failed_runs else "")


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: What was asked, on which data, of which kind.
        details: Hashes that tell namesakes apart.
        labels: Headings of the labels.
        absent: Baselines that should be there and were not measured.
        units: What every metric is measured in, and which way is better.
        notes: What else has to be known to read it.
        published: What papers print for the same columns; set apart, never ranked with ours.
        verdicts: Ours beside theirs, one line each.
    """

    title: str
    details: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    coverage: Coverage
    absent: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published: tuple[PrintedEntry, ...] = field(default=())
    verdicts: tuple[str, ...] = ()


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the largest of the values four significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    return 2 if largest == 0 else min(max(3 - math.floor(math.log10(largest)), 0), 8)


def column_of(
    key: tuple[Any, ...], heading: tuple[str, str], row: Mapping[str, Any], values: Sequence[float]
) -> Column:
    """The column of these values, of which ``row`` is one; its ``asked`` is the full condition."""
    of = Measured(row["protocol"], row["dataset"], row["tier"], row["metric"], row["asked"])
    return Column(key, *heading, decimals(values), len(set(values)) > 1, of)


def entries_of(
    rows: pd.DataFrame, places: Sequence[int], count: int, identity: Sequence[str] = IDENTITY
) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
    """Headings of the labels, and one entry per identity.

    Entries come by rank in the first column, then by name; those without a value there come last.

    Args:
        places: Column of every row; -1 for a failed run, which has a row without cells.
        count: Of the columns.
        identity: Columns of ``rows``, of which the first is ``method``.
    """
    keys = list(zip(*(plain(rows[name]) for name in identity), strict=True))
    cells: dict[tuple[Any, ...], list[Cell | None]] = {key: [None] * count for key in keys}
    for key, place, cell in zip(keys, places, _cells(rows), strict=True):
        if place >= 0:
            cells[key][place] = cell

    def order(key: tuple[Any, ...]) -> tuple[Any, ...]:
        first = cells[key][0] if count else None
        return (math.inf if first is None or first.rank is None else first.rank, *map(_sortable, key))

    ordered = sorted(cells, key=order)
    labels = _labels(pd.DataFrame(ordered, columns=list(identity), dtype=object))
    texts = zip(*(labels[name].astype(str).tolist() for name in labels), strict=True)
    found = [
        Entry(tuple(text), tuple(cells[key]), str(key[0])) for key, text in zip(ordered, texts, strict=True)
    ]
    return tuple(_HEADINGS.get(name, name) for name in map(str, labels)), tuple(found)


def coverage_of(entries: Sequence[Entry], failed_runs: int) -> Coverage:
    """Of a grid; a failed run counts as cells that are missing."""
    shown = [cell for entry in entries for cell in entry.cells]
    return Coverage(sum(cell is not None for cell in shown), len(shown), failed_runs)


def data_text(row: pd.Series) -> str:
    """``synthetic-faces: procedural data, not photographs, 68 landmarks``; empty where no images are read."""
    if row["dataset"] == NO_DATA:
        return ""
    return f"{row['dataset']}: {TIERS.get(row['tier'], row['tier'])}, {row['landmarks']} landmarks"


def unit_lines(rows: pd.DataFrame) -> tuple[str, ...]:
    """A line for each metric."""
    told = rows[["metric", "unit", "direction"]].drop_duplicates(["metric", "unit"])
    return tuple(
        f"{metric}: {unit}, {direction} is better"
        for metric, unit, direction in told.itertuples(index=False, name=None)
    )


def failures(rows: pd.DataFrame) -> tuple[str, ...]:
    """A line for each failed run among the rows."""
    told = rows.loc[rows["status"] == "failed", ["method", "seed", "record", "reason"]]
    return tuple(
        f"failed: {method} (seed {seed}, run {record}): {reason}"
        for method, seed, record, reason in told.itertuples(index=False, name=None)
    )


def _cells(rows: pd.DataFrame) -> list[Cell]:
    names = ("value", "low", "high", "std", "rank", "rank_low", "rank_high", "record")
    return [Cell(*values) for values in zip(*(plain(rows[name]) for name in names), strict=True)]


def _sortable(value: Any) -> tuple[bool, Any]:
    return (True, 0) if value is None else (False, value)


def _labels(entries: pd.DataFrame) -> pd.DataFrame:
    """The columns that name an entry; those that only tell namesakes apart are left out where there are none."""
    shown = [name for name in ("method", "weights_label", "feature_dim") if name in entries]
    labels = entries[shown].copy()
    if "seed" in entries and entries["seed"].nunique() > 1:
        labels["seed"] = entries["seed"]
    for name in ("weights_sha256", "method_options"):
        if name in entries and labels.duplicated().any():
            labels[name] = entries[name]
    return labels
