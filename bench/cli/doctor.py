"""``bench doctor``: is this installation fit to measure with?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import Json, Quiet
from bench.cli.common import Runs as RunsFolder

if TYPE_CHECKING:
    from bench.doctor import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    runs: RunsFolder = Path("runs"),
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the conformance of the methods.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Examine the installation: does everything that bench relies on work?

    Libraries and their versions, GPUs, shipped weights, caches, data sets,
    records, and the conformance suite of every installed method (some 20 s).

    Exit code 0: nothing is wrong, though there may be warnings; 1: something is.

    Examples:

      bench doctor

      bench doctor --quick

      bench doctor --json | jq '.findings[] | select(.status != "ok")'
    """
    from bench.cli.reports import print_json
    from bench.doctor import examine
    from bench.progress import Progress

    started = time.monotonic()
    findings = list(examine(runs, Progress(quiet=quiet or json_output), quick=quick))
    seconds = time.monotonic() - started
    sick = any(finding.status == "problem" for finding in findings)
    if json_output:
        listed = [asdict(finding) for finding in findings]
        print_json({"healthy": not sick, "seconds": round(seconds, 1), "findings": listed})
    else:
        _print(findings, seconds)
    if sick:
        raise typer.Exit(1)


def _print(findings: Sequence[Finding], seconds: float) -> None:
    from rich import box
    from rich.table import Table

    from bench.cli.printing import console, plain

    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold", max_width=24)
    table.add_column("", no_wrap=True)
    table.add_column("what was found", overflow="fold")
    area = ""
    for finding in findings:
        style = _STYLES[finding.status]
        first = finding.area != area
        if first and area:
            table.add_section()
        area = finding.area
        table.add_row(
            f"[bold]{area}[/bold]" if first else "",
            plain(finding.name),
            f"[{style}]{finding.status}[/{style}]",
            plain(finding.found),
        )
    out.print(table)
    for finding in findings:
        if finding.status != "ok":
            style = _STYLES[finding.status]
            where = f"{finding.area}, {finding.name}"
            out.print(f"[{style}]{finding.status}[/{style}] {plain(where)}: {plain(finding.found)}")
            out.print(f"  {plain(finding.remedy)}")
    problems, warnings = (
        sum(finding.status == status for finding in findings) for status in ("problem", "warning")
    )
    told = f"problems: {problems}, warnings: {warnings}" if problems or warnings else "nothing is wrong"
    out.print(f"{told}; looked at {len(findings)} things in {seconds:.0f} s")
