"""Half precision: where it is refused, and that the scale of float16's gradients is kept with a training."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from bench.accelerate_settings import require_no_other_settings
from bench.checkpoint import load_state
from bench.errors import BenchError
from bench.precision import autocast, choose_precision, gradient_scaler
from bench.weights import read_weights
from tests.killing import KilledError, Killer
from tests.methods.shared_trainings import TRAININGS

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LEAD = TRAININGS["lead-nt_xent"]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_gpu_computes_in_all_of_them(name: str) -> None:
    assert choose_precision(name, GPU, faithful=True) == name


def test_auto_is_single_precision_where_a_paper_is_followed() -> None:
    assert choose_precision("auto", GPU, faithful=True) == "float32"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float16", "precision float16 needs a GPU, and the device is cpu"),
        ("bfloat61", "no precision is called 'bfloat61'\n.*Did you mean 'bfloat16'"),
    ],
)
def test_what_cannot_be_is_told(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        choose_precision(name, CPU, faithful=False)


def test_only_float16_is_scaled() -> None:
    assert [gradient_scaler(CPU, name).is_enabled() for name in ("float32", "bfloat16", "float16")] == [
        False,
        False,
        True,
    ]


def test_autocast_computes_in_the_precision_that_is_asked_for() -> None:
    matrix = torch.eye(2)
    found = {}
    for name in ("float32", "bfloat16"):
        with autocast(CPU, name):
            found[name] = (matrix @ matrix).dtype
    assert found == {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _scaled_by(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """As in float16, in single precision: powers of two then change no digit."""

    def scaler(device: torch.device, precision: str) -> GradScaler:
        del precision
        return GradScaler(device.type, **settings)

    monkeypatch.setattr("bench.training.gradient_scaler", scaler)


def _losses(folder: Path) -> list[float]:
    with (folder / "log.csv").open(newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def test_a_scale_changes_nothing_and_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_weights(LEAD.run(tmp_path / "plain"))
    _scaled_by(monkeypatch, init_scale=2.0**10, growth_interval=3)
    scaled = read_weights(LEAD.run(tmp_path / "scaled"))
    with pytest.raises(KilledError):
        LEAD.run(tmp_path / "killed", checkpoint_seconds=-1.0, progress=Killer("stage1", 3))
    assert _scale(tmp_path / "killed") == (2, {"scale": 2.0**10, "_growth_tracker": 2})
    resumed = read_weights(LEAD.run(tmp_path / "killed"))
    assert scaled.sha256 == plain.sha256 == resumed.sha256
    # Four steps: after the third the scale has grown, in the killed training as well.
    assert _scale(tmp_path / "scaled") == _scale(tmp_path / "killed")
    assert _scale(tmp_path / "killed") == (4, {"scale": 2.0**11, "_growth_tracker": 1})


def _scale(folder: Path) -> tuple[int, dict[str, float]]:
    found = load_state(folder / "stage1.state.safetensors", {}, None)
    assert found is not None
    return found["step"], {key: found["gradient_scaler"][key] for key in ("scale", "_growth_tracker")}


def test_a_step_whose_gradients_overflow_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scaled_by(monkeypatch, init_scale=2.0**127)
    LEAD.run(tmp_path, snapshot_every=1)
    first, second = (
        read_weights(tmp_path / "snapshots" / f"stage1-{step:06d}.safetensors").tensors for step in (0, 1)
    )
    trained = [name for name in first if name.endswith("conv1.weight")]
    assert trained
    assert all(torch.equal(first[name], second[name]) for name in trained)
    assert _scale(tmp_path)[1]["scale"] <= 2.0**126
    assert all(0 < loss < 100 for loss in _losses(tmp_path))


def test_bfloat16_trains_nearly_as_single_precision_does(tmp_path: Path) -> None:
    LEAD.run(tmp_path / "single")
    LEAD.run(tmp_path / "half", precision="bfloat16")
    single, half = _losses(tmp_path / "single"), _losses(tmp_path / "half")
    assert single != half
    assert half == pytest.approx(single, rel=0.05)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    for name in ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("setting", "precision"),
    [("no", "bfloat16"), ("bf16", "bfloat16"), ("fp16", "float16")],
)
def test_accelerate_may_say_the_same(told: Callable[[str, str], None], setting: str, precision: str) -> None:
    require_no_other_settings(precision)
    told("ACCELERATE_MIXED_PRECISION", setting)
    require_no_other_settings(precision)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ACCELERATE_MIXED_PRECISION", "fp16", "--mixed_precision fp16, .* computes in float32\n.*float16"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "--mixed_precision fp8, .* computes in float32\n.*bf16"),
        ("ACCELERATE_USE_FSDP", "true", "told to use FSDP"),
    ],
)
def test_accelerate_is_not_silently_overruled(
    told: Callable[[str, str], None], variable: str, value: str, message: str
) -> None:
    told(variable, value)
    with pytest.raises(BenchError, match=message):
        require_no_other_settings("float32")
