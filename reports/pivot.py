"""Tables for people: one per question (protocol on data), methods down, metrics and conditions across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from reports.frame import QUESTION
from reports.grid import IDENTITY, Cell, Column, Coverage, Grid

MISSING = "—"

MARKS = (
    "bold: best value; underlined: error bars overlap those of the best",
    "± is the standard deviation over draws, [ ] a 95 % interval over images",
)


def for_terminal(grids: Iterable[Grid], total: int, cells: int = 1200) -> tuple[list[Grid], str]:
    """The first tables and rows, as many as somebody reads, and what is to be said of the others.

    Args:
        total: How many there are; those behind the last one shown are not asked for.
    """
    shown: list[Grid] = []
    left = cells
    for grid in grids:
        rows = max(_FEWEST_ROWS, left // max(len(grid.columns), 1))
        left -= min(rows, len(grid.entries)) * len(grid.columns)
        hidden = len(grid.entries) - rows
        if hidden > 0:
            more = f"{hidden} more rows are not shown here, only in files"
            shown.append(replace(grid, entries=grid.entries[:rows], notes=(*grid.notes, more)))
        else:
            shown.append(grid)
        if left <= 0:
            break
    rest = total - len(shown)
    return shown, f"{rest} more tables: choose with --protocol, --dataset or --metric" if rest else ""


_FEWEST_ROWS = 20


def drawn(grids: Sequence[Grid]) -> list[RenderableType]:
    """The tables with title and notes, as a terminal shows them."""
    # a title within the table would be folded to the table's width
    return [Group(_title(grid), Pivot(grid), *_published(grid), _notes(grid)) for grid in grids]


def questions(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows that belong to one table each, in the order in which they came."""
    by = ["protocol", *(column for column in QUESTION if column != "protocol")]
    return [rows for _, rows in frame.groupby(by, sort=True)]


def coverage(rows: pd.DataFrame) -> Coverage:
    """Of the rows of one question; a failed run counts as cells that are missing."""
    entries = rows.groupby(list(IDENTITY), dropna=False).ngroups
    measured = rows[rows["value"].notna()]
    columns = measured.groupby(["metric", "condition"]).ngroups
    return Coverage(len(measured), entries * columns, int((rows["status"] == "failed").sum()))


class Pivot:
    """The values of one grid; where a terminal is too narrow, in several tables below each other."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield tables of as many columns as fit; at least one each."""
        columns = len(self._grid.columns)
        start = 0
        while True:
            end = self._last_that_fits(start, options.max_width)
            yield self._table(start, end)
            start = end
            if start >= columns:
                return

    def _last_that_fits(self, start: int, width: int) -> int:
        """Where to break: behind as many columns as fit, at least one."""
        grid = self._grid
        labels = [
            _column_width([grid.labels[place], *(entry.labels[place] for entry in grid.entries)])
            for place in range(len(grid.labels))
        ]
        used = sum(labels) + 1
        for end, column in enumerate(grid.columns[start:], start=start):
            cells = (_cell(entry.cells[end], column).plain for entry in grid.entries)
            used += _column_width([column.group, column.name, *cells])
            if used > width and end > start:
                return end
        return len(grid.columns)

    def _table(self, start: int, end: int) -> Table:
        grid, table = self._grid, Table()
        for name in grid.labels:
            justify = "left" if name in ("method", "weights") else "right"
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for column in grid.columns[start:end]:
            table.add_column(
                Text(f"{column.group}\n{column.name}".rstrip()), justify="right", overflow="fold"
            )
        for entry in grid.entries:
            cells = zip(entry.cells[start:end], grid.columns[start:end], strict=True)
            table.add_row(*map(Text, entry.labels), *(_cell(cell, column) for cell, column in cells))
        width = len(grid.labels) + end - start
        for name in grid.absent:
            table.add_row(name, "not measured", *[MISSING] * (width - 2), style="dim")
        return table


def _column_width(texts: Sequence[str]) -> int:
    """With a blank on each side and a line."""
    return max(map(cell_len, texts)) + 3


def _cell(cell: Cell | None, column: Column) -> Text:
    if cell is None:
        return Text(MISSING)
    style = "bold" if cell.rank == 1 else "underline" if cell.rank_low == 1 else ""
    return Text(cell.text(column.digits), style=style if column.compared else "")


def _title(grid: Grid) -> RenderableType:
    return Group(Text(grid.title, style="bold"), Text(grid.details, style="dim"))


def _published(grid: Grid) -> list[RenderableType]:
    """What papers print, in a table of its own below ours."""
    if not grid.published:
        return []
    table = Table()
    table.add_column("printed in papers, not ranked", overflow="fold")
    table.add_column("where", overflow="fold")
    for column in grid.columns:
        table.add_column(Text(f"{column.group}\n{column.name}".rstrip()), justify="right", overflow="fold")
    for entry in grid.published:
        printed = (Text(text or MISSING) for text in entry.printed)
        table.add_row(Text(entry.row), Text(entry.citation), *printed)
    return [table]


def _notes(grid: Grid) -> Text:
    marks = MARKS if grid.columns else ()
    return Text("\n".join((*grid.units, *marks, *notes_of(grid))), style="dim")


def notes_of(grid: Grid) -> tuple[str, ...]:
    """Coverage, what is missing, what failed, and what papers say."""
    absent = (
        f"without {' and '.join(grid.absent)} one does not see what learning nothing gives: bench run --baselines",
    )
    return (str(grid.coverage), *(absent if grid.absent else ()), *grid.notes, *grid.verdicts)
