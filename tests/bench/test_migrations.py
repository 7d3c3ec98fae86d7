"""Every shape in which a record was ever written is read today, under the id that it was written under."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import bench.migrations
from bench.migrations import STEPS, MigrationError, from_1_to_2, migrated
from bench.record import SCHEMA_VERSION, RunRecord, content_hash
from bench.store import RunStore
from tests.records import metric, record

PAST = Path(__file__).parent / "past_records"
"""A folder per shape, named VERSION-WHAT; written by the code of that time, not to be edited."""

SHAPES = sorted(folder.name for folder in PAST.iterdir())
FIRST = PAST / "1-first"


def content(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


def test_every_past_version_has_a_step_and_a_record_here() -> None:
    past = list(range(1, SCHEMA_VERSION))
    assert sorted(STEPS) == past
    assert sorted({int(shape.partition("-")[0]) for shape in SHAPES}) == past


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_of_the_past_is_read_under_its_own_name(shape: str) -> None:
    before = {file: file.read_bytes() for file in (PAST / shape).iterdir()}
    store = RunStore(PAST / shape)
    (found,), problems = store.load_all()
    assert problems == []
    written = content(PAST / shape)
    assert written["schema_version"] == int(shape.partition("-")[0])
    assert found.schema_version == SCHEMA_VERSION
    assert store.load(found.id) == found
    assert found.seed == written["seed"]
    assert [part.value for part in found.metrics] == [part["value"] for part in written["metrics"]]
    assert found.provenance == written["provenance"]
    assert {file: file.read_bytes() for file in (PAST / shape).iterdir()} == before  # reading writes nothing


def test_the_first_shape_becomes_todays_by_what_was_true_then() -> None:
    (found,), _ = RunStore(FIRST).load_all()
    assert found.method.feature_dtype == "float32"
    assert found.protocol.baselines == []
    assert "feature_dtype" not in content(FIRST)["method"]
    # the id as it was hashed then, by hand
    written = content(FIRST)
    data = {key: value for key, value in written["dataset"].items() if key not in ("counts", "name")}
    assert found.id == content_hash(
        {
            "schema_version": 1,
            "method": {key: written["method"][key] for key in ("name", "options", "weights_sha256")},
            "protocol": {key: written["protocol"][key] for key in ("name", "options", "version")},
            "dataset": data,
            "seed": written["seed"],
        }
    )


def test_what_a_version_1_record_says_is_kept() -> None:
    (costs,), _ = RunStore(PAST / "1-without-data").load_all()
    assert costs.dataset is None
    (compared,), _ = RunStore(PAST / "1-with-baselines").load_all()
    assert compared.protocol.baselines == ["mean-shape", "random"]
    (rounded,), _ = RunStore(PAST / "1-with-feature-dtype").load_all()
    assert rounded.method.feature_dtype == "float16"


def test_a_record_measured_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    (old,), _ = RunStore(FIRST).load_all()
    (file,) = FIRST.glob("*.json")
    store = RunStore(tmp_path)
    (tmp_path / file.name).write_bytes(file.read_bytes())
    store.save(old)
    assert [path.name for path in tmp_path.glob("*.json")] == [file.name]
    assert json.loads((tmp_path / file.name).read_text())["schema_version"] == SCHEMA_VERSION
    assert store.load_all() == ([old], [])


def test_a_step_changes_nothing_that_it_is_given() -> None:
    written = content(FIRST)
    before = copy.deepcopy(written)
    assert from_1_to_2(written) == from_1_to_2(written)
    assert written == before


def test_steps_are_taken_one_after_the_other() -> None:
    steps = {
        1: lambda data: {**data, "schema_version": 2, "path": [*data["path"], "1 to 2"]},
        2: lambda data: {**data, "schema_version": 3, "path": [*data["path"], "2 to 3"]},
    }
    assert migrated({"schema_version": 1, "path": []}, 3, steps)["path"] == ["1 to 2", "2 to 3"]
    assert migrated({"schema_version": 2, "path": []}, 3, steps)["path"] == ["2 to 3"]
    assert migrated({"schema_version": 3, "path": []}, 3, steps)["path"] == []
    with pytest.raises(MigrationError, match="version 7 was never written: the known ones are 1 and 2 and 3"):
        migrated({"schema_version": 7, "path": []}, 3, steps)
    with pytest.raises(MigrationError, match=r"not the shape of schema version 2.*KeyError: 'path'"):
        migrated({"schema_version": 2}, 3, steps)


def test_a_step_that_changes_the_identity_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = FIRST.glob("*.json")
    (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(
        bench.migrations, "STEPS", {1: lambda data: {**from_1_to_2(data), "seed": data["seed"] + 1}}
    )
    found, (problem,) = RunStore(tmp_path).load_all()
    assert found == []
    assert "the name is not the id" in problem.reason


def test_a_record_is_built_in_todays_version_only() -> None:
    with pytest.raises(ValueError, match="schema_version"):
        RunRecord.model_validate({**record(metric(1.0)).model_dump(), "schema_version": 1})
