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
from reports.every_eval_ever import Evaluation
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
        "details": {"standard_deviation_over_draws": "0.125"},
        "uncertainty": {
            "confidence_interval": {
                "lower": 3.0,
                "upper": 3.5,
                "confidence_level": 0.95,
                "method": "bootstrap over images",
            },
            "num_samples": 200,
        },
    }
    assert few["metric_config"]["metric_parameters"] == {"annotations": 10}
    assert few["source_data"]["dataset_name"] == "synthetic-faces"
    assert few["source_data"]["additional_details"]["tier"] == "procedural"
    assert few["source_data"]["additional_details"]["images"] == '{"test": 200, "train": 400}'
    assert [one["metric_config"]["lower_is_better"] for one in (few, pck)] == [True, False]


def test_every_score_lies_within_bounds_that_follow_from_its_unit() -> None:
    scores = (
        FEW,
        PCK,
        metric(0.5, "ari", unit="at most 1", direction="higher"),
        metric(0.5, "miou", unit="share, 0 to 1", direction="higher"),
        metric(-7.0, "log_likelihood", unit="nat", direction="higher"),
        metric(-7.0, "energy", unit="J"),
    )
    bounds = {}
    for result in evaluation(record(*scores))["evaluation_results"]:
        config = result["metric_config"]
        assert config["score_type"] == "continuous"
        bounds[config["metric_id"]] = (config["min_score"], config["max_score"])
    assert bounds == {
        "nme_interocular": (0.0, "Infinity"),
        "pck_cl": (0.0, 100.0),
        "ari": ("-Infinity", 1.0),
        "miou": (0.0, 1.0),
        "log_likelihood": ("-Infinity", "Infinity"),
        "energy": ("-Infinity", "Infinity"),
    }


def test_what_the_format_refuses_is_refused() -> None:
    good = evaluation(record(FEW))
    for path, value in (
        (("model_info", "additional_details", "model_availability"), "perhaps"),
        (("model_info", "additional_details", "feature_dim"), 64),
        (("evaluation_results", 0, "metric_config", "max_score"), 3.0),
        (("evaluation_results", 0, "metric_config", "max_score"), None),
        (("evaluation_results", 0, "score_details", "score"), "3.25%"),
        (("source_metadata", "evaluator_relationship"), "friend"),
        (("license",), "MIT"),
    ):
        bad = json.loads(json.dumps(good))
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(ValidationError):
            Evaluation.model_validate(bad)


def test_the_formats_own_validator_accepts_the_files(tmp_path: Path) -> None:
    validator = pytest.importorskip(
        "every_eval_ever.validator.validation_core", reason="the package every-eval-ever is not installed"
    )
    runs = [record(FEW, PCK), record(FEW, protocol="a/b"), record(FEW).model_copy(update={"dataset": None})]
    for path, content in exported(*runs, format="eee", output=tmp_path).files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
        place = path.relative_to(tmp_path).as_posix()
        report = validator.validate_aggregate(path, repo_path=place, run_semantic_checks=True)
        assert report.valid
        assert not report.errors
        assert not report.warnings


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
    uuid4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for path in paths:
        assert re.fullmatch(
            rf"out/data/landmark-bench-[\w-]+/landmark-bench/[\w-]+/{uuid4}\.json", path.as_posix()
        )
    assert list(exported(*runs, format="eee", output="out").files) == paths


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


def test_the_hubs_own_library_reads_the_entries() -> None:
    library = pytest.importorskip("huggingface_hub")
    if not hasattr(library, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not know evaluation results yet")
    (content,) = exported(
        record(FEW, PCK), format="hf-eval-results", hub={"synthetic-faces": "lab/faces"}
    ).files.values()
    told = yaml.safe_load(content)
    entries = library.parse_eval_result_entries(told)
    assert [(entry.dataset_id, entry.value) for entry in entries] == [
        ("lab/faces", 3.25),
        ("lab/faces", 91.5),
    ]
    assert library.eval_result_entries_to_yaml(entries) == told


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
