"""Did a metric regress? Records against a baseline file, with an exit code for CI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.errors import BenchError, did_you_mean
from bench.record import RunRecord
from bench.report import Report, ReportOutput, Runs
from reports.frame import COLUMNS, Selection, frame_of, from_csv, to_csv
from reports.github import job_summary, unusable, workflow_commands
from reports.junit import junit_xml
from reports.leaderboard import in_order
from reports.ranking import with_ranks
from reports.regression import ABSENT, COMPARED, KEY, VERDICTS, Comparison, Tolerance, Verdict, compare

NONE_WORSE, WORSE, UNUSABLE = 0, 1, 2
_OUTCOMES = {NONE_WORSE: "no metric regressed", WORSE: "regressed", UNUSABLE: "values are missing"}

_STYLES = {
    "worse": "bold red",
    "better": "green",
    "missing": "yellow",
    "failed": "yellow",
    "ambiguous": "yellow",
}
_UNREMARKABLE = ("unchanged", "new")

RelativeTolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CheckOptions(Selection):
    """What is compared, and how strictly.

    Attributes:
        tolerance: Relative; a value that is worse by less counts as equal.
        tolerances: The same for single metrics, by name.
        require_all: Exit with 2 where a baseline value is missing from the records.
        write_baseline: Make the baseline from the records instead of comparing.
        junit: Where the verdicts are written as JUnit XML.
        summary: Where they are added as Markdown, for the job summary of GitHub Actions.
        annotate: Print them as annotations of GitHub Actions, too.
    """

    baseline: Path = Path("baseline.csv")
    tolerance: RelativeTolerance = 0.02
    tolerances: dict[str, RelativeTolerance] = Field(default_factory=dict)
    require_all: bool = False
    write_baseline: bool = False
    junit: Path | None = None
    summary: Path | None = None
    annotate: bool = False


class CheckReport(Report):
    """Compare every value with the baseline (the rule is ``reports.regression.judge``).

    Exit codes: 0, no value is worse; 1, at least one is; 2, there is nothing to compare (no ok records, no
    baseline file or a malformed one, no cell in common). A baseline value that no record gives is shown as
    missing and changes nothing, unless ``require_all`` is set: then it gives 2, if no value is worse.
    """

    name: ClassVar[str] = "check"
    summary: ClassVar[str] = "compare all runs with a baseline file; exit code 1 where a metric regressed"
    Options: ClassVar[type[CheckOptions]] = CheckOptions

    def render(self, runs: Runs, options: CheckOptions) -> ReportOutput:
        """Compare, or write the baseline."""
        try:
            return (_write if options.write_baseline else _compare)(runs.records, options)
        except BenchError as error:
            shown: list[RenderableType] = [Text(str(error), style="red")]
            shown += _commands([unusable(error.message)] if options.annotate else [])
            return ReportOutput(Group(*shown), _data(UNUSABLE, [], str(error)), exit_code=UNUSABLE)


def _write(records: Sequence[RunRecord], options: CheckOptions) -> ReportOutput:
    current = options.apply(frame_of(_usable(records)))
    current = current[current["status"] == "ok"]
    content = to_csv(in_order(with_ranks(current))[list(COLUMNS)])
    message = Text(f"{options.baseline}: baseline of {len(current)} values")
    data = {**_data(NONE_WORSE, []), "values": len(current)}
    return ReportOutput(message, data, {options.baseline: content})


def _compare(records: Sequence[RunRecord], options: CheckOptions) -> ReportOutput:
    now, then = frame_of(_usable(records)), _read_baseline(options.baseline)
    both = options.apply(pd.concat([now.assign(when="now"), then.assign(when="then")], ignore_index=True))
    _require_known(options.tolerances, set(both["metric"]) - {""})
    tolerance = Tolerance(options.tolerance, options.tolerances)
    now, then = both[both["when"] == "now"], both[both["when"] == "then"]
    results = compare(now, then, tolerance)
    counts = Counter(result.verdict for result in results)
    if not any(counts[verdict] for verdict in COMPARED):
        raise BenchError(
            f"no value of the runs answers to a value of {options.baseline}: {_counts_text(counts)}",
            hint=f"Comparable are values that agree in {', '.join(KEY)}.",
        )
    exit_code = NONE_WORSE
    if counts["worse"]:
        exit_code = WORSE
    elif options.require_all and any(counts[verdict] for verdict in ABSENT):
        exit_code = UNUSABLE
    shown = [_shown(results, exit_code), *_commands(workflow_commands(results) if options.annotate else [])]
    files: dict[Path, str] = {}
    if options.junit is not None:
        files[options.junit] = junit_xml(results, required=ABSENT if options.require_all else ())
    told: dict[Path, str] = {}
    if options.summary is not None:
        told[options.summary] = job_summary(results, _compared_text(counts), _OUTCOMES[exit_code])
    return ReportOutput(Group(*shown), _data(exit_code, results), files, exit_code, told)


def _commands(lines: list[str]) -> list[RenderableType]:
    """Workflow commands, each on a line of its own whatever the width of the terminal."""
    return [Text(line, no_wrap=True, overflow="ignore") for line in lines]


def _usable(records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    if not any(record.status == "ok" and record.metrics for record in records):
        failed = f" ({len(records)} failed)" if records else ""
        raise BenchError(f"there is no run with values{failed}", hint="Measure first: bench run --help.")
    return records


def _read_baseline(path: Path) -> pd.DataFrame:
    """The measured rows of a baseline; a ``leaderboard.csv`` serves as well."""
    remedy = "Make one from the runs with --write-baseline."
    try:
        frame = from_csv(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchError(f"there is no baseline file {path}", hint=remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"baseline {path} cannot be read: {error}", hint=remedy) from error
    except BenchError as error:
        raise BenchError(f"baseline {path} is malformed: {error.message}", hint=remedy) from error
    rows = frame[frame["status"] == "ok"]
    if rows.empty:
        raise BenchError(f"baseline {path} has no values", hint=remedy)
    if rows["value"].isna().any():
        raise BenchError(f"baseline {path} is malformed: an ok row has no value", hint=remedy)
    twice = rows.duplicated([*KEY, "weights_sha256"])
    if twice.any():
        row = rows[twice].iloc[0]
        cell = f"{row['method']} {row['protocol']} {row['metric']} {row['condition']} (run {row['record']})"
        raise BenchError(f"baseline {path} is malformed: it has twice {cell}", hint=remedy)
    return rows


def _require_known(tolerances: dict[str, float], metrics: set[str]) -> None:
    for name in tolerances:
        if name not in metrics:
            raise BenchError(
                f"a tolerance is given for an unknown metric {name!r}", hint=did_you_mean(name, metrics)
            )


def _data(exit_code: int, results: list[Comparison], error: str | None = None) -> dict[str, Any]:
    counts = Counter(result.verdict for result in results)
    columns = (*KEY, "weights_label", "preset", "record")
    cells = [
        {
            **{column: result.row[column] for column in columns},
            "verdict": result.verdict,
            "baseline": result.baseline,
            "current": result.current,
            "worse_by": result.worse_by,
            "error": result.error,
            "weights_changed": result.weights_changed,
        }
        for result in results
    ]
    return {"exit_code": exit_code, "error": error, "counts": dict(counts), "cells": cells}


def _shown(results: list[Comparison], exit_code: int) -> RenderableType:
    remarkable = [result for result in results if result.verdict not in _UNREMARKABLE]
    counts = Counter(result.verdict for result in results)
    lines = [_compared_text(counts)]
    changed = sum(result.weights_changed for result in results)
    if changed:
        lines.append(f"{changed} of them were measured with other weights than the baseline's")
    lines.append(_OUTCOMES[exit_code])
    summary = Text("\n".join(lines))
    return Group(_table(remarkable), summary) if remarkable else summary


def _compared_text(counts: Counter[Verdict]) -> str:
    return f"{sum(counts[verdict] for verdict in COMPARED)} values compared: {_counts_text(counts)}"


def _counts_text(counts: Counter[Verdict]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "none"


def _table(results: list[Comparison]) -> Table:
    table = Table("verdict", "method", "weights", "on", "metric")
    for heading in ("seed", "baseline", "now", "worse by", "error bars"):
        table.add_column(heading, justify="right")
    for result in sorted(results, key=lambda result: VERDICTS.index(result.verdict)):
        row = result.row
        texts = (
            result.verdict,
            row["method"],
            row["weights_label"] + (" (changed)" if result.weights_changed else ""),
            f"{row['protocol']} {row['preset']}, {row['dataset']}",
            f"{row['metric']} {row['condition']}".rstrip(),
            str(row["seed"]),
            result.number(result.baseline),
            result.number(result.current),
            result.number(result.worse_by) + (f" ({result.percent()})" if result.percent() else ""),
            result.number(result.error),
        )
        table.add_row(*(Text(text) for text in texts), style=_STYLES.get(result.verdict))
    return table
