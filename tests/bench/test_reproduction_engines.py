"""``bench reproduce`` in parts, and by worker processes: the same table as by one process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import table_plan
from bench.cli import app
from bench.errors import BenchError
from bench.tables import Cell, CellRun, Table
from tests.bench.trivial_cells import check_equal_records, records, trivial_request

DRAW = CellRun("trivial", "draw", "number")
ROWS = ("1", "2", "3", "4", "5")
CELLS = (
    *(
        Cell(row, "number", "Ours", "0.5", run=replace(DRAW, method_options=(f"scale={row}",)))
        for row in ROWS
    ),
    Cell("again", "number", "Ours", "0.5", run=replace(DRAW, method_options=("scale=2",))),
    Cell("broken", "number", "Ours", "0.5", run=replace(DRAW, protocol_options=("fault=raise",))),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    trivial_request(tmp_path, monkeypatch)
    table = Table("made2026:table1", "Made up", CELLS, ("number",), ("none",))
    monkeypatch.setattr(table_plan, "find_table", lambda name: replace(table, name=name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["reproduce", "made2026:table1", "--device", "cpu", "-q", *words])


def verdicts(*words: str, exit_code: int = 0) -> dict[str, str]:
    done = invoke("--json", *words)
    assert done.exit_code == exit_code, done.output
    return {cell["row"]: cell["verdict"] for cell in json.loads(done.stdout)["cells"]}


def without_the_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("made2026:table1", "Made up", CELLS[:-1], ("number",), ("none",))
    monkeypatch.setattr(table_plan, "find_table", lambda name: table)


def test_shards_are_disjoint_and_together_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_broken_one(monkeypatch)
    first = verdicts("--shard", "1/2", "--runs", "runs")
    assert {row for row, verdict in first.items() if verdict == "missing"} == {"2", "4", "again"}
    assert len(records(folder / "runs")) == 3
    second = verdicts("--shard", "2/2", "--runs", "runs")
    assert {row for row, verdict in second.items() if verdict == "missing"} == {"1", "3", "5"}
    made = {file: file.stat().st_mtime_ns for file in (folder / "runs").glob("*.json")}
    assert len(made) == 5
    assert set(verdicts("--runs", "runs").values()) <= {"off", "reproduced"}
    assert {file: file.stat().st_mtime_ns for file in (folder / "runs").glob("*.json")} == made
    verdicts("--runs", "whole")
    check_equal_records(folder / "runs", folder / "whole", 5)


def test_a_dry_run_of_a_shard_says_what_it_runs() -> None:
    done = invoke("--dry-run", "--shard", "1/3")
    assert done.exit_code == 0, done.output
    assert "of another shard, for 5 cells" in done.stdout
    assert "without --shard shows the whole table" in done.stdout
    assert "2 runs" in done.stdout
    assert not Path("runs").exists()
    wrong = invoke("--shard", "4/3")
    assert isinstance(wrong.exception, BenchError)
    assert "a shard is I/N" in wrong.exception.message


def test_workers_give_the_table_that_one_process_gives(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = verdicts("--engine", "local", "--jobs", "2", "--runs", "runs", exit_code=1)
    assert ours["broken"] == "failed"
    without_the_broken_one(monkeypatch)
    theirs = verdicts("--runs", "alone")
    assert {row: verdict for row, verdict in ours.items() if row != "broken"} == theirs
    found = records(folder / "runs")
    assert sorted(record.status for record in found.values()) == ["failed"] + ["ok"] * 5
    for name, record in found.items():
        if record.status == "failed":
            (folder / "runs" / f"{name}.json").unlink()
    check_equal_records(folder / "runs", folder / "alone", 5)
