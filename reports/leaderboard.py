"""Every run in one table: ``leaderboard.csv`` for programs, a table per protocol and data set for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from bench.report import Report, ReportOutput, Runs
from reports.frame import COLUMNS, QUESTION, Selection, frame_of, natural_order, rows_of, to_csv
from reports.pivot import coverage, questions, tables
from reports.ranking import RANK_COLUMNS, with_ranks

LEADERBOARD_COLUMNS = (*COLUMNS, *RANK_COLUMNS)
"""The columns of ``leaderboard.csv``: new ones are added at the end only."""


class LeaderboardOptions(Selection):
    """Which rows, and where the table is written (None: nowhere)."""

    output: Path | None = Path("leaderboard.csv")


class LeaderboardReport(Report):
    """One row per method, weights, data set, protocol, metric, condition and seed; nothing is averaged.

    Rows are ranked only against rows that answer the same question: data of the same content, the protocol of
    the same version and options, and the same metric, condition and seed (see ``reports.ranking``). A failed
    run keeps its row, with its reason and neither value nor rank.
    """

    name: ClassVar[str] = "leaderboard"
    summary: ClassVar[str] = "rank all runs: leaderboard.csv and a table per protocol and data set"
    Options: ClassVar[type[LeaderboardOptions]] = LeaderboardOptions

    def render(self, runs: Runs, options: LeaderboardOptions) -> ReportOutput:
        """Rank the records; exit code 2 and no file where there are none."""
        records = runs.records
        if not records:
            message = "No runs to rank. Measure one with: bench run --method NAME --protocol NAME"
            return ReportOutput(Text(message), {"rows": [], "tables": []}, exit_code=2)
        ranked = with_ranks(options.apply(frame_of(records)))
        board = in_order(ranked)
        summary = [
            {**rows_of(rows[list(QUESTION)].head(1))[0], "coverage": asdict(coverage(rows))}
            for rows in questions(ranked)
        ]
        files = {} if options.output is None else {options.output: to_csv(board)}
        baselines = {record.protocol.name: tuple(record.protocol.baselines) for record in records}
        return ReportOutput(
            Group(*_spaced(ranked, baselines)), {"rows": rows_of(board), "tables": summary}, files
        )


def in_order(ranked: pd.DataFrame) -> pd.DataFrame:
    """By protocol, data set, metric, condition, seed, rank, method; failed runs last among their protocol's.

    Order and columns depend on nothing but the rows: two boards of the same runs are equal byte for byte.
    """
    failed = ranked["status"] == "failed"
    places = ranked.assign(
        failed=failed, rank=ranked["rank"].mask(failed, 0), condition=natural_order(ranked["condition"])
    )
    question = [
        "protocol",
        "dataset",
        *(column for column in QUESTION if column not in ("protocol", "dataset")),
    ]
    cell = ["failed", "metric", "condition", "unit", "direction", "seed"]
    order = places.sort_values(
        [*question, *cell, "rank", "method", "weights_label", "record"], kind="stable"
    ).index
    return ranked.loc[order, list(LEADERBOARD_COLUMNS)].reset_index(drop=True)


def _spaced(ranked: pd.DataFrame, baselines: dict[str, tuple[str, ...]]) -> list[RenderableType]:
    return [part for table in tables(ranked, baselines) for part in (table, Text())]
