"""``bench compare``: two runs on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder


def compare(
    first: Annotated[
        str,
        typer.Argument(metavar="A", help="Id, beginning of an id, or a record's file.", show_default=False),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    runs: RunsFolder = Path("runs"),
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Only this metric (repeatable); corrected for these alone."),
    ] = None,
    landmarks: Annotated[
        bool, typer.Option("--landmarks/--no-landmarks", help="Break the first metric down by landmark.")
    ] = True,
    resamples: Annotated[
        int, typer.Option(min=1_000, max=1_000_000, help="How often samples are drawn again.")
    ] = 10_000,
    json_output: Json = False,
) -> None:
    """Compare two runs on the same samples: is B better than A?

    For every value: the difference B - A with its 95 % interval (paired
    bootstrap), its p-value, and Holm's correction for the many values.

    Runs that do not answer the same question are refused, with the reasons:
    protocol, version, options, seed, data and samples must be equal.

    Examples:

      bench compare 3f2a 91bc

      bench compare 3f2a 91bc --metric nme_interocular

      bench compare old/3f2a07c1d2e3f4a5.json new/91bc07c1d2e3f4a5.json
    """
    from bench.cli.reports import print_json, print_output
    from bench.registry import load
    from bench.report import Runs
    from bench.store import RunStore

    report = load("reports", "compare")
    options = report.Options(
        first=first, second=second, metrics=tuple(metric or ()), landmarks=landmarks, resamples=resamples
    )
    output = report().render(Runs((), store=RunStore(runs)), options)
    if json_output:
        print_json(output.data)
    else:
        print_output(output)
