"""``bench runs`` and ``bench merge`` as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.cli.runs_tables import distinct_digits
from bench.errors import BenchError
from bench.store import RunStore
from tests.records import metric, record

NASTY = "[bold red]lead[/bold red] <script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    return RunStore(tmp_path / "runs")


def output(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, BenchError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def data(*words: str, code: int = 0) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(output(*words, "--json", code=code))
    return loaded


def test_list_is_newest_first_filtered_and_complete(runs: RunStore) -> None:
    lead = record(metric(7.125, low=7.0, high=7.5), metric(90.0, "pck"))
    failed = record(method="dve", reason="out of memory", seed=3)
    costs = record(metric(1.5, "params_m"), protocol="memory").model_copy(update={"dataset": None})
    for age, run in enumerate((lead, failed, costs)):
        os.utime(runs.save(run), (10**9 - age, 10**9 - age))
    (runs.folder / f"{'f' * 16}.json").write_text("{")
    found = data("runs", "list")
    assert [row["id"] for row in found["runs"]] == [lead.id, failed.id, costs.id]
    assert found["runs"][0]["value"] == {
        "metric": "nme_interocular",
        "condition": {},
        "value": 7.125,
        "unit": "% of inter-ocular distance",
    }
    assert found["runs"][0]["written"] == "2001-09-09T01:46:40+00:00"
    assert found["runs"][1]["reason"] == "out of memory"
    assert [problem["file"] for problem in found["problems"]] == [str(runs.folder / f"{'f' * 16}.json")]
    assert [row["id"] for row in data("runs", "list", "--status", "failed")["runs"]] == [failed.id]
    assert [row["id"] for row in data("runs", "list", "--seed", "0", "--method", "lead")["runs"]] == [
        lead.id,
        costs.id,
    ]
    assert [row["id"] for row in data("runs", "list", "--dataset", "synthetic-faces")["runs"]] == [
        lead.id,
        failed.id,
    ]
    assert [row["id"] for row in data("runs", "list", "--protocol", "memory")["runs"]] == [costs.id]
    shown = output("runs", "list")
    assert "7.125 nme_interocular" in shown
    assert "failed: out of memory" in shown
    assert "3 of 3 records, 1 failed" in shown


def test_list_says_what_is_mistyped_or_missing(runs: RunStore) -> None:
    assert "no records in" in output("runs", "list")
    runs.save(record(metric(1.0)))
    with pytest.raises(BenchError, match=r"no record has the method 'led'\n.*'lead'"):
        output("runs", "list", "--method", "led")
    with pytest.raises(BenchError, match="A record is ok or failed"):
        output("runs", "list", "--status", "fine")
    assert "none of the 1 records" in output("runs", "list", "--seed", "9")


def test_list_tells_all_ids_apart() -> None:
    assert distinct_digits(["0" * 16, "1" * 16]) == 8
    assert distinct_digits(["0" * 16, "0" * 12 + "1111"]) == 13


def test_show_takes_a_unique_prefix_and_leaves_nothing_out(runs: RunStore) -> None:
    run = record(metric(7.125), provenance={"versions": {"torch": "2.6"}, "command": ["bench", "run"]})
    runs.save(run, {"errors": np.zeros(2)})
    shown = output("runs", "show", run.id[:5].upper())
    for text in (run.id, "7.12", "versions.torch", "2.6", '["bench", "run"]', "f" * 64, f"{run.id}.npz"):
        assert text in shown
    content = data("runs", "show", run.id)
    assert content["files"] == [str(runs.folder / f"{run.id}{suffix}") for suffix in (".json", ".npz")]
    assert {key: value for key, value in content.items() if key not in ("id", "files")} == run.model_dump(
        mode="json"
    )


def test_show_says_when_a_prefix_is_unknown_or_not_unique(runs: RunStore) -> None:
    for name in ("aa00" + "0" * 12, "aa11" + "1" * 12):
        runs.folder.mkdir(exist_ok=True)
        (runs.folder / f"{name}.json").write_text("{")
    with pytest.raises(BenchError, match=r"2 records in .* begin with 'aa': aa00000000000000, aa11"):
        output("runs", "show", "aa")
    with pytest.raises(BenchError, match="begins with 'bb'"):
        output("runs", "show", "bb")
    with pytest.raises(BenchError, match="no record in"):
        output("runs", "show", "")
    with pytest.raises(BenchError, match="no usable record: not JSON"):
        output("runs", "show", "aa0")


def test_diff_shows_what_differs_and_the_values_side_by_side(runs: RunStore) -> None:
    one = record(metric(3.0), options={"dim": 64})
    other = record(metric(2.5), metric(1.0, "pck"), options={"dim": 32}, provenance={"threads": 1})
    for run in (one, other):
        runs.save(run)
    found = data("runs", "diff", one.id, other.id)
    assert found["identity"] == [{"place": "method.options.dim", "one": 64, "other": 32}]
    assert found["beside"] == []
    assert found["provenance"] == [{"place": "threads", "other": 1}]
    assert [(row["metric"], row["one"], row["other"], row["change"]) for row in found["values"]] == [
        ("nme_interocular", 3.0, 2.5, -0.5),
        ("pck", None, 1.0, None),
    ]
    shown = output("runs", "diff", one.id, other.id)
    assert "method.options.dim" in shown
    assert "-0.5" in shown


def test_diff_of_the_same_run_in_two_folders(runs: RunStore, tmp_path: Path) -> None:
    elsewhere = RunStore(tmp_path / "elsewhere")
    run = record(metric(3.0))
    runs.save(run)
    elsewhere.save(record(metric(4.0)))
    words = ("runs", "diff", run.id, run.id)
    assert "nothing differs" in output(*words)
    assert "only values differ" in output(*words, "--other-runs", str(elsewhere.folder))
    assert data(*words, "--other-runs", str(elsewhere.folder))["values"][0]["change"] == 1.0


def test_prune_removes_nothing_before_it_is_told_to(runs: RunStore) -> None:
    bad = runs.save(record(reason="out of memory"))
    shown = output("runs", "prune")
    assert "out of memory" in shown
    assert "nothing is removed without --yes" in shown
    assert data("runs", "prune") == {
        "removed": False,
        "leftovers": [
            {
                "kind": "failed",
                "what": f"{bad.stem} lead, regression: out of memory",
                "bytes": bad.stat().st_size,
                "paths": [str(bad)],
            }
        ],
    }
    assert "nothing to remove" in output("runs", "prune", "--only", "orphan", "--yes")
    assert bad.exists()
    assert "removed 1 files and folders" in output("runs", "prune", "--yes")
    assert not bad.exists()
    with pytest.raises(BenchError, match=r"nothing 'faild' to prune\n.*'failed'"):
        output("runs", "prune", "--only", "faild")


def test_merge_tells_what_came_and_what_did_not(runs: RunStore, tmp_path: Path) -> None:
    there = RunStore(tmp_path / "there")
    there.save(record(metric(1.0)))
    assert "1 added" in output("merge", str(there.folder))
    assert "1 equal" in output("merge", str(there.folder))
    there.save(record(metric(1.5)))
    shown = output("merge", str(there.folder), code=1)
    assert "nme_interocular: 1.0 here, 1.5 there" in shown
    assert "1 conflict" in shown
    assert "1 equal" in output("merge", str(there.folder), "--tolerance", "0.4")
    (there.folder / "x.json").write_text("{")
    found = data("merge", str(there.folder), code=1)
    assert [row["action"] for row in found["records"]] == ["conflict"]
    assert [Path(problem["file"]).name for problem in found["problems"]] == ["x.json"]


def test_hostile_text_is_printed_and_not_obeyed(runs: RunStore, tmp_path: Path) -> None:
    run = record(
        metric(1.0, NASTY, condition={NASTY: NASTY}, unit=NASTY),
        method=NASTY,
        dataset=NASTY,
        protocol=NASTY,
        preset=NASTY,
        label=NASTY,
        provenance={NASTY: "\x1b[2J\x1b]0;owned\x07"},
    )
    runs.save(run)
    failed = runs.save(record(reason="\x1b[31m[/bold] broke", seed=1)).stem
    shown = (
        output("runs", "list")
        + output("runs", "show", run.id)
        + output("runs", "show", failed)
        + output("runs", "diff", run.id, failed)
        + output("runs", "prune")
    )
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    assert "\\x1b[31m[/bold] broke" in shown
    assert shown.count(NASTY) > 10


@pytest.mark.parametrize("words", [("runs",), ("runs", "list"), ("runs", "prune"), ("merge",), ("doctor",)])
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout
