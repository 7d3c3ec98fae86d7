"""What papers print for the measurements of a grid, as rows that stand apart from ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.tables import Cell, Table, all_tables, citation
from bench.verdict import decimals
from reports.frame import NO_DATA, condition_pairs, condition_text
from reports.grid import Grid, PrintedEntry
from reports.published_values import PublishedMatch
from reports.tables.rows import QUOTED


@dataclass(frozen=True)
class PrintedValue:
    """One number of a paper, and what it is of.

    Attributes:
        row: Whose, in the paper's words.
        value, std: As printed.
        quoted: Whether the paper has it from another one.
    """

    protocol: str
    dataset: str
    metric: str
    condition: str
    row: str
    citation: str
    value: str
    std: str
    quoted: bool

    @property
    def text(self) -> str:
        return f"{self.value} ± {self.std}" if self.std else self.value


def printed_values() -> list[PrintedValue]:
    """All printed numbers of which it is known what of ours measures the same, in the papers' order.

    A number of somebody else's method belongs to the measurement that the other numbers of its column are of. A table
    that a paper has twice, under two names, is there once.
    """
    found: dict[tuple[object, ...], PrintedValue] = {}
    for table in all_tables():
        cited, measured = citation(table), _columns(table)
        paper = table.name.partition(":")[0]
        for cell in table.cells:
            what = measured.get(cell.column)
            if cell.value and what is not None:
                value = PrintedValue(*what, cell.row, cited, cell.value, cell.std, QUOTED in cell.barriers)
                found.setdefault((paper, cell.row, cell.column, cell.value, cell.std, what), value)
    return list(found.values())


def with_published(grids: Sequence[Grid], matches: Iterable[PublishedMatch]) -> list[Grid]:
    """The grids with what papers print for their columns, and ours judged beside it.

    Data that no paper measured gets none: a printed number says nothing of procedural pictures.
    """
    values = defaultdict(list)
    for value in printed_values():
        values[value.protocol].append(value)
    by_value = defaultdict(list)
    for match in matches:
        by_value[match.record, match.metric].append(match)
    return [
        replace(
            grid,
            published=_entries(grid, [v for name in _protocols(grid) for v in values[name]]),
            verdicts=tuple(map(_verdict, _judged(grid, by_value))),
        )
        for grid in grids
    ]


def _protocols(grid: Grid) -> list[str]:
    return sorted({column.of.protocol for column in grid.columns})


def _judged(grid: Grid, matches: Mapping[tuple[str, str], Sequence[PublishedMatch]]) -> list[PublishedMatch]:
    """The matches of the grid's own cells."""
    shown = [
        match
        for entry in grid.entries
        for cell, column in zip(entry.cells, grid.columns, strict=True)
        if cell is not None
        for match in matches.get((cell.record, column.of.metric), ())
        if column.of.condition in match.condition.split(" + ")
    ]
    return list(dict.fromkeys(shown))


def _entries(grid: Grid, printed: Sequence[PrintedValue]) -> tuple[PrintedEntry, ...]:
    rows: dict[tuple[str, str], list[str]] = {}
    for value in printed:
        places = _places(grid, value)
        if len(places) == 1:
            where = value.citation + (" (quoted there)" if value.quoted else "")
            texts = rows.setdefault((value.row, where), [""] * len(grid.columns))
            # a paper may have several under one name; none is dropped
            texts[places[0]] = f"{texts[places[0]]}, {value.text}" if texts[places[0]] else value.text
    return tuple(PrintedEntry(row, where, tuple(texts)) for (row, where), texts in rows.items())


def _places(grid: Grid, value: PrintedValue) -> list[int]:
    """Columns that measure what a printed number is of; the very same condition, else one that says more."""
    fitting = [
        (place, column.of.condition)
        for place, column in enumerate(grid.columns)
        if (column.of.protocol, column.of.dataset, column.of.metric)
        == (value.protocol, value.dataset, value.metric)
        and column.of.tier in ("published", NO_DATA)
        and set(condition_pairs(value.condition)) <= set(condition_pairs(column.of.condition))
    ]
    exact = [place for place, condition in fitting if condition == value.condition]
    return exact or [place for place, _ in fitting]


def _verdict(match: PublishedMatch) -> str:
    what = f"{match.metric} {match.condition}".strip()
    ours = f"{match.ours.value:.{max(decimals(match.printed), 2)}f}"
    why = f" ({'; '.join(match.verdict.reasons)})" if match.verdict.reasons else ""
    return (
        f"{match.method}, {what}: {ours} here, {match.printed} printed for {match.row} in {match.citation}: "
        f"{match.verdict.kind}{why}"
    )


def _columns(table: Table) -> dict[str, tuple[str, str, str, str]]:
    """Column of a table -> protocol, data set, metric and condition that all of our runs for it have."""
    found: dict[str, set[tuple[str, str, str, str]]] = defaultdict(set)
    for cell in table.cells:
        if cell.run is not None and not cell.run.also:
            found[cell.column].add(_what(cell))
    return {column: next(iter(whats)) for column, whats in found.items() if len(whats) == 1}


def _what(cell: Cell) -> tuple[str, str, str, str]:
    assert cell.run is not None
    run = cell.run
    return run.protocol, run.dataset or NO_DATA, run.metric, condition_text(dict(run.condition))
