"""Two runs on the same samples: their numbers by SciPy and by hand, and how they are shown."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from bench import registry
from bench.cli import app
from bench.errors import BenchError
from bench.protocol import Protocol
from bench.report import ReportOutput
from bench.seeds import numpy_generator
from bench.store import RunStore
from protocols.equivariance import Equivariance
from protocols.fewshot import FewShot
from protocols.matching import Matching
from protocols.regression import Regression
from reports.compare import CompareReport
from tests.protocols.scored_runs import MEASURED, keep, worse
from tests.reports.compared_runs import measured, render, two_runs


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
    first, second = two_runs(tmp_path, method="[red]x[/red]", label="a\nb")
    text = printed(render(tmp_path, first.id, second.id))
    assert "[red]x[/red], a b" in text


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    output = render(tmp_path, first.id, second.id)
    text = printed(output, 80)
    assert all(len(line) <= 80 for line in text.splitlines())
    interval = output.data["values"][0]
    assert f"{interval['low']:+.2f} {interval['high']:+.2f}".replace("-", "−") in text
