"""``bench leaderboard`` and ``bench check``: read records, call a report, print and write what it gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.report import ReportOutput

Methods = Annotated[list[str] | None, typer.Option("--method", help="Only this method (repeatable).")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="Only this data set (repeatable).")]
Protocols = Annotated[list[str] | None, typer.Option("--protocol", help="Only this protocol (repeatable).")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric (repeatable).")]


_STANDARD_OUTPUT = Path("-")
_MOST_LISTED = 8


def leaderboard(
    runs: RunsFolder = Path("runs"),
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .csv, .md, .tex, .html or .json (repeatable).",
            show_default="leaderboard.csv",
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv, markdown, latex, html or json; without --output, that is printed instead."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="What goes across: dataset, dimension, protocol, or a key of a condition such as annotations.",
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="Show what papers print for the same columns, set apart and unranked."
        ),
    ] = False,
    method: Methods = None,
    dataset: Datasets = None,
    protocol: Protocols = None,
    metric: Metrics = None,
    json_output: Json = False,
) -> None:
    """Rank all runs: write leaderboard.csv and print a table per protocol and data set.

    Ranked against each other are only runs that are comparable. Nothing is
    averaged, except over seeds, where every cell of a table has all of them.
    A rank such as 1-3 says that error bars overlap. CSV and JSON hold all
    rows, the other formats the tables.

    Exit code 2 where there are no runs.

    Examples:

      bench leaderboard

      bench leaderboard --protocol fewshot --by annotations --output fewshot.tex

      bench leaderboard --protocol memory --published

      bench leaderboard --format markdown > RESULTS.md

      bench leaderboard --json | jq '.rows[] | select(.rank == 1)'
    """
    if file_format is not None and not output:
        if json_output:
            raise BenchError("--json and --format without --output both print", hint="Give one of them.")
        output = [_STANDARD_OUTPUT]
    options = {
        "outputs": tuple(output or ()),
        "format": _known_format(file_format),
        "by": by,
        "published": published,
        **selection(method, dataset, protocol, metric),
    }
    run_report("leaderboard", runs, options, json_output)


def check(
    baseline: Annotated[Path, typer.Option(help="The CSV file to compare with.")] = Path("baseline.csv"),
    runs: RunsFolder = Path("runs"),
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FRACTION | METRIC=FRACTION",
            help="How much worse still counts as equal, relative to the baseline; repeatable per metric.",
            show_default="0.02",
        ),
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Make the baseline from the records.")
    ] = False,
    require_all: Annotated[
        bool, typer.Option("--require-all", help="Exit with 2 where a baseline value is not measured.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Also write the verdicts as JUnit XML.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            envvar="GITHUB_STEP_SUMMARY",
            help="Also add the verdicts as Markdown to this file: the job summary of GitHub Actions.",
        ),
    ] = None,
    annotate: Annotated[
        bool,
        typer.Option(
            "--annotate/--no-annotate",
            envvar="GITHUB_ACTIONS",
            help="Also print annotations of GitHub Actions (not with --json).",
        ),
    ] = False,
    method: Methods = None,
    dataset: Datasets = None,
    protocol: Protocols = None,
    metric: Metrics = None,
    json_output: Json = False,
) -> None:
    """Compare all runs with a baseline, for CI: did a metric regress?

    A value regressed where it is worse than its baseline by more than the tolerance
    and by more than the error bars of both. Compared are only values of the same
    method, data, protocol version and options; the weights may differ.

    Exit code 0: none is worse; 1: at least one is; 2: there is nothing to compare.

    Examples:

      bench check --baseline baseline.csv --write-baseline

      bench check --baseline baseline.csv

      bench check --baseline baseline.csv --require-all --junit check.xml

      bench check --baseline baseline.csv --tolerance 0.01 --tolerance nme_interocular=0.05
    """
    try:
        options = {
            "baseline": baseline,
            "write_baseline": write_baseline,
            "require_all": require_all,
            "junit": junit,
            "summary": summary,
            "annotate": annotate and not json_output,
            **_tolerances(tolerance or []),
            **selection(method, dataset, protocol, metric),
        }
        run_report("check", runs, options, json_output)
    except BenchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error  # 1 would say that a metric regressed


def run_report(name: str, runs: Path, options: dict[str, Any], json_output: bool) -> None:
    from bench.allocator import no_garbage_collection

    with no_garbage_collection():
        exit_code = _run_report(name, runs, options, json_output)
    if exit_code:
        raise typer.Exit(exit_code)


def _run_report(name: str, runs: Path, options: dict[str, Any], json_output: bool) -> int:
    from bench.files import write_atomically
    from bench.registry import load
    from bench.report import Runs
    from bench.store import RunStore

    report = load("reports", name)
    found = Runs.of(RunStore(runs))
    for problem in found.problems:
        typer.echo(f"warning: not a usable record: {problem}", err=True)
    output: ReportOutput = report().render(found, report.Options.model_validate(options))
    if _STANDARD_OUTPUT in output.files:
        typer.echo(output.files[_STANDARD_OUTPUT], nl=False)
        return 0
    for path, content in output.files.items():
        write_atomically(path, content)
    for path, text in output.added.items():
        _add(path, text)
    if json_output:
        listed = [{"file": str(problem.file), "reason": problem.reason} for problem in found.problems]
        print_json({**output.data, "problems": listed, "written": [str(path) for path in output.files]})
    else:
        print_output(output)
        for path in list(output.files)[:_MOST_LISTED]:
            typer.echo(f"wrote {path}", err=True)
        if len(output.files) > _MOST_LISTED:
            typer.echo(f"wrote {len(output.files) - _MOST_LISTED} more", err=True)
    return output.exit_code


def _add(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from error


def print_json(data: dict[str, Any]) -> None:
    typer.echo(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False))


def print_output(output: ReportOutput) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a file or a pipe has no width: break no line
    if output.renderable is not None:
        console.print(output.renderable)


def _known_format(name: str | None) -> str | None:
    from bench.errors import did_you_mean

    known = ("csv", "markdown", "latex", "html", "json")
    if name is not None and name not in known:
        raise BenchError(f"no format is called {name!r}", hint=did_you_mean(name, known))
    return name


def selection(
    method: list[str] | None, dataset: list[str] | None, protocol: list[str] | None, metric: list[str] | None
) -> dict[str, tuple[str, ...]]:
    chosen = {"methods": method, "datasets": dataset, "protocols": protocol, "metrics": metric}
    return {field: tuple(names or ()) for field, names in chosen.items()}


def _tolerances(texts: list[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {"tolerances": {}}
    for text in texts:
        metric, _, number = text.rpartition("=")
        try:
            fraction = float(number)
        except ValueError:
            fraction = math.nan
        if not 0 <= fraction < math.inf:
            raise BenchError(
                f"--tolerance {text!r}: expected a fraction of the baseline value, such as 0.02",
                hint="For one metric: --tolerance nme_interocular=0.05",
            )
        if metric:
            parsed["tolerances"][metric] = fraction
        else:
            parsed["tolerance"] = fraction
    return parsed
