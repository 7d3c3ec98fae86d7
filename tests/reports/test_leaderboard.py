"""The leaderboard: its table for programs, its tables for people, selections."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from reports.frame import COLUMNS, condition_text, frame_of, from_csv, natural_key, rows_of, to_csv
from reports.grid import decimals
from reports.leaderboard import LEADERBOARD_COLUMNS, LeaderboardOptions, LeaderboardReport
from tests.records import metric, record

PATH = Path("leaderboard.csv")


def render(*records: RunRecord, **options: Any) -> ReportOutput:
    return LeaderboardReport().render(Runs(records), LeaderboardOptions.model_validate(options))


def rows(output: ReportOutput) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(str(output.files[PATH]))))


def printed(output: ReportOutput, *, styles: bool = False, width: int = 1000) -> str:
    console = Console(
        width=width, file=io.StringIO(), force_terminal=styles, color_system="standard", record=True
    )
    assert output.renderable is not None
    console.print(output.renderable)
    return console.export_text(styles=styles)


def few_shot(**values: float) -> tuple[Any, ...]:
    return tuple(
        metric(value, condition={"annotations": int(count.removeprefix("n"))}, std=0.25)
        for count, value in values.items()
    )


def test_costs_that_need_no_data_have_a_table_of_their_own() -> None:
    costs = record(metric(2.21, "regressor_gmacs"), protocol="flops").model_copy(update={"dataset": None})
    output = render(costs, record(metric(1.0)))
    assert [(row["dataset"], row["tier"]) for row in rows(output)] == [
        ("none", "none"),
        ("synthetic-faces", "procedural"),
    ]
    title = next(line for line in printed(output).splitlines() if line.startswith("flops"))
    assert title.strip() == "flops (quick, version 1)"


def test_baselines_that_were_not_measured_have_empty_rows() -> None:
    measured = [record(metric(1.0)), record(metric(2.0), method="random")]
    for part in measured:
        part.protocol.baselines = ["mean-shape", "random"]
    output = render(*measured)
    lines = printed(output).splitlines()
    (row,) = [line for line in lines if "mean-shape" in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["mean-shape", "not measured", "—", "—"]
    assert any("without mean-shape" in line for line in lines)
    assert len(rows(output)) == 2  # a file for programs holds what was measured


# --- the table for programs ------------------------------------------------------------------------


def test_the_columns_are_stable() -> None:
    header = render(record(metric(1.0))).files[PATH].splitlines()[0]
    assert header == (
        "method,weights_label,feature_dim,weights_sha256,method_options,dataset,tier,landmarks,dataset_content,"
        "protocol,preset,protocol_version,protocol_options,metric,condition,value,low,high,std,count,unit,"
        "direction,seed,status,reason,record,rank,rank_low,rank_high"
    )


def test_a_row_says_everything_about_its_value() -> None:
    run = record(metric(3.2500000001, low=3.0, high=3.5, count=200, condition={"annotations": 10}), seed=4)
    (row,) = rows(render(run))
    assert row | {"method_options": "", "dataset_content": "", "protocol_options": ""} == {
        "method": "lead",
        "weights_label": "shipped, synthetic-faces",
        "feature_dim": "64",
        "weights_sha256": "a" * 12,
        "method_options": "",
        "dataset": "synthetic-faces",
        "tier": "procedural",
        "landmarks": "10",
        "dataset_content": "",
        "protocol": "regression",
        "preset": "quick",
        "protocol_version": "1",
        "protocol_options": "",
        "metric": "nme_interocular",
        "condition": "annotations=10",
        "value": "3.2500000001",
        "low": "3.0",
        "high": "3.5",
        "std": "",
        "count": "200",
        "unit": "% of inter-ocular distance",
        "direction": "lower",
        "seed": "4",
        "status": "ok",
        "reason": "",
        "record": run.id,
        "rank": "1",
        "rank_low": "1",
        "rank_high": "1",
    }
    assert all(len(row[name]) == 12 for name in ("method_options", "dataset_content", "protocol_options"))


def test_the_order_of_the_records_does_not_matter() -> None:
    runs = [
        record(*few_shot(n10=value, n5=value + 1), method=name, seed=seed, protocol=protocol)
        for (name, value), seed, protocol in itertools.product(
            [("a", 3.0), ("b", 2.0)], (0, 1), ("fewshot", "regression")
        )
    ] + [record(method="c", reason="out of memory")]
    expected = render(*runs)
    for seed in range(5):
        random.Random(seed).shuffle(runs)
        again = render(*runs)
        assert again.files == expected.files
        assert again.data == expected.data
        assert printed(again) == printed(expected)


def test_rows_are_ordered_by_condition_then_rank() -> None:
    output = render(
        record(*few_shot(n10=2.0, n5=4.0, n1=9.0), method="b"),
        record(*few_shot(n10=3.0, n5=3.0, n1=8.0), method="a"),
    )
    assert [(row["condition"], row["method"]) for row in rows(output)] == [
        ("annotations=1", "a"),
        ("annotations=1", "b"),
        ("annotations=5", "a"),
        ("annotations=5", "b"),
        ("annotations=10", "b"),
        ("annotations=10", "a"),
    ]


def test_data_are_strict_json_and_equal_the_csv() -> None:
    output = render(record(metric(1.0)), record(method="random", reason="out of memory"))
    json.dumps(output.data, allow_nan=False)
    table = rows(output)
    assert [[("" if v is None else str(v)) for v in row.values()] for row in output.data["rows"]] == [
        list(row.values()) for row in table
    ]


def test_no_records_give_no_file() -> None:
    output = render()
    assert (output.exit_code, output.files) == (2, {})
    assert "bench run" in printed(output)


def test_nothing_is_written_where_nothing_is_wanted() -> None:
    assert render(record(metric(1.0)), output=None).files == {}


# --- the tables for people -------------------------------------------------------------------------


def test_a_table_per_protocol_and_data_set() -> None:
    output = render(
        record(metric(1.0)),
        record(metric(2.0), protocol="matching"),
        record(metric(3.0), fingerprint="0" * 64),
    )
    titles = [line.strip() for line in printed(output).splitlines() if " version 1) on " in line]
    assert titles == [
        "matching (quick, version 1) on synthetic-faces: procedural data, not photographs, 10 landmarks",
        "regression (quick, version 1) on synthetic-faces: procedural data, not photographs, 10 landmarks",
        "regression (quick, version 1) on synthetic-faces: procedural data, not photographs, 10 landmarks",
    ]
    assert len(output.data["tables"]) == 3


def test_conditions_are_in_numeric_order_and_missing_cells_are_dashes() -> None:
    text = printed(
        render(
            record(*few_shot(n10=3.0, n1=9.0), method="a"),
            record(*few_shot(n5=4.0, n10=3.5, n1=8.0), method="b"),
        )
    )
    header = next(line for line in text.splitlines() if "annotations=1 " in line)
    assert header.index("annotations=1 ") < header.index("annotations=5") < header.index("annotations=10")
    first, second = (next(line for line in text.splitlines() if f" {name} " in line) for name in "ba")
    assert text.index(first) < text.index(second)  # b is best with one annotation
    assert [cell.strip() for cell in first.strip("│").split("│")][3:] == [
        "8.000 ± 0.250",
        "4.000 ± 0.250",
        "3.500 ± 0.250",
    ]
    assert [cell.strip() for cell in second.strip("│").split("│")][3:] == [
        "9.000 ± 0.250",
        "—",
        "3.000 ± 0.250",
    ]
    assert "5 of 6 cells measured" in text


def test_a_narrow_terminal_gets_several_tables_of_whole_cells() -> None:
    counts = {f"n{count}": 30.0 - count for count in range(1, 13)}
    output = render(record(*few_shot(**counts), method="a"), record(*few_shot(**counts), method="b"))
    wide, narrow = printed(output), printed(output, width=100)
    assert wide.count("│ a ") == 1
    assert narrow.count("│ a ") == narrow.count("│ b ") > 1
    assert max(len(line) for line in narrow.splitlines()) <= 100
    for value in counts.values():
        cell = f"{value:.{decimals([value])}f} ± 0.25"
        assert narrow.count(f" {cell}") == wide.count(f" {cell}") == 2


def test_an_interval_is_shown_where_nothing_was_drawn() -> None:
    text = printed(render(record(metric(12.3751, low=11.0, high=13.5))))
    assert "12.38 [11.00, 13.50]" in text
    assert "nme_interocular: % of inter-ocular distance, lower is better" in text


def test_the_best_is_bold_and_what_cannot_be_told_from_it_underlined() -> None:
    output = render(
        record(metric(1.0, low=0.8, high=1.2), method="a"),
        record(metric(1.1, low=0.9, high=1.3), method="b"),
        record(metric(2.0, low=1.9, high=2.1), method="c"),
    )
    text = printed(output, styles=True)
    assert "\x1b[1m1.000 [0.800, 1.200]" in text
    assert "\x1b[4m1.100 [0.900, 1.300]" in text
    assert "│ 2.000 [1.900, 2.100] │" in text


def test_failed_runs_are_named_and_count_as_missing() -> None:
    output = render(record(*few_shot(n1=9.0, n5=4.0)), record(method="random", reason="out of memory"))
    text = printed(output)
    assert "2 of 4 cells measured, failed runs: 1" in text
    assert "out of memory" in text
    assert output.data["tables"][0]["coverage"] == {"measured": 2, "cells": 4, "failed_runs": 1}
    line = next(line for line in text.splitlines() if " random " in line)
    assert line.count("—") == 2


def test_only_failed_runs() -> None:
    output = render(record(reason="out of memory"))
    assert "0 of 0 cells measured, failed runs: 1" in printed(output)
    assert [row["status"] for row in rows(output)] == ["failed"]


def test_namesakes_are_told_apart() -> None:
    assert "weights_sha256" not in printed(render(record(metric(1.0))))
    text = printed(
        render(record(metric(1.0)), record(metric(2.0), weights="b" * 64), record(metric(3.0), seed=1))
    )
    assert "seed" in text
    assert "a" * 12 in text
    assert "b" * 12 in text


def test_markup_in_names_is_shown_as_it_is() -> None:
    text = printed(render(record(metric(1.0), label="[red]weights[/red] [/]")))
    assert "[red]weights[/red] [/]" in text


def test_every_value_of_a_column_keeps_four_digits_of_the_largest() -> None:
    assert [decimals([x]) for x in (0.0, 0.5, 3.0, 99.9, 123.0, 5e7, 0.00123)] == [2, 4, 3, 2, 1, 0, 6]
    assert decimals([-12.0, 0.001]) == 2
    assert decimals([]) == 2


# --- selections and the frame ----------------------------------------------------------------------


def test_selections_keep_failed_runs_of_what_is_selected() -> None:
    runs = [
        record(metric(1.0), metric(2.0, "pck")),
        record(metric(1.0), method="random"),
        record(reason="out of memory", seed=2),
    ]
    kept = rows(render(*runs, methods=("lead",), metrics=("pck",)))
    assert [(row["metric"], row["status"]) for row in kept] == [("pck", "ok"), ("", "failed")]


def test_a_selection_of_nothing_is_an_error() -> None:
    runs = [record(metric(1.0)), record(metric(1.0), method="random", protocol="matching")]
    with pytest.raises(BenchError, match="Did you mean 'lead'"):
        render(*runs, methods=("leed",))
    with pytest.raises(BenchError, match="all of the filters together"):
        render(*runs, methods=("lead",), protocols=("matching",))


def test_conditions_have_one_text() -> None:
    assert condition_text({"pairs": "different", "annotations": 10}) == "annotations=10,pairs=different"
    assert (
        condition_text({"annotations": 10.0, "flip": True, "share": 0.25})
        == "annotations=10,flip=true,share=0.25"
    )
    assert condition_text({}) == ""
    texts = ["annotations=all", "annotations=10", "annotations=5", "annotations=1", ""]
    assert sorted(texts, key=natural_key) == texts[::-1]


def test_a_frame_survives_the_way_through_csv() -> None:
    value = float(np.nextafter(1 / 3, 1))
    runs = [
        record(metric(value, low=0.1, high=0.5, count=3), label='a "quoted", label; NA', seed=2**62 + 1),
        record(metric(0.5, std=0.1), method="NA", weights="1e5678901234"),
        record(method="random", reason="nan"),
    ]
    frame = frame_of(runs)
    again = from_csv(to_csv(frame))
    assert rows_of(again) == rows_of(frame)
    assert list(again.columns) == list(COLUMNS)
    assert from_csv(str(render(*runs).files[PATH])).shape == frame.shape
    assert LEADERBOARD_COLUMNS[: len(COLUMNS)] == COLUMNS


def test_no_mean_is_ever_taken() -> None:
    output = render(*(record(metric(float(seed)), seed=seed) for seed in range(3)))
    assert sorted(float(row["value"]) for row in rows(output)) == [0.0, 1.0, 2.0]
    assert [row["rank"] for row in rows(output)] == ["1", "1", "1"]
