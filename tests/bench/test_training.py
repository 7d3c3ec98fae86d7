"""A training that was killed and started again is the training that was never killed."""

from __future__ import annotations

import csv
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import BenchError
from bench.method import PretrainJob
from bench.progress import Progress
from bench.training import steps_for
from bench.weights import load_into, read_weights
from methods.lead import LEAD, LEADOptions, LEADRecipe
from methods.random import Random, RandomOptions
from methods.schedule import warmup_cosine
from tests.killing import KilledError, Killer

OPTIONS = LEADOptions(backbone="resnet18", width=8, dim=8, fpn_width=8, fpn_merged=8)
RECIPE = LEADRecipe(
    image_size=32,
    view_size=32,
    stage2_view_size=32,
    batch_size=8,
    stage2_batch_size=8,
    stage1_epochs=2,
    stage2_epochs=2,
    warmup_epochs=1,
    head_hidden=16,
    head_dim=8,
    projection_dim=8,
)


def _job(output: Path, recipe: LEADRecipe = RECIPE, **changes: object) -> PretrainJob:
    images = torch.randint(
        0, 256, (26, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    job = PretrainJob(
        images=images,
        options=OPTIONS,
        recipe=recipe,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "noise", "preset": "test", "images": 26},
    )
    return replace(job, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("objectives", "stage", "after"),
    [
        ({"stage1_objective": "byol"}, "stage1", 1),
        ({"stage1_objective": "byol"}, "stage1", 4),
        ({"stage1_objective": "moco", "moco_queue": 20}, "stage1", 4),
        ({"stage1_objective": "nt_xent"}, "stage1", 4),
        ({"stage1_objective": "nt_xent"}, "stage2", 1),
        ({"stage2_objective": "equivariance"}, "stage2", 5),
        ({"pairs": "views"}, "stage2", 5),
    ],
)
def test_resumed_equals_undisturbed(
    tmp_path: Path, objectives: dict[str, object], stage: str, after: int
) -> None:
    recipe = RECIPE.model_copy(update=objectives)
    undisturbed = LEAD().pretrain(_job(tmp_path / "one", recipe))
    disturbed = _job(tmp_path / "two", recipe, checkpoint_seconds=-1.0)
    with pytest.raises(KilledError):
        LEAD().pretrain(replace(disturbed, progress=Killer(stage, after)))
    resumed = LEAD().pretrain(disturbed)
    assert read_weights(resumed).sha256 == read_weights(undisturbed).sha256
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert [row["stage"] for row in logs[0]] == ["stage1"] * 6 + ["stage2"] * 6


def test_ctrl_c_keeps_every_finished_step(tmp_path: Path) -> None:
    class Interrupting(Killer):
        """Presses Ctrl-C in the middle of the work of a step, not between two."""

        def hit(self) -> None:
            signal.raise_signal(signal.SIGINT)

    undisturbed = LEAD().pretrain(_job(tmp_path / "one"))
    job = _job(tmp_path / "two")
    with pytest.raises(KeyboardInterrupt):
        LEAD().pretrain(replace(job, progress=Interrupting("stage1", 3)))
    rows = list(csv.DictReader((tmp_path / "two" / "log.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert read_weights(LEAD().pretrain(job)).sha256 == read_weights(undisturbed).sha256


def test_a_damaged_checkpoint_starts_the_stage_anew(tmp_path: Path) -> None:
    undisturbed = LEAD().pretrain(_job(tmp_path / "one"))
    job = _job(tmp_path / "two")
    LEAD().pretrain(job)
    state = tmp_path / "two" / "stage1.state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    (tmp_path / "two" / "stage2.state.safetensors").unlink()
    assert read_weights(LEAD().pretrain(job)).sha256 == read_weights(undisturbed).sha256


@pytest.mark.parametrize(
    ("objective", "first", "second"),
    [
        ("byol", [5.339373, 5.161653], 5.468798),
        ("nt_xent", [3.369055, 3.289867], 8.614947),
    ],
)
def test_the_same_seed_trains_as_it_always_did(
    tmp_path: Path, objective: str, first: list[float], second: float
) -> None:
    """Losses of the training that made earlier weights: initial values, order of the images and views.

    Later steps amplify rounding, which differs between processors and numbers of threads.
    """
    LEAD().pretrain(_job(tmp_path, RECIPE.model_copy(update={"stage1_objective": objective})))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    losses = [float(row["loss"]) for row in rows]
    assert losses[:2] == pytest.approx(first, rel=5e-3)
    assert losses[6] == pytest.approx(second, rel=0.1)


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    one, same, other = (
        read_weights(LEAD().pretrain(_job(tmp_path / name, seed=seed))).sha256
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == same
    assert one != other


def test_stage_two_leaves_the_encoder_as_it_was(tmp_path: Path) -> None:
    job = _job(tmp_path, snapshot_every=6)
    final = read_weights(LEAD().pretrain(job))
    first = read_weights(tmp_path / "snapshots" / "stage1-000006.safetensors")
    start = read_weights(tmp_path / "snapshots" / "stage1-000000.safetensors")
    encoder = [name for name in final.tensors if name.startswith("encoder.")]
    assert all(torch.equal(final.tensors[name], first.tensors[name]) for name in encoder)
    assert any(not torch.equal(first.tensors[name], start.tensors[name]) for name in encoder)
    begun = read_weights(tmp_path / "snapshots" / "stage2-000000.safetensors")
    decoder = [name for name in final.tensors if name.startswith("decoder.") and name.endswith("weight")]
    assert decoder
    assert all(not torch.equal(final.tensors[name], begun.tensors[name]) for name in decoder)
    assert first.tensors.keys() == set(encoder)
    assert first.options["features"] == "hypercolumn"
    assert final.options["features"] == "compact"


def test_step_zero_is_the_untrained_network(tmp_path: Path) -> None:
    """The learning curve starts at what `random` with the same network measures."""
    LEAD().pretrain(_job(tmp_path, snapshot_every=100, seed=5))
    start = read_weights(tmp_path / "snapshots" / "stage1-000000.safetensors")
    for features in ("hypercolumn", "compact"):
        options = {**OPTIONS.model_dump(), "features": features}
        untrained = Random().build(RandomOptions(network="lead", init_seed=5, options=options)).state_dict()
        encoder = {name for name in untrained if name.startswith("encoder.")}
        assert start.tensors.keys() == encoder
        assert all(torch.equal(start.tensors[name], untrained[name]) for name in encoder)


def test_divergence_is_an_error(tmp_path: Path) -> None:
    wild = RECIPE.model_copy(update={"learning_rate": 1e20, "warmup_epochs": 0})
    with pytest.raises(BenchError, match="diverged"):
        LEAD().pretrain(_job(tmp_path, wild))


def test_weights_load_back_into_the_network(tmp_path: Path) -> None:
    weights = read_weights(LEAD().pretrain(_job(tmp_path)), method="lead")
    network = LEAD().build(LEADOptions(**weights.options))
    load_into(network, weights)
    images = torch.rand(2, 3, 32, 32)
    levels = network.extract(images).levels
    assert [tuple(level.shape) for level in levels] == [(2, 8, 8, 8)]
    wider = LEAD().build(OPTIONS.model_copy(update={"dim": 16}))
    with pytest.raises(BenchError, match="another architecture"):
        load_into(wider, weights)
    with pytest.raises(BenchError, match="method 'lead', not of 'dve'"):
        read_weights(weights.path, method="dve")


def test_tensorboard_events_hold_what_the_log_holds(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    LEAD().pretrain(_job(tmp_path, tensorboard=True))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    for stage in ("stage1", "stage2"):
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / stage)).Reload()
        logged = [(e.step, e.value) for e in events.Scalars("loss")]
        wanted = [(int(r["step"]), pytest.approx(float(r["loss"]))) for r in rows if r["stage"] == stage]
        assert logged == wanted


def test_warmup_cosine() -> None:
    rates = [warmup_cosine(step, 10, 2, 0.4) for step in range(11)]
    assert rates[:2] == [0.2, 0.4]
    assert rates[2] == pytest.approx(0.4)
    assert rates[6] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(0.0)


def test_only_whole_batches_count() -> None:
    assert steps_for(3, 26, 8) == 9
    assert steps_for(3, 5, 8) == 3
