"""Stored values beside those that come out now: on the command line and below it; and which run is meant."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bench.cli import app
from bench.context import Arrays
from bench.errors import BenchError
from bench.record import RunRecord
from bench.run_reference import find_run
from bench.scoring import rescore
from bench.store import RunStore
from protocols.matching import Matching
from protocols.regression import Regression
from tests.protocols.scored_runs import MEASURED, keep
from tests.records import metric, record


@cache
def measured() -> tuple[Arrays, Any]:
    measurement, options = MEASURED[Regression]()
    return measurement.per_sample, options


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return keep(tmp_path, Regression, *measured())


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def changed(folder: Path, run: RunRecord, **fields: Any) -> RunRecord:
    """The stored run with another record of the same identity."""
    other = run.model_copy(update=fields)
    RunStore(folder).save(other, measured()[0])
    return other


def without(run: RunRecord, name: str) -> list[Any]:
    return [part for part in run.metrics if part.metric != name]


# --- one run ----------------------------------------------------------------------------------------


def test_a_whole_run_is_equal(run: RunRecord) -> None:
    found = rescore(run, measured()[0])
    assert {value.agreement for value in found.values} == {"equal"}
    assert [value.part for value in found.values] == run.metrics
    assert all(value.difference == 0 for value in found.values)
    assert found.with_added() is run


def test_values_that_differ_are_found(run: RunRecord) -> None:
    parts = list(run.metrics)
    parts[0] = parts[0].model_copy(update={"value": parts[0].value + 0.5})
    parts[1] = parts[1].model_copy(update={"value": parts[1].value * (1 + 1e-9)})
    parts[2] = parts[2].model_copy(update={"high": 99.5, "count": 3})
    found = rescore(run.model_copy(update={"metrics": parts}), measured()[0])
    assert [value.agreement for value in found.values[:4]] == ["differs", "rounding", "differs", "equal"]
    assert found.values[0].difference == pytest.approx(-0.5)
    assert found.values[2].differing == ["high", "count"]
    assert found.differs


def test_what_a_record_lacks_is_added_and_nothing_else(run: RunRecord) -> None:
    old = run.metrics[0].model_copy(update={"value": run.metrics[0].value * (1 + 1e-9), "low": None})
    kept = [old, *without(run, "pck_cl")[1:], metric(7.0, "retired_metric")]
    older = run.model_copy(update={"metrics": kept})
    found = rescore(older, measured()[0])
    assert [value.part.metric for value in found.where("added")] == ["pck_cl"]
    assert [value.part.metric for value in found.where("completed")] == ["nme_interocular"]
    assert [value.part.metric for value in found.where("not computed")] == ["retired_metric"]
    newer = found.with_added()
    assert newer.id == run.id
    assert newer.metrics[0].value == old.value  # as it was; its interval is new
    assert newer.metrics[0].low == run.metrics[0].low
    assert newer.metrics[1:-1] == run.metrics[1:]
    assert newer.metrics[-1] == kept[-1]
    assert newer.provenance["added_metrics"][0]["metrics"] == ["nme_interocular", "pck_cl"]


def test_a_run_that_cannot_be_scored_says_why(run: RunRecord) -> None:
    arrays = measured()[0]
    with pytest.raises(BenchError, match=r"failed, so that there is nothing to score: out of memory"):
        rescore(record(reason="out of memory"), arrays)
    older = run.model_copy(update={"protocol": run.protocol.model_copy(update={"version": 2})})
    with pytest.raises(BenchError, match=r"measured by version 2 of protocol 'regression'.*version 3"):
        rescore(older, arrays)
    with pytest.raises(BenchError, match="no protocol is called 'regresion'"):
        rescore(record(protocol="regresion"), arrays)
    with pytest.raises(BenchError, match=f"run {run.id}: no 'predictions' is stored"):
        rescore(run, {name: array for name, array in arrays.items() if name != "predictions"})


@pytest.mark.parametrize(
    "damage",
    [
        {"predictions": np.zeros((3, 3, 2), dtype=np.float32)},
        {"visible": np.ones((14, 7), dtype=np.bool_)},
        {"image_size": np.array([32.0])},
        {"predictions": np.full((14, 3, 2), np.nan)},
        {"normaliser_first": np.array([77])},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_arrays_that_do_not_fit_are_refused(run: RunRecord, damage: Arrays) -> None:
    with pytest.raises(BenchError, match=run.id):
        rescore(run, measured()[0] | damage)


# --- which run ---------------------------------------------------------------------------------------


def test_a_run_is_named_by_the_beginning_of_its_id_or_by_its_file(run: RunRecord, tmp_path: Path) -> None:
    for reference in (run.id, run.id[:3], str(tmp_path / f"{run.id}.json")):
        found = find_run(reference, tmp_path)
        assert found.record == run
        np.testing.assert_array_equal(found.arrays()["ids"], measured()[0]["ids"])


def test_a_name_that_means_no_run_is_explained(run: RunRecord, tmp_path: Path) -> None:
    for name in ("0" * 15 + "1", "0" * 15 + "2"):
        shutil.copy(tmp_path / f"{run.id}.json", tmp_path / f"{name}.json")
    (tmp_path / "notes.json").write_text("{}")
    for reference, message in {
        "000": "2 runs in .* begin with '000': 0000000000000001, 0000000000000002",
        "nothing": "'nothing' is neither",
        str(tmp_path / "notes.json"): "is no record",
        "0" * 15 + "1": "cannot be used: the name is not the id of the content",
    }.items():
        with pytest.raises(BenchError, match=message):
            find_run(reference, tmp_path)
    with pytest.raises(BenchError, match=r"no run in .* begins with 'abc'; there are 0"):
        find_run("abc", tmp_path / "elsewhere")


# --- the command -------------------------------------------------------------------------------------


def test_the_command_shows_every_value(run: RunRecord, tmp_path: Path) -> None:
    result = bench("score", run.id[:4], "--runs", str(tmp_path))
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if "│" in line]
    assert len(lines) == len(run.metrics)
    assert all("equal" in line for line in lines)


def test_write_adds_what_is_new(run: RunRecord, tmp_path: Path) -> None:
    older = changed(tmp_path, run, metrics=without(run, "pck_cl"))
    before = (tmp_path / f"{run.id}.json").read_bytes()
    result = bench("score", run.id, "--runs", str(tmp_path))
    assert result.exit_code == 0
    assert "added since" in result.output
    assert (tmp_path / f"{run.id}.json").read_bytes() == before
    assert bench("score", run.id, "--runs", str(tmp_path), "--write").exit_code == 0
    found = RunStore(tmp_path).find(run.id)
    assert found is not None
    assert found.metrics == run.metrics
    assert found.provenance["added_metrics"][0]["metrics"] == ["pck_cl"]
    assert older.metrics != found.metrics
    stored = RunStore(tmp_path).per_sample(run.id)
    assert stored.keys() == measured()[0].keys()


def test_a_value_that_differs_ends_in_1(run: RunRecord, tmp_path: Path) -> None:
    parts = [run.metrics[0].model_copy(update={"value": 1.0}), *run.metrics[1:]]
    changed(tmp_path, run, metrics=parts)
    result = bench("score", "--runs", str(tmp_path))
    assert result.exit_code == 1
    assert "differs: value" in result.output


def test_all_runs_of_a_folder(run: RunRecord, tmp_path: Path) -> None:
    measurement, options = MEASURED[Matching]()
    other = keep(tmp_path, Matching, measurement.per_sample, options)
    costs = record(metric(2.0, "regressor_gmacs"), protocol="flops", protocol_options={"landmarks": 5})
    RunStore(tmp_path).save(costs)
    RunStore(tmp_path).save(record(reason="out of memory"))
    result = bench("score", "--runs", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert {found["run"] for found in data["runs"]} == {run.id, other.id}
    assert data["not_scored"] == []
    assert data["nothing_stored"] == [str(tmp_path / f"{costs.id}.json")]
    table = bench("score", "--runs", str(tmp_path))
    assert f"│ {run.id} │" in table.output
    assert "runs that store no predictions: 1 (flops)" in table.output


def test_runs_that_cannot_be_scored_are_named(run: RunRecord, tmp_path: Path) -> None:
    older = keep(tmp_path, Regression, *measured(), method="older")
    arrays = {name: array for name, array in measured()[0].items() if name != "landmark_names"}
    RunStore(tmp_path).save(older, arrays)
    result = bench("score", "--runs", str(tmp_path))
    assert result.exit_code == 1
    assert f"run {older.id}: no 'landmark_names' is stored" in result.stderr
    assert run.id in result.stdout
    costs = record(metric(2.0, "regressor_gmacs"), protocol="flops")
    RunStore(tmp_path).save(costs)
    named = bench("score", costs.id, "--runs", str(tmp_path))
    assert named.exit_code == 1
    assert "stores nothing" in named.stderr


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    result = bench("score", "--runs", str(tmp_path))
    assert isinstance(result.exception, BenchError)
    assert "there is no run with values" in str(result.exception)
