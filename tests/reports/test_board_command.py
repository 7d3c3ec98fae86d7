"""``bench leaderboard`` and ``bench export`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.store import RunStore
from bench.weights import Weights
from tests.records import metric, record

RUNNER = CliRunner()


@pytest.fixture
def runs(tmp_path: Path) -> str:
    store = RunStore(tmp_path / "runs")
    for place, name in enumerate(("lead", "dve")):
        store.save(record(metric(1.0 + place, condition={"annotations": 5}), method=name))
    return str(store.folder)


def test_several_files_at_once(runs: str, tmp_path: Path) -> None:
    files = [tmp_path / f"board{suffix}" for suffix in (".csv", ".md", ".tex", ".html", ".json")]
    result = RUNNER.invoke(
        app, ["leaderboard", "--runs", runs, *(word for file in files for word in ("-o", str(file)))]
    )
    assert result.exit_code == 0, result.output
    csv_text, markdown, latex, html, data = (file.read_text() for file in files)
    assert csv_text.startswith("method,")
    assert "| lead " in markdown
    assert r"\toprule" in latex
    assert html.startswith("<!doctype html>")
    assert len(json.loads(data)["rows"]) == 2


def test_a_format_alone_is_printed_and_nothing_is_written(
    runs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(
        app, ["leaderboard", "--runs", runs, "--format", "markdown", "--by", "annotations"]
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith("# Leaderboard\n")
    assert "**1.000**" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["leaderboard", "--format", "markdwn"], "Did you mean 'markdown'"),
        (["leaderboard", "--by", "annotation"], "Did you mean 'annotations'"),
        (["leaderboard", "--json", "--format", "csv"], "both print"),
        (["export", "--format", "ee"], "no format is called 'ee'"),
        (["export", "--relationship", "friend"], "no relationship is called 'friend'"),
        (["export", "--hub", "mafl"], "is not of the form DATASET=OWNER/NAME"),
    ],
)
def test_mistakes(runs: str, words: list[str], message: str) -> None:
    result = RUNNER.invoke(app, [*words, "--runs", runs])
    assert isinstance(result.exception, BenchError)
    assert message in str(result.exception)


def test_a_record_tells_how_its_weights_were_trained() -> None:
    recipe = {"epochs": 3}
    told = {"preset": "paper", "variant": None, "dataset": "celeba", "recipe": recipe, "bench": "0.1.0"}
    origin = Weights(Path(), "", "lead", {}, told, {}).origin
    assert set(origin) == {"preset", "dataset", "recipe"}  # nothing that is not there, and nothing else
    other = Weights(Path(), "", "lead", {}, {**told, "recipe": {"epochs": 4}}, {}).origin
    assert origin["recipe"] != other["recipe"]
