"""``bench export``: records for other programs, and for where the field collects results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder
from bench.cli.reports import Datasets, Methods, Metrics, Protocols, run_report, selection
from bench.errors import BenchError, did_you_mean

_FORMATS = ("eee", "hf-eval-results", "csv", "parquet")
_RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
_AVAILABILITIES = ("open_weights", "closed_weights", "unknown")


def export(
    file_format: Annotated[
        str, typer.Option("--format", "-f", help="eee, hf-eval-results, csv or parquet.")
    ] = "csv",
    runs: RunsFolder = Path("runs"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File (csv, parquet) or folder (eee, hf-eval-results).",
            show_default="export.FORMAT",
        ),
    ] = None,
    organization: Annotated[str, typer.Option(help="Who measured (eee).")] = "not stated",
    relationship: Annotated[
        str,
        typer.Option(
            help="To the methods' developers (eee): first_party, third_party, collaborative, other."
        ),
    ] = "other",
    availability: Annotated[
        str, typer.Option(help="Of the weights (eee): open_weights, closed_weights, unknown.")
    ] = "unknown",
    hub: Annotated[
        list[str] | None,
        typer.Option(metavar="DATASET=OWNER/NAME", help="A data set's id on the Hub (hf-eval-results)."),
    ] = None,
    method: Methods = None,
    dataset: Datasets = None,
    protocol: Protocols = None,
    metric: Metrics = None,
    json_output: Json = False,
) -> None:
    """Write records in formats of others.

    eee: Every Eval Ever 0.3.0, one JSON file a run. hf-eval-results: one
    .eval_results YAML file a model, for its repository on the Hugging Face Hub.
    csv, parquet: one row a value, as in leaderboard.csv without ranks.

    Exit code 2 where there are no runs.

    Examples:

      bench export --format eee --organization "My lab" --relationship third_party

      bench export --format hf-eval-results --method lead --hub mafl=my-lab/mafl

      bench export --format parquet --output results.parquet
    """
    _require(file_format, _FORMATS, "format")
    _require(relationship, _RELATIONSHIPS, "relationship")
    _require(availability, _AVAILABILITIES, "availability")
    options = {
        "format": file_format,
        "output": output,
        "organization": organization,
        "relationship": relationship,
        "availability": availability,
        "retrieved": str(int(time.time())),
        "hub": _hub_ids(hub or []),
        **selection(method, dataset, protocol, metric),
    }
    run_report("export", runs, options, json_output)


def _require(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        raise BenchError(f"no {what} is called {name!r}", hint=did_you_mean(name, known))


def _hub_ids(items: list[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, hub_id = item.rpartition("=")
        if not equals or not name.strip() or not hub_id.strip():
            raise BenchError(f"--hub {item!r} is not of the form DATASET=OWNER/NAME")
        found[name.strip()] = hub_id.strip()
    return found
