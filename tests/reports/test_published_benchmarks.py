"""The benchmark document that is published: of the records beside it, and of the weights that ship."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import registry
from bench.cli import app
from bench.record import RunRecord
from bench.shipped import shipped_entries
from bench.store import RunStore

DOCS = Path(__file__).resolve().parents[2] / "docs"
SEEDS = 5
DRAWING = ("matching", "equivariance", "fewshot", "segmentation", "parts")
"""What draws pairs, warps, support sets or starts of clusters."""

NO_WEIGHTS = "none"
"""Where only the architecture counts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    with tarfile.open(DOCS / "benchmarks.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def records(folder: Path) -> list[RunRecord]:
    records, problems = RunStore(folder).load_all()
    assert problems == []
    return records


def test_the_document_is_made_of_these_records(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.md"
    result = CliRunner().invoke(app, ["report", "--runs", str(folder), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert output.read_text() == (DOCS / "benchmarks.md").read_text()


def test_the_weights_are_those_that_ship(records: list[RunRecord]) -> None:
    measured: dict[str, set[str]] = {}
    for record in records:
        measured.setdefault(record.method.name, set()).add(record.method.weights_sha256)
    for name in registry.names("methods"):
        shipped = {entry.sha256 for entry in shipped_entries(registry.load("methods", name)())}
        if shipped:
            assert measured[name] - {NO_WEIGHTS} == shipped, name


def test_all_that_draws_is_measured_with_the_same_seeds(records: list[RunRecord]) -> None:
    seeds: dict[tuple[str, str, str], set[int]] = {}
    for record in records:
        on = record.dataset.name if record.dataset else None
        if record.protocol.name in DRAWING and on == "synthetic-faces":
            what = (record.method.name, str(record.method.options), record.protocol.name)
            seeds.setdefault(what, set()).add(record.seed)
    assert len(seeds) > 50
    assert {what: found for what, found in seeds.items() if found != set(range(SEEDS))} == {}
