"""``bench merge``: take records from other machines into a folder of records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder

if TYPE_CHECKING:
    from bench.merging import Merged


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that bench run wrote.")],
    runs: RunsFolder = Path("runs"),
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Up to which values count as equal, relative to the larger one."),
    ] = 0.0,
    json_output: Json = False,
) -> None:
    """Take records, with their values and drawings, from other folders.

    An equal record is left alone, and one that is ok replaces one that failed.
    Where the same run gave other numbers on another machine, that is reported
    and the present record stays; bench runs diff shows both. Measured memory
    always differs a little, and a GPU rounds otherwise than a CPU: see
    --tolerance. Broken files are named, and the others are merged.

    Exit code 0: everything is in; 1: something was in conflict, or broken.

    Examples:

      bench merge from-the-cluster/runs

      bench merge machine-1 machine-2 --runs all --tolerance 0.05
    """
    from bench.cli.reports import print_json
    from bench.merging import merge as take
    from bench.store import RunStore

    merged = take(folders, RunStore(runs), tolerance)
    if json_output:
        outcomes = [
            {"id": o.record_id, "source": str(o.source), "action": o.action, "remark": o.remark}
            for o in merged.outcomes
        ]
        broken = [{"file": str(problem.file), "reason": problem.reason} for problem in merged.problems]
        print_json({"records": outcomes, "problems": broken})
    else:
        _print(merged, runs)
    if merged.conflicts or merged.problems:
        raise typer.Exit(1)


def _print(merged: Merged, runs: Path) -> None:
    from bench.cli.printing import console, plain
    from bench.merging import Action

    out = console()
    for problem in merged.problems:
        out.print(f"[red]broken[/red] {plain(problem)}", soft_wrap=True)
    for conflict in merged.conflicts:
        out.print(
            f"[red]conflict[/red] {conflict.record_id} of {plain(conflict.source)}: {plain(conflict.remark)}",
            soft_wrap=True,
        )
    if merged.conflicts:
        first = merged.conflicts[0]
        out.print(
            "The present records stay. What differs, and may explain it:\n"
            f"  bench runs diff {first.record_id} {first.record_id} --runs {plain(runs)} --other-runs "
            f"{plain(first.source)}",
            soft_wrap=True,
        )
    counts = {action: sum(o.action == action for o in merged.outcomes) for action in get_args(Action)}
    told = ", ".join(f"{count} {action}" for action, count in counts.items() if count)
    out.print(f"{plain(runs)}: {told or 'no records found'}")
