"""The values of the page: every row of the frame with the texts that people read, and what each record says first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.record import RunRecord
from reports.frame import NO_DATA, QUESTION, natural_key, rows_of
from reports.grid import IDENTITY, decimals
from reports.page.questions import Question, question_key
from reports.pivot import questions
from reports.ranking import RANK_COLUMNS, with_ranks
from reports.seeds import over_seeds

TIERS = ("published", "own", "procedural", NO_DATA)
"""The order in which data of different kinds is shown, always apart."""


Row = dict[str, Any]


@dataclass(frozen=True)
class Headline:
    """The first value that a protocol reports, at its best.

    Attributes:
        row: Of the best run, as of :func:`with_texts`, or of the best mean, as of :func:`seed_means`.
        rivals: Methods whose error bars touch those of the best, so that no winner is claimed.
        entries: Runs that answer the same question.
        baseline: The best run of a method that has learned nothing; None where none was measured.
        told_apart: What tells the question from its namesakes.
    """

    row: Row
    rivals: tuple[str, ...]
    entries: int
    baseline: Row | None
    told_apart: str

    @property
    def is_mean(self) -> bool:
        """Whether it is one over seeds."""
        return self.row["seed"] is None

    @property
    def is_baseline(self) -> bool:
        """Whether the best has learned nothing."""
        return self.baseline is not None and self.baseline["record"] == self.row["record"]


def with_texts(ranked: pd.DataFrame) -> pd.DataFrame:
    """Add ``text`` and ``spread`` (rounded alike within a column of a table) and ``place`` (within the record).

    ``spread`` is ``± s``, the deviation over draws, or ``[low, high]``, the 95 % interval, or empty.
    """
    return _rounded(ranked).assign(place=ranked.groupby("record").cumcount())


def seed_means(values: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, of the questions that were asked of every network with the same seeds.

    Args:
        values: As of :func:`with_texts`.

    Returns:
        Rows as of ``values``, ranked among each other. ``seed`` is missing, ``record`` and ``place`` are those of the
        first seed's value, and ``spread`` has the deviation over seeds and the interval.
    """
    found = []
    measured = values[values["value"].notna()].sort_values("seed", kind="stable")
    for rows in questions(measured):
        averaged, _ = over_seeds(rows, (*IDENTITY, "metric", "condition"))
        if len(averaged) < len(rows):
            found.append(averaged.assign(record=rows.loc[averaged.index, "record"]))
    if not found:
        return values.iloc[:0]
    return _rounded(with_ranks(pd.concat(found).drop(columns=list(RANK_COLUMNS))), both=True)


def _rounded(ranked: pd.DataFrame, *, both: bool = False) -> pd.DataFrame:
    """With ``text`` and ``spread``; with the interval behind the deviation where ``both`` are wanted."""
    column = [*QUESTION, "metric", "condition"]
    largest = ranked["value"].abs().groupby([ranked[name] for name in column]).transform("max")
    texts, spreads = [], []
    numbers = ("value", "low", "high", "std")
    rows = zip(largest, *(ranked[name] for name in numbers), strict=True)
    for most, value, low, high, std in rows:
        if pd.isna(value):
            texts.append("")
            spreads.append("")
            continue
        digits = decimals([most])
        texts.append(f"{value:.{digits}f}")
        bars = [] if pd.isna(std) else [f"± {std:.{digits}f}"]
        if (both or not bars) and not pd.isna(low) and not pd.isna(high):
            bars.append(f"[{low:.{digits}f}, {high:.{digits}f}]")
        spreads.append(" ".join(bars))
    return ranked.assign(text=texts, spread=spreads)


def headlines(
    values: pd.DataFrame,
    means: pd.DataFrame,
    records: Mapping[str, RunRecord],
    told_apart: Mapping[Question, str],
) -> list[Headline]:
    """One for every question, in the order of the kinds of data, then by protocol and data set.

    The headline is the value that most of the question's records report first: protocols report what matters
    first. It is the mean over seeds where there is one, else every seed has a headline of its own.

    Args:
        means: As of :func:`seed_means`.
    """
    averaged = pd.MultiIndex.from_frame(means[list(QUESTION)].drop_duplicates())
    single = ~pd.MultiIndex.from_frame(values[list(QUESTION)]).isin(averaged)
    cells = _first_cells(pd.concat([values[single & values["value"].notna()], means]))
    found = [
        _headline(
            sorted(cell, key=lambda row: (row["rank"], row["method"], row["record"])), records, told_apart
        )
        for cell in cells
    ]
    return sorted(found, key=_place)


def _first_cells(measured: pd.DataFrame) -> list[list[Row]]:
    """Of every question and seed, the rows of the metric and condition that most records report first."""
    groups = measured.groupby([*QUESTION, "seed"], dropna=False).ngroup()
    keys = list(zip(groups, measured["metric"], measured["condition"], strict=True))
    firsts: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for (group, *key), place in zip(keys, measured["place"], strict=True):
        if place == 0:
            firsts[group][key[0], key[1]] += 1
    leading = {
        group: min((key for key in count if count[key] == max(count.values())), key=_natural)
        for group, count in firsts.items()
    }
    chosen = [leading[group] == (metric, condition) for group, metric, condition in keys]
    cells: dict[int, list[Row]] = defaultdict(list)
    for group, row in zip(groups[chosen], rows_of(measured[chosen]), strict=True):
        cells[group].append(row)
    return list(cells.values())


def _headline(
    cell: list[Row], records: Mapping[str, RunRecord], told_apart: Mapping[Question, str]
) -> Headline:
    best = cell[0]
    untaught = {name for row in cell for name in records[row["record"]].protocol.baselines}
    return Headline(
        row=best,
        rivals=tuple(dict.fromkeys(row["method"] for row in cell[1:] if row["rank_low"] == 1)),
        entries=len(cell),
        baseline=next((row for row in cell if row["method"] in untaught), None),
        told_apart=told_apart[question_key(best)],
    )


def _place(headline: Headline) -> tuple[Any, ...]:
    row = headline.row
    seed = -1 if row["seed"] is None else row["seed"]
    return (TIERS.index(row["tier"]), row["dataset"], row["protocol"], seed, headline.told_apart)


def _natural(key: tuple[str, str]) -> tuple[object, ...]:
    return (key[0], *natural_key(key[1]))
