"""``bench plot``: single figures as files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder
from bench.cli.reports import Datasets, Methods, Metrics, Protocols, run_report
from bench.errors import BenchError


class Format(StrEnum):
    """What figures in a folder are written as."""

    SVG = "svg"
    PNG = "png"
    PDF = "pdf"


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Kinds of figures, single figures, or all.", show_default=False),
    ] = None,
    runs: RunsFolder = Path("runs"),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file (.svg, .png, .pdf) for one figure, or a folder.")
    ] = Path("figures"),
    format_: Annotated[
        Format | None, typer.Option("--format", help="Of figures in a folder.", show_default="svg")
    ] = None,
    method: Methods = None,
    dataset: Datasets = None,
    protocol: Protocols = None,
    metric: Metrics = None,
    list_kinds: Annotated[bool, typer.Option("--list", help="List the kinds of figures.")] = False,
    json_output: Json = False,
) -> None:
    """Draw figures from records, for papers: no model and no data is read.

    Every figure has a caption that says what it shows, on which data.
    Text and lines are sized for one column (3.3 in) or a page (6.9 in).

    Examples:

      bench plot --list

      bench plot fewshot --output fewshot.pdf

      bench plot all --format pdf --output paper/figures

      bench plot errors --dataset synthetic-faces --method lead --method dve
    """
    if not names and not list_kinds:
        raise BenchError("no figure is named", hint="bench plot --list lists them; bench plot all draws all.")
    options = {
        "names": () if list_kinds else tuple(names or ()),
        "output": output,
        "format": None if format_ is None else format_.value,
        "methods": tuple(method or ()),
        "datasets": tuple(dataset or ()),
        "protocols": tuple(protocol or ()),
        "metrics": tuple(metric or ()),
    }
    run_report("plot", runs, options, json_output)
