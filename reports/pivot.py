"""Tables for people: one per question (protocol on data), methods down, metrics and conditions across."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from reports.frame import NO_DATA, QUESTION, natural_key

MISSING = "—"

_ROW = ("method", "weights_label", "weights_sha256", "feature_dim", "method_options", "seed")
_TIERS = {
    "procedural": "procedural data, not photographs",
    "own": "own data",
    "published": "published data set",
}
_ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Coverage:
    """How much of a table is there: cells with a value, cells in all, and records that failed."""

    measured: int
    cells: int
    failed_runs: int

    def __str__(self) -> str:
        text = f"{self.measured} of {self.cells} cells measured"
        return text + (f", failed runs: {self.failed_runs}" if self.failed_runs else "")


def tables(ranked: pd.DataFrame, baselines: dict[str, tuple[str, ...]]) -> list[RenderableType]:
    """The tables of all ranked rows with title and notes, in the order of their protocols and data sets.

    Args:
        baselines: Protocol -> methods without learning that every table should have; empty rows stand for those that
            were not measured.
    """
    shown: list[RenderableType] = []
    for rows in questions(ranked):
        wanted = baselines.get(str(rows["protocol"].iloc[0]), ())
        absent = [name for name in wanted if name not in set(rows["method"])]
        # a title within the table would be folded to the table's width
        shown.append(Group(_title(rows), Pivot(rows, absent), _notes(rows, absent)))
    return shown


def questions(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows that belong to one table each, in the order in which they came."""
    by = ["protocol", *(column for column in QUESTION if column != "protocol")]
    return [rows for _, rows in frame.groupby(by, sort=True)]


def coverage(rows: pd.DataFrame) -> Coverage:
    """Of the rows of one question; a failed run counts as cells that are missing."""
    entries = rows.groupby(list(_ROW), dropna=False).ngroups
    measured = rows[rows["value"].notna()]
    columns = measured.groupby(["metric", "condition"]).ngroups
    return Coverage(len(measured), entries * columns, int((rows["status"] == "failed").sum()))


def decimals(values: Iterable[float]) -> int:
    """Decimals that give the largest of the values four significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    return 2 if largest == 0 else min(max(3 - math.floor(math.log10(largest)), 0), 8)


class Pivot:
    """The values of one question; where a terminal is too narrow, in several tables below each other."""

    def __init__(self, rows: pd.DataFrame, absent: Sequence[str] = ()) -> None:
        self._absent = absent
        measured = rows[rows["value"].notna()]
        self._columns = _metric_columns(measured)
        self._arrows = {row["metric"]: _ARROWS[row["direction"]] for _, row in measured.iterrows()}
        self._entries = _entries(rows, self._columns)
        self._labels = _labels(self._entries)
        digits = {key: decimals(part["value"]) for key, part in measured.groupby(["metric", "condition"])}
        self._cells = {
            _cell_key(row): _cell(row, digits[row["metric"], row["condition"]])
            for _, row in measured.iterrows()
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield tables of as many metric columns as fit; at least one each."""
        left = self._columns
        while True:
            count = len(left)
            while count > 1 and _natural_width(self._table(left[:count]), console) > options.max_width:
                count -= 1
            yield self._table(left[:count])
            left = left[count:]
            if not left:
                return

    def _table(self, columns: list[tuple[str, str]]) -> Table:
        table = Table()
        for name in self._labels.columns:
            table.add_column(
                name, justify="left" if name in ("method", "weights") else "right", overflow="fold"
            )
        for metric, condition in columns:
            heading = Text(f"{metric} {self._arrows[metric]}\n{condition}".rstrip())
            table.add_column(heading, justify="right", overflow="fold")
        for (_, entry), (_, label) in zip(self._entries.iterrows(), self._labels.iterrows(), strict=True):
            found = [self._cells.get((*entry[list(_ROW)], *column), Text(MISSING)) for column in columns]
            table.add_row(*(Text(str(text)) for text in label), *found)
        width = len(self._labels.columns) + len(columns)
        for name in self._absent:
            table.add_row(name, "not measured", *[MISSING] * (width - 2), style="dim")
        return table


def _natural_width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _metric_columns(measured: pd.DataFrame) -> list[tuple[str, str]]:
    """Metrics in the protocol's own order, the conditions of each in numeric order."""
    metrics = list(dict.fromkeys(measured["metric"]))
    pairs = set(zip(measured["metric"], measured["condition"], strict=True))
    return sorted(pairs, key=lambda pair: (metrics.index(pair[0]), natural_key(pair[1])))


def _entries(rows: pd.DataFrame, columns: list[tuple[str, str]]) -> pd.DataFrame:
    """One row per method, weights and seed: by rank in the first column, then by name; failed runs last."""
    first = rows[[pair in columns[:1] for pair in zip(rows["metric"], rows["condition"], strict=True)]]
    entries = rows[list(_ROW)].drop_duplicates()
    entries = entries.merge(first[[*_ROW, "rank"]], how="left", on=list(_ROW))
    return entries.sort_values(["rank", *_ROW], na_position="last").reset_index(drop=True)


def _labels(entries: pd.DataFrame) -> pd.DataFrame:
    """The columns that name a row; those that only tell namesakes apart are left out where there are none."""
    labels = pd.DataFrame({"method": entries["method"], "weights": entries["weights_label"]})
    labels["dim"] = entries["feature_dim"]
    if entries["seed"].nunique() > 1:
        labels["seed"] = entries["seed"]
    for column in ("weights_sha256", "method_options"):
        if labels.duplicated().any():
            labels[column] = entries[column]
    return labels


def _cell_key(row: pd.Series) -> tuple[object, ...]:
    return (*row[list(_ROW)], row["metric"], row["condition"])


def _cell(row: pd.Series, digits: int) -> Text:
    value, low, high, std = (float(row[name]) for name in ("value", "low", "high", "std"))
    text = f"{value:.{digits}f}"
    if not math.isnan(std):
        text += f" ± {std:.{digits}f}"
    elif not math.isnan(low) and not math.isnan(high):
        text += f" [{low:.{digits}f}, {high:.{digits}f}]"
    style = "bold" if row["rank"] == 1 else "underline" if row["rank_low"] == 1 else ""
    return Text(text, style=style)


def _title(rows: pd.DataFrame) -> RenderableType:
    row = rows.iloc[0]
    presets = "/".join(sorted(set(rows["preset"])))
    asked = f"{row['protocol']} ({presets}, version {row['protocol_version']})"
    hashes = f"protocol options {row['protocol_options']}"
    if row["dataset"] != NO_DATA:
        tier = _TIERS.get(row["tier"], row["tier"])
        asked += f" on {row['dataset']}: {tier}, {row['landmarks']} landmarks"
        hashes += f", data {row['dataset_content']}"
    title = Text(asked, style="bold")
    return Group(title, Text(hashes, style="dim"))


def _notes(rows: pd.DataFrame, absent: Sequence[str]) -> Text:
    measured = rows[rows["value"].notna()].drop_duplicates(["metric", "unit"])
    lines = [
        f"{row['metric']}: {row['unit']}, {row['direction']} is better" for _, row in measured.iterrows()
    ]
    if not measured.empty:
        lines.append("bold: best value; underlined: error bars overlap those of the best")
        lines.append("± is the standard deviation over draws, [ ] a 95 % interval over images")
    lines.append(str(coverage(rows)))
    if absent:
        lines.append(
            f"without {' and '.join(absent)} one does not see what learning nothing gives: bench run --baselines"
        )
    for _, row in rows[rows["status"] == "failed"].iterrows():
        lines.append(f"failed: {row['method']} (seed {row['seed']}, run {row['record']}): {row['reason']}")
    return Text("\n".join(lines), style="dim")
