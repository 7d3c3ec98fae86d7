"""What ``bench reproduce`` and ``bench list tables`` print for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from bench.verdict import Ours, Verdict, decimals

if TYPE_CHECKING:
    from bench.reproduction import Outcome
    from bench.table_plan import Plan
    from bench.tables import Table

_STYLES = {
    "reproduced": "green",
    "off": "bold red",
    "not comparable": "dim",
    "missing": "yellow",
    "failed": "bold red",
}
_LARGEST_LISTED = 8


def print_missing(plan: Plan) -> None:
    """What cells wait for, and how it is had; nothing where nothing is missing."""
    console = Console()
    for kind, needs in _by_kind(plan).items():
        console.print(f"[bold]missing {kind}[/bold]")
        for name, count, advice in needs:
            console.print(
                f"  [yellow]{escape(name)}[/yellow], for {_counted(count, 'cell')}", highlight=False
            )
            for line in advice:
                console.print(f"    {escape(line)}", highlight=False, soft_wrap=True)


def print_plan(plan: Plan) -> None:
    """What would be run, row by row."""
    console = Console()
    grid = Grid(title=_title(plan.table), title_justify="left")
    for heading in ("row", "cells", "can run", "waits for"):
        grid.add_column(heading, justify="right" if heading in ("cells", "can run") else "left")
    for row, group in groupby(plan.cells, key=lambda planned: planned.cell.row):
        cells = list(group)
        ready = sum(planned.request is not None for planned in cells)
        waits = dict.fromkeys(need.name for planned in cells for need in planned.missing)
        nothing = all(planned.cell.run is None for planned in cells)
        grid.add_row(
            escape(row),
            str(len(cells)),
            str(ready),
            "[dim]not ours[/dim]" if nothing else escape(_listed(waits)),
        )
    console.print(grid)
    trainings = f", after {_counted(len(plan.trainings), 'training')}" if plan.trainings else ""
    console.print(f"{_counted(plan.runs, 'run')}{trainings}", highlight=False)
    for training in plan.trainings:
        console.print(f"  [dim]{escape(training.name)}[/dim]", highlight=False)


def print_outcomes(table: Table, outcomes: Sequence[Outcome]) -> None:
    """Ours beside the paper's, a line per cell; reasons are numbered and told below."""
    console = Console()
    reasons: dict[str, int] = {}
    grid = Grid(title=_title(table), title_justify="left")
    for heading, justify in (
        ("row", "left"),
        ("column", "left"),
        ("paper", "right"),
        ("ours", "right"),
        ("verdict", "left"),
    ):
        grid.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row, group in groupby(outcomes, key=lambda outcome: outcome.cell.row):
        for number, outcome in enumerate(group):
            cell = outcome.cell
            grid.add_row(
                escape(row) if number == 0 else "",
                escape(cell.column),
                escape(cell.value + (f" ± {cell.std}" if cell.std else "")) or "—",
                _number(outcome.ours, outcome.verdict, cell.value),
                _verdict(outcome, reasons),
            )
        grid.add_section()
    console.print(grid)
    for reason, number in reasons.items():
        console.print(f"  [dim]{number}[/dim] {escape(reason)}", highlight=False, soft_wrap=True)
    counts = _counts(outcome.verdict.kind for outcome in outcomes)
    console.print(", ".join(f"{count} {kind}" for kind, count in counts.items()), highlight=False)


def print_tables(tables: Iterable[Table]) -> None:
    """One line per table: what it shows, measured how, on what, and how many numbers."""
    grid = Grid("table", "what it shows", "measures", "on", "cells", box=SIMPLE, padding=(0, 1, 0, 0))
    grid.columns[0].no_wrap = True
    grid.columns[-1].justify = "right"
    for _, group in groupby(tables, key=lambda table: table.name.partition(":")[0]):
        for table in group:
            grid.add_row(
                f"[bold]{escape(table.name)}[/bold]",
                escape(table.summary),
                escape("; ".join(table.metrics)),
                escape(", ".join(table.datasets) or "none"),
                str(len(table.cells)),
            )
        grid.add_section()
    Console().print(grid)


def _title(table: Table) -> str:
    return f"[bold]{escape(table.name)}[/bold]  {escape(table.summary)}"


def _by_kind(plan: Plan) -> dict[str, list[tuple[str, int, tuple[str, ...]]]]:
    kinds: dict[str, list[tuple[str, int, tuple[str, ...]]]] = {}
    for need, count in plan.missing.items():
        kinds.setdefault(need.kind, []).append((need.name, count, need.advice))
    return {kind: kinds[kind] for kind in sorted(kinds)}


def _number(ours: Ours | None, verdict: Verdict, printed: str) -> str:
    """As many digits as are printed, and one more where that is needed to see the difference."""
    if ours is None:
        return "—"
    digits = decimals(printed) + (verdict.kind == "off") if printed else 2
    text = f"{ours.value:.{digits}f}"
    return f"[bold]{text}[/bold]" + (f" ± {ours.std:.{digits}f}" if ours.std is not None else "")


def _verdict(outcome: Outcome, reasons: dict[str, int]) -> str:
    verdict = outcome.verdict
    text = f"[{_STYLES[verdict.kind]}]{verdict.kind}[/]"
    if verdict.kind == "off" and verdict.difference is not None:
        digits = decimals(outcome.cell.value) + 1
        text += f" by {verdict.difference:+.{digits}f}"
    told = verdict.reasons if verdict.kind != "missing" else ()
    # A misprint is what a reader wants to know of a number that is off.
    told += outcome.cell.notes if verdict.kind == "off" else ()
    numbers = [str(reasons.setdefault(reason, len(reasons) + 1)) for reason in told]
    if verdict.kind == "missing":
        return f"{text}: {escape(_listed(verdict.reasons))}"
    return text + (f" [dim]({', '.join(numbers)})[/dim]" if numbers else "")


def _counts(kinds: Iterable[str]) -> dict[str, int]:
    found = list(kinds)
    return {kind: found.count(kind) for kind in _STYLES if kind in found}


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", and {len(listed) - _LARGEST_LISTED} more" if len(listed) > _LARGEST_LISTED else ""
    return ", ".join(listed[:_LARGEST_LISTED]) + more


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
