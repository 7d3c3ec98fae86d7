"""Ranks on the leaderboard: ties, error bars, and what is ranked together."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from reports.frame import frame_of
from reports.leaderboard import LeaderboardOptions, LeaderboardReport
from reports.ranking import with_ranks
from tests.records import metric, record

PATH = Path("leaderboard.csv")


def render(*records: RunRecord, **options: Any) -> ReportOutput:
    return LeaderboardReport().render(Runs(records), LeaderboardOptions.model_validate(options))


def rows(output: ReportOutput) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(str(output.files[PATH]))))


def ranks(*values: Any, direction: str = "lower") -> list[tuple[int, int, int]]:
    """(rank, rank_low, rank_high) of values, or of (value, low, high), each of another method."""
    runs = []
    for i, entry in enumerate(values):
        value, low, high = entry if isinstance(entry, tuple) else (entry, None, None)
        runs.append(record(metric(value, low=low, high=high, direction=direction), method=f"m{i}"))
    by_method = {row["method"]: row for row in rows(render(*runs))}
    return [
        (int(row["rank"]), int(row["rank_low"]), int(row["rank_high"]))
        for row in (by_method[f"m{i}"] for i in range(len(values)))
    ]


def test_the_lowest_error_is_first() -> None:
    assert ranks(3.0, 1.0, 2.0) == [(3, 3, 3), (1, 1, 1), (2, 2, 2)]


def test_the_highest_accuracy_is_first() -> None:
    assert ranks(0.3, 0.1, 0.2, direction="higher") == [(1, 1, 1), (3, 3, 3), (2, 2, 2)]


def test_ties_share_a_rank() -> None:
    assert ranks(1.0, 2.0, 2.0, 4.0) == [(1, 1, 1), (2, 2, 3), (2, 2, 3), (4, 4, 4)]


def test_overlapping_intervals_leave_the_rank_open() -> None:
    # the first two overlap, the second and third overlap, the first and third do not
    entries = [(1.0, 0.5, 1.5), (1.7, 1.4, 2.0), (2.2, 1.9, 2.5), (5.0, 4.0, 6.0)]
    assert ranks(*entries) == [(1, 1, 2), (2, 1, 3), (3, 2, 3), (4, 4, 4)]
    mirrored = [(-value, -high, -low) for value, low, high in entries]
    assert ranks(*mirrored, direction="higher") == [(1, 1, 2), (2, 1, 3), (3, 2, 3), (4, 4, 4)]


def test_the_deviation_over_draws_is_the_error_bar_where_there_is_no_interval() -> None:
    runs = [record(metric(value, std=0.6), method=f"m{value}") for value in (1.0, 2.0, 4.0)]
    assert [(row["rank_low"], row["rank_high"]) for row in rows(render(*runs))] == [
        ("1", "2"),
        ("1", "2"),
        ("3", "3"),
    ]


BARS = st.tuples(st.integers(-5, 5), st.integers(0, 4), st.integers(0, 4))


@settings(max_examples=60, deadline=None)
@given(bars=st.lists(BARS, min_size=1, max_size=6), direction=st.sampled_from(["lower", "higher"]))
def test_ranks_equal_a_count_over_all_pairs(bars: list[tuple[int, int, int]], direction: str) -> None:
    runs = [
        record(metric(v, low=v - below, high=v + above, direction=direction), method=f"m{i}")
        for i, (v, below, above) in enumerate(bars)
    ]
    found = with_ranks(frame_of(runs)).sort_values("method")
    sign = 1 if direction == "lower" else -1
    for (value, below, above), (_, row) in zip(bars, found.iterrows(), strict=True):
        better = sum(sign * other < sign * value for other, _, _ in bars)
        surely_better = surely_worse = 0
        for other, other_below, other_above in bars:
            apart_above = other - other_below > value + above
            apart_below = other + other_above < value - below
            surely_better += apart_below if direction == "lower" else apart_above
            surely_worse += apart_above if direction == "lower" else apart_below
        assert row["rank"] == 1 + better
        assert (row["rank_low"], row["rank_high"]) == (1 + surely_better, len(bars) - surely_worse)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"protocol_options": {"points": 10}},
        {"fingerprint": "0" * 64},
        {"preprocessing": {"image_size": 96, "margin": 20}},
        {"seed": 1},
        {"dataset": "coco"},
        {"protocol": "matching"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_comparable_is_not_ranked_together(change: dict[str, Any]) -> None:
    output = render(record(metric(1.0)), record(metric(2.0), method="random", **change))
    assert [row["rank"] for row in rows(output)] == ["1", "1"]


@pytest.mark.parametrize("change", [{"weights": "b" * 64}, {"options": {"x": 1}}, {"method": "random"}])
def test_methods_and_weights_are_ranked_together(change: dict[str, Any]) -> None:
    output = render(record(metric(1.0)), record(metric(2.0), preset="custom", **change))
    assert [row["rank"] for row in rows(output)] == ["1", "2"]


def test_a_failed_run_has_a_row_and_no_rank() -> None:
    output = render(record(metric(1.0)), record(method="random", reason="out\nof \x1b[31mmemory"))
    ok, failed = rows(output)
    assert (ok["rank"], ok["rank_high"]) == ("1", "1")
    assert failed["status"] == "failed"
    assert failed["reason"] == "out of  [31mmemory"
    assert [failed[name] for name in ("metric", "value", "rank", "rank_low", "rank_high")] == [""] * 5
    assert output.exit_code == 0
