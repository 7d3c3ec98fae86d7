"""Every run in one table: ``leaderboard.csv`` for programs, tables for people in whatever form is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pandas as pd
from rich.console import Group
from rich.text import Text

from bench.errors import BenchError, did_you_mean
from bench.report import Report, ReportOutput, Runs
from reports.frame import COLUMNS, QUESTION, Selection, frame_of, natural_order, rows_of, to_csv
from reports.grid import Grid
from reports.layout import by_key, by_question
from reports.markup import MARKS, html, latex, markdown
from reports.pivot import coverage, drawn, for_terminal, questions
from reports.published_rows import with_published
from reports.published_values import published_matches
from reports.ranking import RANK_COLUMNS, with_ranks

LEADERBOARD_COLUMNS = (*COLUMNS, *RANK_COLUMNS)
"""The columns of ``leaderboard.csv``: new ones are added at the end only."""

Format = Literal["csv", "markdown", "latex", "html", "json"]

_OF_TABLES: set[Format] = {"markdown", "latex", "html"}

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
}


class LeaderboardOptions(Selection):
    """Which rows, how they are laid out, and which files are written.

    Attributes:
        output: One file; None: nowhere.
        outputs: Several files instead, each in the format of its suffix.
        format: Of all files, whatever their suffix; and what is printed where no file is named.
        by: What goes across: ``dataset``, ``dimension``, ``protocol`` or a key of a condition; None: a table per
            protocol and data set.
        published: Show what papers print for the same columns.
    """

    output: Path | None = Path("leaderboard.csv")
    outputs: tuple[Path, ...] = ()
    format: Format | None = None
    by: str | None = None
    published: bool = False


class LeaderboardReport(Report):
    """One row per method, weights, data set, protocol, metric, condition and seed; nothing is averaged.

    Rows are ranked only against rows that answer the same question: data of the same content, the protocol of
    the same version and options, and the same metric, condition and seed (see ``reports.ranking``). A failed
    run keeps its row, with its reason and neither value nor rank. CSV and JSON always hold all rows; the other
    formats hold the tables, which average over seeds where every cell has all of them (see ``reports.seeds``).
    """

    name: ClassVar[str] = "leaderboard"
    summary: ClassVar[str] = "rank all runs: leaderboard.csv and a table per protocol and data set"
    Options: ClassVar[type[LeaderboardOptions]] = LeaderboardOptions

    def render(self, runs: Runs, options: LeaderboardOptions) -> ReportOutput:
        """Rank the records; exit code 2 and no file where there are none.

        Raises:
            BenchError: for a filter or a key that matches nothing, or a file whose format is not known.
        """
        targets = options.outputs or ((options.output,) if options.output is not None else ())
        formats = {path: format_of(path, options.format) for path in targets}
        records = runs.records
        if not records:
            message = "No runs to rank. Measure one with: bench run --method NAME --protocol NAME"
            return ReportOutput(Text(message), {"rows": [], "tables": []}, exit_code=2)
        ranked = with_ranks(options.apply(frame_of(records)))
        board = in_order(ranked)
        asked = questions(ranked)
        matches = published_matches(runs) if options.published else ()
        baselines = {part.name: tuple(part.baselines) for part in (record.protocol for record in records)}
        grids: Iterable[Grid] = by_question(ranked, baselines)
        total = len(asked)
        if options.by is not None:
            grids = by_key(ranked, options.by)
            total = len(grids)
        if options.published:
            grids = with_published(list(grids), matches)

        @cache
        def data() -> dict[str, Any]:
            found: dict[str, Any] = {
                "rows": rows_of(board),
                "tables": [
                    {**rows_of(rows[list(QUESTION)].head(1))[0], "coverage": asdict(coverage(rows))}
                    for rows in asked
                ],
            }
            if options.published:
                known = set(board["record"])
                found["published"] = [asdict(match) for match in matches if match.record in known]
            return found

        whole = list(grids) if set(formats.values()) & _OF_TABLES else []
        files = {path: _content(name, board, whole, data) for path, name in formats.items()}
        shown, rest = for_terminal(whole or grids, total)
        spaced = [part for table in drawn(shown) for part in (table, Text())]
        return ReportOutput(Group(*spaced, Text(rest)) if rest else Group(*spaced), data, files)


def format_of(path: Path, given: Format | None) -> Format:
    """The format that was asked for, else that of the suffix.

    Raises:
        BenchError: for a suffix that stands for none.
    """
    if given is not None:
        return given
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        formats = ", ".join(get_args(Format))
        raise BenchError(
            f"{path} has no suffix of a known format",
            hint=f"{did_you_mean(path.suffix or path.name, _SUFFIXES)} Or give --format: {formats}.",
        )
    return found


def in_order(ranked: pd.DataFrame) -> pd.DataFrame:
    """By protocol, data set, metric, condition, seed, rank, method; failed runs last among their protocol's.

    Order and columns depend on nothing but the rows: two boards of the same runs are equal byte for byte.
    """
    failed = ranked["status"] == "failed"
    places = ranked.assign(
        failed=failed, rank=ranked["rank"].mask(failed, 0), condition=natural_order(ranked["condition"])
    )
    question = list(dict.fromkeys(("protocol", "dataset", *QUESTION)))
    cell = ["failed", "metric", "condition", "unit", "direction", "seed"]
    within = ["rank", "method", "weights_label", "record"]
    order = places.sort_values([*question, *cell, *within], kind="stable").index
    return ranked.loc[order, list(LEADERBOARD_COLUMNS)].reset_index(drop=True)


def _content(
    name: Format, board: pd.DataFrame, grids: Sequence[Grid], data: Callable[[], dict[str, Any]]
) -> str:
    if name == "csv":
        return to_csv(board)
    if name == "json":
        return json.dumps(data(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if name == "markdown":
        return "".join(f"{line}\n" for line in ("# Leaderboard", "", *MARKS, "")) + markdown(grids)
    return latex(grids) if name == "latex" else html(grids)
