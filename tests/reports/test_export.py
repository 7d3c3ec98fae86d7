"""Records in formats of others: what every field says, and what is refused."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from reports.every_eval_ever import Evaluation, MetricConfig
from reports.export import ExportOptions, ExportReport
from reports.frame import COLUMNS, network_name
from tests.records import metric, record

FEW = metric(3.25, condition={"annotations": 10}, low=3.0, high=3.5, std=0.125, count=200)
PCK = metric(91.5, "pck_cl", unit="% of landmarks", direction="higher")


def exported(*records: RunRecord, **options: Any) -> ReportOutput:
    return ExportReport().render(Runs(records), ExportOptions.model_validate(options))


def evaluation(run: RunRecord, **options: Any) -> dict[str, Any]:
    (content,) = exported(run, format="eee", retrieved="1700000000", **options).files.values()
    Evaluation.model_validate_json(content)
    found: dict[str, Any] = json.loads(content)
    return found


# --- Every Eval Ever


def test_one_run_is_one_evaluation() -> None:
    run = record(FEW, PCK, provenance={"versions": {"bench": "0.1.0"}})
    found = evaluation(run, organization="A lab", relationship="third_party")
    model = network_name(run)
    assert re.fullmatch(f"lead-{'a' * 12}-[0-9a-f]{{12}}", model)
    assert found["schema_version"] == "0.3.0"
    assert found["evaluation_id"] == f"landmark-bench-regression/{model}/{run.id}/1700000000"
    assert found["source_metadata"] == {
        "source_name": "landmark-bench",
        "source_type": "evaluation_run",
        "source_organization_name": "A lab",
        "evaluator_relationship": "third_party",
    }
    assert found["model_info"]["id"] == f"landmark-bench/{model}"
    assert (found["eval_library"]["name"], found["eval_library"]["version"]) == ("landmark-bench", "0.1.0")
    few, pck = found["evaluation_results"]
    assert few["evaluation_name"] == "regression nme_interocular annotations=10"
    assert few["score_details"] == {
        "score": 3.25,
        "details": {},
        "uncertainty": {
            "confidence_interval": {
                "lower": 3.0,
                "upper": 3.5,
                "confidence_level": 0.95,
                "method": "bootstrap over images",
            },
            "standard_deviation": 0.125,
            "num_samples": 200,
        },
    }
    assert few["metric_config"]["metric_parameters"] == {"annotations": 10}
    assert few["source_data"]["dataset_name"] == "synthetic-faces"
    assert few["source_data"]["additional_details"]["tier"] == "procedural"
    assert few["source_data"]["samples_number"] == 200
    assert [one["metric_config"]["lower_is_better"] for one in (few, pck)] == [True, False]


def test_only_a_score_with_bounds_is_said_to_be_continuous() -> None:
    few, pck = evaluation(record(FEW, PCK))["evaluation_results"]
    assert "score_type" not in few["metric_config"]  # an error has no upper bound
    told = {key: pck["metric_config"][key] for key in ("score_type", "min_score", "max_score")}
    assert told == {"score_type": "continuous", "min_score": 0.0, "max_score": 100.0}
    with pytest.raises(ValidationError, match="min_score and max_score"):
        MetricConfig(
            evaluation_description="",
            metric_id="a",
            metric_name="a",
            metric_unit="",
            lower_is_better=True,
            score_type="continuous",
        )


def test_details_are_texts() -> None:
    found = evaluation(record(FEW))
    (result,) = found["evaluation_results"]
    for details in (
        found["model_info"]["additional_details"],
        found["eval_library"]["additional_details"],
        result["source_data"]["additional_details"],
    ):
        assert details
        assert all(isinstance(value, str) for value in details.values())


def test_a_run_without_images_has_no_data() -> None:
    run = record(FEW).model_copy(update={"dataset": None})
    (result,) = evaluation(run)["evaluation_results"]
    assert result["source_data"]["dataset_name"] == "none"


def test_a_file_for_each_run_and_names_stay_inside_the_folder() -> None:
    runs = [record(FEW, method="../../evil"), record(FEW, protocol="a/b")]
    paths = list(exported(*runs, format="eee", output="out").files)
    assert len(paths) == 2
    assert all(path.parts[0] == "out" and ".." not in path.parts and len(path.parts) == 5 for path in paths)


def test_failed_runs_are_left_out_and_nothing_else_is_an_error() -> None:
    failed = record(method="random", reason="out of memory")
    assert len(exported(record(FEW), failed, format="eee").files) == 1
    with pytest.raises(BenchError, match="no run that was chosen has a value"):
        exported(failed, format="eee")


def test_only_chosen_metrics() -> None:
    found = evaluation(record(FEW, PCK), metrics=("pck_cl",))
    assert [one["metric_config"]["metric_id"] for one in found["evaluation_results"]] == ["pck_cl"]


# --- the Hub


def test_a_file_for_each_model() -> None:
    runs = [record(FEW), record(PCK, protocol="matching"), record(FEW, method="dve", seed=3)]
    files = exported(*runs, format="hf-eval-results", hub={"synthetic-faces": "lab/faces"}).files
    assert len(files) == 2
    assert {path.parts[-2:] for path in files} == {(".eval_results", "landmark-bench.yaml")}
    (lead,) = [yaml.safe_load(content) for path, content in files.items() if "lead" in str(path)]
    by_task = {entry["dataset"]["task_id"]: entry for entry in lead}
    assert set(by_task) == {"regression-nme_interocular-annotations-10", "matching-pck_cl"}
    entry = by_task["regression-nme_interocular-annotations-10"]
    assert (entry["dataset"]["id"], entry["value"]) == ("lab/faces", 3.25)
    assert "procedural data, not photographs" in entry["notes"]
    assert "95 % interval 3 to 3.5" in entry["notes"]


def test_a_data_set_needs_an_id_on_the_hub() -> None:
    with pytest.raises(BenchError, match="none was given for 'synthetic-faces'") as error:
        exported(record(FEW), format="hf-eval-results")
    assert "--hub synthetic-faces=OWNER/NAME" in str(error.value)
    with pytest.raises(BenchError, match="'faces' is no id"):
        exported(record(FEW), format="hf-eval-results", hub={"synthetic-faces": "faces"})


def test_text_of_records_stays_text_in_yaml() -> None:
    run = record(metric(1.0, "yes", unit="a: {b}\n- c # d"))
    (content,) = exported(run, format="hf-eval-results", hub={"synthetic-faces": "lab/faces"}).files.values()
    (entry,) = yaml.safe_load(content)
    assert "a: {b} - c # d" in entry["notes"]
    assert set(entry) == {"dataset", "value", "notes"}


# --- tables


def test_csv_has_every_value_and_every_failure() -> None:
    files = exported(record(FEW, PCK), record(method="random", reason="out of memory"), format="csv").files
    rows = list(csv.DictReader(io.StringIO(str(files[Path("export.csv")]))))
    assert list(rows[0]) == list(COLUMNS)
    assert sorted(row["value"] for row in rows) == ["", "3.25", "91.5"]


def test_parquet_holds_the_same_rows() -> None:
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    failed = record(method="random", reason="out of memory")
    content = exported(record(FEW, PCK), failed, format="parquet").files[Path("export.parquet")]
    assert isinstance(content, bytes)
    frame = pd.read_parquet(io.BytesIO(content))
    assert list(frame.columns) == list(COLUMNS)
    assert sorted(frame["value"].dropna()) == [3.25, 91.5]
    assert frame["count"].dropna().tolist() == [200]


def test_parquet_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="needs the package 'pyarrow'") as error:
        exported(record(FEW), format="parquet")
    assert "landmark-bench[parquet]" in str(error.value)


def test_no_records() -> None:
    output = exported(format="eee")
    assert (output.exit_code, output.files) == (2, {})
