"""A sweep's plan, and how far sweeps are, for people and for programs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.sweep_plan import State, SweepPlan

_SILENT_S = 60.0
"""A sweep that has told nothing for so long was killed, or its machine is."""

_REASONS = 10


def duration(seconds: float) -> str:
    """90 -> 2 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_plan(plan: SweepPlan, places: int) -> None:
    """Counts of cells, why some cannot be run, and how long the rest may take."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    counts = plan.counts
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"[bold]{len(plan.cells)}[/bold]", "cells")
    told: dict[State, str] = {
        "done": "done",
        "repeated": "lead to the record of another cell",
        "failed": "failed before; --retry runs them again",
        "cannot run": "cannot run",
        "to do": "to do" + _estimated(plan, places),
    }
    for state, words in told.items():
        if counts.get(state):
            table.add_row(str(counts[state]), words)
    console.print(table, highlight=False)
    _print_reasons("cannot run", plan.obstacles)
    _print_reasons("failed", Counter(one.reason for one in plan.cells if one.state == "failed"))


def _print_reasons(what: str, reasons: Mapping[str, int]) -> None:
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    for reason, count in ordered[:_REASONS]:
        print(f"  {what}, {count} cell{'s' if count > 1 else ''}: {reason}")
    if len(ordered) > _REASONS:
        print(f"  and {len(ordered) - _REASONS} more reasons")


def _estimated(plan: SweepPlan, places: int) -> str:
    seconds, unknown = plan.seconds(places)
    if len(plan.to_do) == unknown:
        return "; no earlier record says how long such cells take"
    at_once = f", {places} at once" if places > 1 else ""
    rest = f", and {unknown} of which no earlier record tells" if unknown else ""
    return f", about {duration(seconds)}{at_once} by earlier records{rest}"


def print_sweeps(sweeps: Sequence[Mapping[str, Any]]) -> None:
    """Sweeps that have not ended, each with its running cells."""
    if not sweeps:
        print("no sweep is running")
    now = time.time()
    for one in sweeps:
        silent = now - one["updated"]
        finished = one["done"] + one["failed"]
        head = f"{one['host']}, process {one['pid']}: {finished} of {one['total']}, {one['failed']} failed"
        if silent > _SILENT_S:
            print(f"{head}; nothing heard for {duration(silent)}: killed, or its machine is gone")
            continue
        pace = (one["updated"] - one["started"]) / finished if finished else None
        left = "" if pace is None else f", about {duration(pace * (one['total'] - finished))} left"
        print(f"{head}{left}")
        for label, where, since in one["running"]:
            print(f"  {where}: {label} ({duration(now - since)})")


def plan_content(plan: SweepPlan, places: int) -> dict[str, Any]:
    """The plan as JSON."""
    seconds, unknown = plan.seconds(places)
    return {
        "cells": len(plan.cells),
        "counts": plan.counts,
        "cannot_run": plan.obstacles,
        "seconds": seconds,
        "of_unknown_duration": unknown,
        "to_do": [{"cell": one.cell.label, "record": one.cell.record} for one in plan.to_do],
    }
