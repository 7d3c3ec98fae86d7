"""``bench sweep`` as a user meets it: plans, states, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.progress import Progress
from bench.run_request import RunRequest
from bench.runner import run
from bench.sweep_notice import Notice, read_drivers
from tests.bench.trivial_cells import install

GRID = """
methods = ["trivial"]
protocols = ["draw", { name = "draw", options = { falt = "raise" } }]
seeds = [0, 1, 2]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(GRID)
    run(RunRequest("trivial", "draw", runs=Path("runs")), Progress.silent())
    return tmp_path


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["sweep", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dry_run_says_what_is_done_to_do_and_impossible(folder: Path) -> None:
    output = " ".join(said("grid.toml", "--dry-run").split())
    assert "6 cells 1 done 3 cannot run 2 to do, about 0 s by earlier records" in output
    assert "cannot run, 3 cells: protocol 'draw' has no option 'falt'" in output
    content = json.loads(said("grid.toml", "--dry-run", "--json", "--shard", "2/3"))
    assert content["counts"] == {"to do": 1, "cannot run": 1}
    assert [one["cell"] for one in content["to_do"]] == ["trivial · draw · seed 1"]
    assert len(list((folder / "runs").glob("*.json"))) == 1


def test_the_state_of_running_and_killed_sweeps(folder: Path) -> None:
    assert "1 records, 0 failed" in said("--status")
    assert "no sweep is running" in said("--status")
    notice = Notice()
    cell = ("trivial · draw · seed 1", "worker 1", 100.0)
    notice.write(Path("runs"), started=100.0, total=9, done=3, failed=1, running=[cell])
    output = said("--status", "grid.toml")
    assert "4 of 9, 1 failed, about" in output
    assert "worker 1: trivial · draw · seed 1" in output
    (file,) = (folder / "runs" / ".sweep" / "drivers").glob("*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"updated": 100.0}))
    assert "killed, or its machine is gone" in said("--status")
    notice.remove(Path("runs"))
    assert read_drivers(Path("runs")) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no grid was given"),
        (("nothing.toml",), "there is no nothing.toml"),
        (("grid.toml", "--shard", "3/2"), "a shard is I/N"),
        (("grid.toml", "--memory", "much"), "no size"),
        (("grid.toml", "--memory", "9000TB"), "Lower --memory"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], message: str, folder: Path) -> None:
    result = CliRunner().invoke(app, ["sweep", *words])
    assert isinstance(result.exception, BenchError)
    assert message in str(result.exception)


def test_a_sweep_with_nothing_to_do_starts_nothing(folder: Path) -> None:
    (folder / "grid.toml").write_text('methods = ["trivial"]\nprotocols = ["draw"]')
    assert "1 done" in " ".join(said("grid.toml").split())
    assert not (folder / "runs" / ".sweep" / "logs").exists()
