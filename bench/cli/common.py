"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Dataset = Annotated[
    str, typer.Option("--dataset", "-d", help="NAME or NAME:LOCATION, e.g. synthetic-faces, coco:my/folder.")
]
DatasetOptions = Annotated[
    list[str] | None,
    typer.Option("-D", metavar="KEY=VALUE", help="Option of the data set, e.g. landmarks=68."),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option("-M", metavar="KEY=VALUE", help="Option of the method, e.g. features=hypercolumn."),
]
Runs = Annotated[Path, typer.Option("--runs", envvar="BENCH_RUNS", help="Folder of the records.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Root seed of every random choice.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode images; 0: this one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@contextmanager
def continuable() -> Iterator[None]:
    """Around work that keeps what it has finished: Ctrl-C says so and exits with the shell's status for it."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)
        raise typer.Exit(130) from None
