"""Two runs on the same samples: the numbers by hand, what is refused, and how it is shown."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from bench import registry
from bench.cli import app
from bench.context import Arrays
from bench.errors import BenchError
from bench.protocol import Protocol
from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from bench.seeds import numpy_generator
from bench.store import RunStore
from protocols.equivariance import Equivariance
from protocols.fewshot import FewShot
from protocols.matching import Matching
from protocols.regression import Regression
from reports.compare import CompareOptions, CompareReport
from tests.protocols.scored_runs import MEASURED, keep, worse
from tests.records import metric, record

PREDICTED = {"matching": "predicted", "equivariance": "predicted", "fewshot": "predictions_5"}


@cache
def measured(protocol: type[Protocol]) -> tuple[Arrays, Any]:
    measurement, options = MEASURED[protocol]()
    return measurement.per_sample, options


def two_runs(
    folder: Path, protocol: type[Protocol] = Regression, by: float = 2.0, **changes: Any
) -> tuple[RunRecord, RunRecord]:
    """A run, and one of another method that is worse by some pixels."""
    arrays, options = measured(protocol)
    first = keep(folder, protocol, arrays, options)
    name = PREDICTED.get(protocol.name, "predictions")
    second = keep(folder, protocol, worse(arrays, by, name), options, **({"method": "dve"} | changes))
    return first, second


def render(folder: Path, first: str, second: str, **options: Any) -> ReportOutput:
    chosen = CompareOptions(first=first, second=second, **options)
    return CompareReport().render(Runs((), store=RunStore(folder)), chosen)


def printed(output: ReportOutput, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    assert output.renderable is not None
    console.print(output.renderable)
    return console.export_text()


# --- numbers -----------------------------------------------------------------------------------------


def test_the_difference_and_its_interval_are_scipys(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    output = render(tmp_path, first.id, second.id, resamples=2000)
    row = output.data["values"][0]
    assert (row["metric"], row["condition"]) == ("nme_interocular", {})
    a, b = (RunStore(tmp_path).per_sample(run.id) for run in (first, second))
    recomputed = b["predictions"].astype(float) - b["targets"].astype(float)
    apart = np.linalg.norm(b["targets"][:, 0].astype(float) - b["targets"][:, 1], axis=-1)
    worse_errors = np.where(a["counted"], 100 * np.linalg.norm(recomputed, axis=-1) / apart[:, None], 0)
    kept = a["counted"].any(1)
    sums, worse_sums, counts = (
        array.sum(1)[kept].astype(float) for array in (a["errors"], worse_errors, a["counted"])
    )
    theirs = stats.bootstrap(
        (sums, worse_sums, counts),
        lambda x, y, n, axis=-1: y.sum(axis) / n.sum(axis) - x.sum(axis) / n.sum(axis),
        n_resamples=2000,
        batch=2000,
        method="percentile",
        paired=True,
        vectorized=True,
        rng=numpy_generator(first.seed, "bootstrap"),
    )
    assert row["difference"] == pytest.approx(worse_sums.sum() / counts.sum() - sums.sum() / counts.sum())
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.confidence_interval))
    assert row["first"] == pytest.approx(first.value("nme_interocular").value)
    assert row["second"] == pytest.approx(second.value("nme_interocular").value)
    assert row["samples"] == 12
    assert output.data["samples"] == 14


def test_a_clear_difference_names_the_better_run(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, by=25.0)
    rows = {row["metric"]: row for row in render(tmp_path, first.id, second.id).data["values"]}
    # Of the curve the last row is that of 20 px.
    assert rows["nme_interocular"]["better"] == rows["accuracy_px128"]["better"] == "first"
    assert rows["nme_interocular"]["difference"] > 0 > rows["accuracy_px128"]["difference"]
    turned = {row["metric"]: row for row in render(tmp_path, second.id, first.id).data["values"]}
    assert turned["nme_interocular"]["better"] == "second"
    assert turned["nme_interocular"]["low"] == pytest.approx(-rows["nme_interocular"]["high"])


def test_no_run_is_better_where_the_samples_do_not_tell(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, by=1e-4)
    rows = render(tmp_path, first.id, second.id).data["values"]
    assert {row["better"] for row in rows} == {None}
    assert all(row["p_corrected"] >= row["p_value"] for row in rows)


def test_the_correction_is_over_the_values_that_are_asked_for(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, by=9.0)
    (row,) = render(tmp_path, first.id, second.id, metrics=("nme_interocular",)).data["values"]
    assert row["p_corrected"] == row["p_value"]
    many = render(tmp_path, first.id, second.id).data["values"]
    smallest = min(row["p_value"] for row in many)
    assert min(row["p_corrected"] for row in many) == pytest.approx(len(many) * smallest)
    with pytest.raises(BenchError, match="neither run has the metric 'nme'"):
        render(tmp_path, first.id, second.id, metrics=("nme",))


def test_landmarks_of_the_first_metric(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    output = render(tmp_path, first.id, second.id)
    parts = output.data["parts"]
    assert [row["part"] for row in parts] == ["left eye", "right eye", "nose"]
    assert {row["metric"] for row in parts} == {"nme_interocular"}
    stored = RunStore(tmp_path).per_sample(first.id)
    nose = stored["counted"][:, 2]
    assert parts[2]["first"] == pytest.approx(stored["errors"][nose, 2].mean())
    assert parts[2]["samples"] == nose.sum() == 11
    assert render(tmp_path, first.id, second.id, landmarks=False).data["parts"] == []


@pytest.mark.parametrize(
    "protocol", [p for p in MEASURED if p.name not in ("parts", "segmentation")], ids=lambda p: p.name
)
def test_every_protocol_of_predictions(protocol: type[Protocol], tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, protocol, by=4.0)
    data = render(tmp_path, first.id, second.id).data
    assert data["protocol"] == protocol.name
    first_row = data["values"][0]
    assert first_row["difference"] == pytest.approx(first_row["second"] - first_row["first"])
    changed = [row for row in data["values"] if row["difference"] != 0]
    assert changed
    assert all(row["p_value"] is not None or row["untested"] for row in data["values"])
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize("name", ["parts", "segmentation"])
def test_protocols_of_counts(name: str, tmp_path: Path) -> None:
    protocol = next(p for p in MEASURED if p.name == name)
    arrays, options = measured(protocol)
    first = keep(tmp_path, protocol, arrays, options)
    table = "table_nmf_landmarks" if name == "parts" else "intersection_5"
    other = arrays | {table: np.random.default_rng(0).permuted(arrays[table], axis=-1)}
    second = keep(tmp_path, protocol, other, options, method="dve")
    data = render(tmp_path, first.id, second.id).data
    assert any(row["difference"] != 0 and row["p_value"] is not None for row in data["values"])
    assert bool(data["parts"]) == (name == "segmentation")


def test_few_shot_counts_are_columns(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, FewShot, by=4.0)
    text = printed(render(tmp_path, first.id, second.id))
    (heading,) = [line for line in text.splitlines() if "annotations=1 " in line and "annotations=5" in line]
    assert heading.split()[:2] == ["B", "−"]


def test_matching_compares_pairs_of_images(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, Matching, by=4.0)
    data = render(tmp_path, first.id, second.id).data
    assert data["samples"] == 12
    assert {row["condition"]["pairs"] for row in data["values"]} == {"same", "different"}


def test_chance_is_not_compared(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, Equivariance, by=4.0)
    output = render(tmp_path, first.id, second.id)
    assert {row["condition"]["predictor"] for row in output.data["values"]} == {"features"}
    assert len(output.data["left_out"]) == 8
    assert "Left out: equivariance_acc@20px predictor=random and 7 more" in printed(output, 200)
    assert "equivariance_error_median" in {row["metric"] for row in output.data["values"]}


def test_samples_in_another_order_are_the_same_samples(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    expected = render(tmp_path, first.id, second.id).data["values"][0]
    arrays = RunStore(tmp_path).per_sample(second.id)
    turned = {name: array[::-1] if array.shape[:1] == (14,) else array for name, array in arrays.items()}
    keep(tmp_path, Regression, turned, measured(Regression)[1], method="dve")
    found = render(tmp_path, first.id, second.id).data["values"][0]
    for name in ("difference", "low", "high", "p_value"):
        assert found[name] == pytest.approx(expected[name])


# --- what is refused ---------------------------------------------------------------------------------

_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 4}, "their seeds are 3 and 4"),
    "version": ({"version": 2}, "their versions of protocol regression are 3 and 2"),
    "options": ({"protocol_options": {"epochs": 9}}, r"option epochs: 2 and 9"),
    "data": ({"fingerprint": "b" * 64}, "their test data differ .* ffffffffffff and bbbbbbbbbbbb"),
    "preprocessing": (
        {"preprocessing": {"image_size": 70, "margin": 0}},
        "preprocessing image_size: 96 and 70",
    ),
    "protocol": ({"protocol": "finetune"}, "their protocols are regression and finetune"),
    "failed": ({"reason": "out of\nmemory"}, r"failed: out of memory"),
}


@pytest.mark.parametrize(("changes", "message"), _CHANGES.values(), ids=_CHANGES)
def test_runs_that_answer_other_questions(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    arrays, options = measured(Regression)
    first = keep(tmp_path, Regression, arrays, options)
    asked: dict[str, Any] = {
        "method": "dve",
        "protocol": "regression",
        "version": 3,
        "protocol_options": options.model_dump(mode="json"),
        "seed": first.seed,
    }
    asked["protocol_options"] |= changes.get("protocol_options", {})
    second = record(metric(1.0), **(asked | {k: v for k, v in changes.items() if k != "protocol_options"}))
    RunStore(tmp_path).save(second, arrays)
    with pytest.raises(BenchError, match="are not comparable") as refused:
        render(tmp_path, first.id, second.id)
    refused.match(message)


def test_options_that_came_later_are_no_difference(tmp_path: Path) -> None:
    arrays, options = measured(Regression)
    first = keep(tmp_path, Regression, arrays, options)
    fewer = {k: v for k, v in options.model_dump(mode="json").items() if k != "divide_at"}
    second = first.model_copy(update={"protocol": first.protocol.model_copy(update={"options": fewer})})
    RunStore(tmp_path).save(second, arrays)
    assert second.id != first.id
    assert {row["difference"] for row in render(tmp_path, first.id, second.id).data["values"]} == {0}


def _drop_last(arrays: Arrays) -> Arrays:
    return {name: array[:-1] if array.shape[:1] == (14,) else array for name, array in arrays.items()}


def _rename(arrays: Arrays) -> Arrays:
    return arrays | {"ids": np.array([f"x{name}" for name in arrays["ids"]])}


def _twice(arrays: Arrays) -> Arrays:
    return arrays | {"ids": np.array(["same"] * 14)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_last, "1 are only in the first and 0 only in the second, such as 'test13'"),
        (_rename, "14 are only in the first and 14 only in the second"),
        (_twice, "two samples of the same id"),
    ],
)
def test_other_samples(change: Callable[[Arrays], Arrays], message: str, tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    other = change(RunStore(tmp_path).per_sample(second.id))
    keep(tmp_path, Regression, other, measured(Regression)[1], method="dve")
    with pytest.raises(BenchError, match=message):
        render(tmp_path, first.id, second.id)


def test_values_that_are_not_those_of_the_record(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    RunStore(tmp_path).save(second, measured(Regression)[0])
    with pytest.raises(BenchError, match=f"values of run {second.id} are not those of its record"):
        render(tmp_path, first.id, second.id)


def test_a_run_and_itself(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)
    with pytest.raises(BenchError, match="compared with itself"):
        render(tmp_path, first.id, str(tmp_path / f"{first.id}.json"))


def test_costs_have_no_samples(tmp_path: Path) -> None:
    runs = [
        record(
            metric(2.0, "regressor_gmacs"), method=method, protocol="flops", protocol_options={"landmarks": 5}
        )
        for method in ("lead", "dve")
    ]
    for run in runs:
        RunStore(tmp_path).save(run)
    with pytest.raises(BenchError, match="'flops' are not computed from samples"):
        render(tmp_path, runs[0].id, runs[1].id)


# --- how it is shown ---------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    known = registry.load

    def load(group: registry.Group, name: str) -> type[Any]:
        return CompareReport if (group, name) == ("reports", "compare") else known(group, name)

    monkeypatch.setattr(registry, "load", load)
    return lambda *arguments: CliRunner().invoke(app, ["compare", *arguments])


def test_the_command(command: Callable[..., Any], tmp_path: Path) -> None:
    first, second = two_runs(tmp_path / "here", by=9.0)
    shown = command(first.id[:6], second.id[:6], "--runs", str(tmp_path / "here"))
    assert shown.exit_code == 0, shown.output
    assert f"run {first.id}" in shown.output
    assert "nme_interocular, part by part" in shown.output
    data = json.loads(
        command(first.id, second.id, "--runs", str(tmp_path / "here"), "--json", "--no-landmarks").stdout
    )
    assert data["first"]["method"] == "lead"
    assert data["values"][0]["better"] == "first"
    assert data["parts"] == []


def test_runs_of_different_folders(command: Callable[..., Any], tmp_path: Path) -> None:
    """The same cell, measured on two machines: not a run and itself."""
    arrays, options = measured(Regression)
    here = keep(tmp_path / "here", Regression, arrays, options)
    there = keep(tmp_path / "there", Regression, worse(arrays, 0.5), options)
    assert here.id == there.id
    files = [str(tmp_path / folder / f"{here.id}.json") for folder in ("here", "there")]
    found = command(*files, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["values"][0]["difference"] != 0


def test_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path, method="[red]x[/red]\x1b[2J", label="a\nb")
    text = printed(render(tmp_path, first.id, second.id))
    assert "[red]x[/red] [2J, a b" in text
    assert "\x1b" not in text


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    output = render(tmp_path, first.id, second.id)
    text = printed(output, 80)
    assert all(len(line) <= 80 for line in text.splitlines())
    interval = output.data["values"][0]
    assert f"{interval['low']:+.2f} {interval['high']:+.2f}".replace("-", "−") in text
