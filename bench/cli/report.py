"""``bench report``: one page from all records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import Json, Runs
from bench.cli.reports import Datasets, Methods, Metrics, Protocols, run_report


def report(
    runs: Runs = Path("runs"),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML file to write; Markdown where it ends in .md.")
    ] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Of the page.")] = "Landmark benchmark",
    figures: Annotated[
        int, typer.Option(min=0, help="At most so many of each kind; 0: none, and the page is there sooner.")
    ] = 12,
    method: Methods = None,
    dataset: Datasets = None,
    protocol: Protocols = None,
    metric: Metrics = None,
    json_output: Json = False,
) -> None:
    """Write all runs as one HTML page: leaderboard, figures, provenance of every number.

    The page is one file. It needs no server and no network, and can be mailed.

    Exit code 2 where there are no runs.

    Examples:

      bench report

      bench report --protocol fewshot --output fewshot.html --title "Few annotations"

      bench report --output report.md
    """
    options = {
        "output": output,
        "title": title,
        "figures": figures,
        "methods": tuple(method or ()),
        "datasets": tuple(dataset or ()),
        "protocols": tuple(protocol or ()),
        "metrics": tuple(metric or ()),
    }
    run_report("report", runs, options, json_output)
