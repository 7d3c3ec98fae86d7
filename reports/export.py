"""Records for other programs and for the places where the field collects results."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from rich.text import Text

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import Report, ReportOutput, Runs
from reports import every_eval_ever, hub_results
from reports.frame import Selection, frame_of, network_name, to_csv

Format = Literal["eee", "hf-eval-results", "csv", "parquet"]

_Files = dict[Path, str | bytes]


class ExportOptions(Selection):
    """What is written, and where.

    Attributes:
        output: A folder for eee and hf-eval-results, a file for csv and parquet; None: ``export`` with the format's
            suffix.
        organization, relationship, availability, retrieved: For eee alone: who measured, their relation to the
            developers, whether others can have the weights, and the time of the export in seconds since 1970.
        hub: For hf-eval-results alone: name of a data set -> its id on the Hub.
    """

    format: Format = "csv"
    output: Path | None = None
    organization: str = Field(default="not stated", min_length=1)
    relationship: every_eval_ever.Relationship = "other"
    availability: every_eval_ever.Availability = "unknown"
    retrieved: str = "0"
    hub: dict[str, str] = Field(default_factory=dict)


class ExportReport(Report):
    """All values of all runs in a format of others; failed runs have none, and are in csv and parquet only."""

    name: ClassVar[str] = "export"
    summary: ClassVar[str] = "write records as Every Eval Ever JSON, Hugging Face YAML, CSV or Parquet"
    Options: ClassVar[type[ExportOptions]] = ExportOptions

    def render(self, runs: Runs, options: ExportOptions) -> ReportOutput:
        """Convert the records; exit code 2 and no file where there are none.

        Raises:
            BenchError: where a filter matches nothing, or the format wants what was not given or is not installed.
        """
        if not runs.records:
            message = "No runs to export. Measure one with: bench run --method NAME --protocol NAME"
            return ReportOutput(Text(message), {"files": []}, exit_code=2)
        writers: dict[Format, Callable[[Runs, ExportOptions], _Files]] = {
            "eee": _every_eval_ever,
            "hf-eval-results": _hub_results,
            "csv": _table,
            "parquet": _table,
        }
        files = writers[options.format](runs, options)
        told = f"{len(files)} file{'' if len(files) == 1 else 's'} of {len(runs.records)} runs"
        return ReportOutput(Text(told), {"files": sorted(str(path) for path in files)}, files)


def _every_eval_ever(runs: Runs, options: ExportOptions) -> _Files:
    folder = options.output or Path("export.eee")
    files: _Files = {}
    for record in _selected(runs, options):
        evaluation = every_eval_ever.evaluation_of(
            record,
            organization=options.organization,
            relationship=options.relationship,
            availability=options.availability,
            retrieved=options.retrieved,
        )
        path = folder / every_eval_ever.path_of(evaluation, record)
        files[path] = every_eval_ever.file_content(evaluation)
    return files


def _hub_results(runs: Runs, options: ExportOptions) -> _Files:
    folder = options.output or Path("export.hf")
    hub = {name: hub_results.require_hub_id(found) for name, found in options.hub.items()}
    by_model: dict[str, list[RunRecord]] = {}
    for record in _selected(runs, options):
        if record.dataset is not None:
            by_model.setdefault(network_name(record), []).append(record)
    return {
        folder / model / ".eval_results" / "landmark-bench.yaml": hub_results.file_content(
            hub_results.results_of(records, hub)
        )
        for model, records in sorted(by_model.items())
    }


def _table(runs: Runs, options: ExportOptions) -> _Files:
    frame = options.apply(frame_of(runs.records))
    path = options.output or Path(f"export.{options.format}")
    if options.format == "csv":
        return {path: to_csv(frame)}
    if importlib.util.find_spec("pyarrow") is None:
        raise BenchError(
            "--format parquet needs the package 'pyarrow'", hint="Install landmark-bench[parquet]."
        )
    content = io.BytesIO()
    frame.to_parquet(content, engine="pyarrow", index=False)
    return {path: content.getvalue()}


def _selected(runs: Runs, options: ExportOptions) -> list[RunRecord]:
    """The records that have values, with the values that were chosen."""
    kept = options.apply(frame_of(runs.records))
    names = set(kept.loc[kept["status"] == "ok", "record"])
    metrics = set(options.metrics)
    found = []
    for record in sorted(runs.records, key=lambda record: record.id):
        chosen = [part for part in record.metrics if not metrics or part.metric in metrics]
        if record.id in names and chosen:
            found.append(record.model_copy(update={"metrics": chosen}))
    if not found:
        raise BenchError(
            "no run that was chosen has a value to export",
            hint="Failed runs have none; see bench leaderboard.",
        )
    return found
