from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from bench.store import RunStore
from reports.check import CheckOptions, CheckReport
from reports.frame import COLUMNS
from reports.leaderboard import LeaderboardOptions, LeaderboardReport
from tests.records import metric, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "baseline.csv"


def check(path: Path, *records: RunRecord, **options: Any) -> ReportOutput:
    return CheckReport().render(Runs(records), CheckOptions.model_validate({"baseline": path, **options}))


def baseline(path: Path, *records: RunRecord) -> Path:
    output = check(path, *records, write_baseline=True)
    assert output.exit_code == 0
    path.write_text(str(output.files[path]), encoding="utf-8")
    return path


def printed(output: ReportOutput) -> str:
    console = Console(width=1000, file=io.StringIO(), record=True)
    assert output.renderable is not None
    console.print(output.renderable)
    return console.export_text()


def verdicts(output: ReportOutput) -> list[str]:
    return [cell["verdict"] for cell in output.data["cells"]]


def outcome(path: Path, then: Any, now: Any, **options: Any) -> tuple[str, int]:
    """The verdict on one value, and the exit code."""
    output = check(baseline(path, record(then)), record(now), **options)
    (verdict,) = verdicts(output)
    return verdict, output.exit_code


# --- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (100.0, ("unchanged", 0)),
        (101.9, ("unchanged", 0)),
        (102.1, ("worse", 1)),
        (98.1, ("unchanged", 0)),
        (97.9, ("better", 0)),
    ],
)
def test_the_tolerance_where_lower_is_better(path: Path, now: float, expected: tuple[str, int]) -> None:
    assert outcome(path, metric(100.0), metric(now)) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (0.500, ("unchanged", 0)),
        (0.491, ("unchanged", 0)),
        (0.489, ("worse", 1)),
        (0.509, ("unchanged", 0)),
        (0.511, ("better", 0)),
    ],
)
def test_the_tolerance_where_higher_is_better(path: Path, now: float, expected: tuple[str, int]) -> None:
    assert outcome(path, metric(0.5, direction="higher"), metric(now, direction="higher")) == expected


def test_the_sign_of_the_baseline_does_not_matter(path: Path) -> None:
    assert outcome(path, metric(-100.0), metric(-99.0)) == ("unchanged", 0)
    assert outcome(path, metric(-100.0), metric(-97.0)) == ("worse", 1)
    assert outcome(path, metric(0.0), metric(0.001)) == ("worse", 1)


def test_the_combined_half_width_is_the_root_of_the_sum_of_squares(path: Path) -> None:
    # half-widths 3 and 4 combine to 5; they need not be symmetric about their values
    then = metric(100.0, low=96.0, high=102.0)
    assert outcome(path, then, metric(104.9, low=101.9, high=109.9)) == ("within error bars", 0)
    assert outcome(path, then, metric(105.1, low=101.1, high=109.1)) == ("worse", 1)
    assert outcome(path, then, metric(95.1, low=91.1, high=99.1)) == ("unchanged", 0)
    assert outcome(path, then, metric(94.9, low=90.9, high=98.9)) == ("better", 0)
    output = check(path, record(metric(105.1, low=101.1, high=109.1)))
    assert math.isclose(output.data["cells"][0]["error"], 5.0)
    assert math.isclose(output.data["cells"][0]["worse_by"], 5.1)


def test_worse_by_less_than_the_tolerance_is_not_worse_however_small_the_error_bars(path: Path) -> None:
    now = metric(101.0, low=100.99, high=101.01)
    assert outcome(path, metric(100.0), now) == ("unchanged", 0)
    assert outcome(path, metric(100.0), now, tolerance=0.005) == ("worse", 1)


def test_the_deviation_over_draws_is_an_error_bar_too(path: Path) -> None:
    assert outcome(path, metric(100.0, std=3.0), metric(104.9, std=4.0)) == ("within error bars", 0)
    assert outcome(path, metric(100.0, std=3.0), metric(105.1, std=4.0)) == ("worse", 1)


def test_one_worse_value_among_many(path: Path) -> None:
    baseline(path, record(metric(1.0), metric(1.0, "pck", direction="higher")), record(metric(1.0), seed=1))
    output = check(
        path, record(metric(0.5), metric(0.9, "pck", direction="higher")), record(metric(1.0), seed=1)
    )
    assert output.exit_code == 1
    assert output.data["counts"] == {"better": 1, "worse": 1, "unchanged": 1}
    assert [c["metric"] for c in output.data["cells"] if c["verdict"] == "worse"] == ["pck"]
    assert "3 values compared: 1 worse, 1 better, 1 unchanged" in printed(output)
    assert "regressed" in printed(output)


def test_tolerances_of_single_metrics(path: Path) -> None:
    baseline(path, record(metric(1.0), metric(1.0, "miou")))
    now = record(metric(1.04), metric(1.04, "miou"))
    assert verdicts(check(path, now)) == ["worse", "worse"]
    assert verdicts(check(path, now, tolerances={"miou": 0.05})) == ["worse", "unchanged"]
    assert check(path, now, tolerance=0.05).exit_code == 0
    output = check(path, now, tolerances={"mio": 0.05})
    assert output.exit_code == 2
    assert "Did you mean 'miou'" in output.data["error"]


# --- what is compared with what --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"protocol_options": {"points": 10}},
        {"options": {"features": "hypercolumn"}},
        {"fingerprint": "0" * 64},
        {"preprocessing": {"image_size": 128, "margin": 0}},
        {"dataset": "coco"},
        {"protocol": "matching"},
        {"method": "random"},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_differs_is_not_compared(path: Path, change: dict[str, Any]) -> None:
    baseline(path, record(metric(1.0)))
    output = check(path, record(metric(9.0), **change))
    assert output.exit_code == 2
    assert "no value of the runs answers" in output.data["error"]
    output = check(path, record(metric(9.0), **change), record(metric(1.0)))
    assert output.exit_code == 0
    assert sorted(verdicts(output)) == ["new", "unchanged"]


@pytest.mark.parametrize(
    "now",
    [
        metric(9.0, condition={"annotations": 5}),
        metric(9.0, "nme_px"),
        metric(9.0, unit="px"),
        metric(9.0, direction="higher"),
    ],
)
def test_another_metric_condition_unit_or_direction_is_not_compared(path: Path, now: Any) -> None:
    baseline(path, record(metric(1.0)))
    assert check(path, record(now)).exit_code == 2


def test_weights_that_were_trained_again_are_compared(path: Path) -> None:
    baseline(path, record(metric(1.0)))
    output = check(path, record(metric(1.5), weights="b" * 64))
    assert output.exit_code == 1
    assert output.data["cells"][0]["weights_changed"]
    assert "(changed)" in printed(output)
    assert "1 of them were measured with other weights" in printed(output)


def test_the_old_run_beside_the_new_one_does_not_hide_it(path: Path) -> None:
    old = record(metric(1.0))
    baseline(path, old)
    output = check(path, old, record(metric(1.5), weights="b" * 64))
    assert output.exit_code == 1
    assert sorted(verdicts(output)) == ["unchanged", "worse"]


def test_several_weights_of_one_method_are_told_apart_by_their_labels(path: Path) -> None:
    baseline(
        path,
        record(metric(1.0), weights="a" * 64, label="faces"),
        record(metric(5.0), weights="b" * 64, label="bees"),
    )
    output = check(
        path,
        record(metric(1.0), weights="c" * 64, label="faces"),
        record(metric(5.0), weights="d" * 64, label="bees"),
        record(metric(9.0), weights="e" * 64, label="birds"),
    )
    assert output.exit_code == 0
    assert sorted(verdicts(output)) == ["ambiguous", "unchanged", "unchanged"]
    assert {(c["weights_label"], c["baseline"]) for c in output.data["cells"]} == {
        ("faces", 1.0),
        ("bees", 5.0),
        ("birds", None),
    }


def test_provenance_and_labels_do_not_matter(path: Path) -> None:
    baseline(path, record(metric(1.0), label="old", preset="custom", provenance={"torch": "2.6"}))
    assert check(path, record(metric(1.0), label="new", provenance={"torch": "3"})).exit_code == 0


# --- what is not there -----------------------------------------------------------------------------


def test_a_missing_value_is_shown_and_changes_nothing_unless_all_are_required(path: Path) -> None:
    baseline(path, record(metric(1.0)), record(metric(1.0), seed=1))
    output = check(path, record(metric(1.0)))
    assert (output.exit_code, sorted(verdicts(output))) == (0, ["missing", "unchanged"])
    assert "missing" in printed(output)
    assert check(path, record(metric(1.0)), require_all=True).exit_code == 2
    assert check(path, record(metric(2.0)), require_all=True).exit_code == 1
    assert check(path, record(metric(1.0)), record(metric(1.0), seed=1), require_all=True).exit_code == 0


def test_a_run_that_fails_now_is_shown_as_failed(path: Path) -> None:
    baseline(path, record(metric(1.0)), record(metric(1.0), seed=1))
    now = (record(metric(1.0)), record(seed=1, reason="out of memory"))
    output = check(path, *now)
    assert (output.exit_code, sorted(verdicts(output))) == (0, ["failed", "unchanged"])
    assert check(path, *now, require_all=True).exit_code == 2


def test_there_is_nothing_to_compare(path: Path) -> None:
    for records in ((), (record(reason="out of memory"),)):
        output = check(path, *records)
        assert output.exit_code == 2
        assert "no run with values" in output.data["error"]
    output = check(path, record(metric(1.0)))
    assert output.exit_code == 2
    assert "no baseline file" in output.data["error"]
    assert "--write-baseline" in printed(output)


def test_a_baseline_is_not_made_from_nothing(path: Path) -> None:
    for records in ((), (record(reason="out of memory"),)):
        output = check(path, *records, write_baseline=True)
        assert (output.exit_code, output.files) == (2, {})


def edited(text: str, column: str, value: str) -> str:
    header, row = text.splitlines()
    cells = row.split(",")
    assert len(cells) == len(COLUMNS)
    cells[header.split(",").index(column)] = value
    return f"{header}\n{','.join(cells)}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "not a CSV table"),
        (lambda text: text.splitlines()[0], "has no values"),
        (lambda text: "a,b\n1,2\n", "columns are missing: method"),
        (
            lambda text: edited(text, "value", "fast"),
            "row 1, column value: expected a finite number, got 'fast'",
        ),
        (lambda text: edited(text, "value", "nan"), "expected a finite number"),
        (lambda text: edited(text, "low", "inf"), "expected a finite number"),
        (lambda text: edited(text, "value", ""), "an ok row has no value"),
        (lambda text: edited(text, "seed", "0.5"), "column seed: expected a whole number"),
        (lambda text: edited(text, "protocol_version", "9" * 30), "column protocol_version"),
        (lambda text: text + text.splitlines()[1] + "\n", "it has twice lead regression nme_interocular"),
        (lambda text: text + "a,b,c,d," * 50, "not a CSV table"),
        (lambda text: b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_malformed_baseline(path: Path, change: Any, message: str) -> None:
    run = record(metric(1.0), label="label")
    changed = change(baseline(path, run).read_text(encoding="utf-8"))
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    output = check(path, run)
    assert output.exit_code == 2
    assert message in output.data["error"]


def test_a_folder_is_no_baseline(path: Path) -> None:
    path.mkdir()
    assert check(path, record(metric(1.0))).exit_code == 2


# --- files and selections --------------------------------------------------------------------------


def test_a_leaderboard_serves_as_a_baseline(path: Path) -> None:
    runs = [record(metric(1.0)), record(method="random", reason="out of memory")]
    board = LeaderboardReport().render(Runs(runs), LeaderboardOptions(output=path))
    path.write_text(str(board.files[path]), encoding="utf-8")
    assert verdicts(check(path, record(metric(1.5)))) == ["worse"]


def test_a_baseline_equals_itself_to_the_last_bit(path: Path) -> None:
    runs = [record(metric(math.pi * 10.0**power), seed=power + 20) for power in range(-12, 12, 3)]
    output = check(baseline(path, *runs), *runs, tolerance=0)
    assert {cell["worse_by"] for cell in output.data["cells"]} == {0.0}
    assert baseline(path, *runs).read_text() == baseline(path, *reversed(runs)).read_text()


def test_a_selection_applies_to_both_sides(path: Path) -> None:
    baseline(path, record(metric(1.0)), record(metric(1.0), method="random"))
    runs = (record(metric(1.0)), record(metric(2.0), method="random"))
    assert check(path, *runs).exit_code == 1
    output = check(path, *runs, methods=("lead",))
    assert (output.exit_code, verdicts(output)) == (0, ["unchanged"])
    output = check(path, *runs, methods=("leed",))
    assert output.exit_code == 2
    assert "Did you mean 'lead'" in output.data["error"]


def test_data_are_strict_json(path: Path) -> None:
    baseline(path, record(metric(1.0)), record(metric(1.0), seed=1))
    output = check(path, record(metric(1.0, low=0.5, high=2.0)), record(metric(1.0), seed=2))
    data = json.loads(json.dumps(output.data, allow_nan=False))
    assert data["counts"] == {"unchanged": 1, "missing": 1, "new": 1}
    assert data["cells"][0]["protocol_version"] == 1


# --- the commands ----------------------------------------------------------------------------------


def bench(*arguments: str) -> Any:
    from bench.cli import app  # noqa: PLC0415

    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_the_commands_from_records_to_exit_codes(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = RunStore(tmp_path / "runs")
    assert bench("check").exit_code == 2
    assert bench("leaderboard").exit_code == 2
    runs.save(record(metric(1.0)))
    assert bench("check").exit_code == 2
    made = bench("check", "--write-baseline")
    assert made.exit_code == 0
    assert path.exists()
    assert bench("check").exit_code == 0
    board = bench("leaderboard", "--output", "out/board.csv")
    assert board.exit_code == 0
    assert "nme_interocular" in board.stdout
    assert (tmp_path / "out" / "board.csv").read_text().startswith("method,")

    worse = record(metric(1.1), weights="b" * 64)
    runs.save(worse)
    assert bench("check").exit_code == 1
    assert bench("check", "--tolerance", "0.2").exit_code == 0
    assert bench("check", "--tolerance", "nme_interocular=0.2").exit_code == 0
    assert bench("check", "--tolerance", "two").exit_code == 2
    assert bench("check", "--tolerance", "-1").exit_code == 2
    assert bench("check", "--tolerance", "nan").exit_code == 2

    (runs.folder / "broken.json").write_text("{")
    result = bench("check", "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == data["exit_code"] == 1
    assert [Path(problem["file"]).name for problem in data["problems"]] == ["broken.json"]
    assert "broken.json: not JSON" in result.stderr
    listed = json.loads(bench("leaderboard", "--json", "--metric", "nme_interocular").stdout)
    assert [row["rank"] for row in listed["rows"]] == [1, 2]
    assert listed["written"] == ["leaderboard.csv"]


def test_the_folder_of_records_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "elsewhere"))
    RunStore(tmp_path / "elsewhere").save(record(metric(1.0)))
    assert len(json.loads(bench("leaderboard", "--json").stdout)["rows"]) == 1
