"""ContrastLandmarks trained as a whole: resumption, snapshots, starting from given weights, presets."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import BenchError
from bench.weights import load_into, read_weights
from methods.contrast import ContrastLandmarks, ContrastNetwork, ContrastOptions, ContrastRecipe
from tests.killing import KilledError, Killer
from tests.methods.contrast_world import OPTIONS, RECIPE, built, job


@pytest.mark.parametrize(("stage", "after"), [("stage1", 3), ("stage2", 2)])
def test_resumed_equals_undisturbed(tmp_path: Path, stage: str, after: int) -> None:
    """Queue, pointer, average, optimiser and batch statistics all come back."""
    undisturbed = ContrastLandmarks().pretrain(job(tmp_path / "one"))
    disturbed = job(tmp_path / "two", checkpoint_seconds=-1.0)
    with pytest.raises(KilledError):
        ContrastLandmarks().pretrain(replace(disturbed, progress=Killer(stage, after)))
    resumed = ContrastLandmarks().pretrain(disturbed)
    assert read_weights(resumed).sha256 == read_weights(undisturbed).sha256
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert [row["stage"] for row in logs[0]] == ["stage1"] * 4 + ["stage2"] * 4


def test_step_zero_is_the_untrained_network_and_snapshots_load(tmp_path: Path) -> None:
    at = job(tmp_path, snapshot_every=4)
    final = read_weights(ContrastLandmarks().pretrain(at), method="contrast")
    start = read_weights(tmp_path / "snapshots" / "stage1-000000.safetensors")
    untrained = built(at).state_dict()
    assert all(torch.equal(tensor, untrained[name]) for name, tensor in start.tensors.items())
    assert start.options["features"] == "hypercolumn"
    first = read_weights(tmp_path / "snapshots" / "stage1-000004.safetensors")
    assert not torch.equal(first.tensors["encoder.fc.weight"], start.tensors["encoder.fc.weight"])
    # Stage 2 leaves the encoder as it was, batch statistics included.
    assert all(torch.equal(tensor, final.tensors[name]) for name, tensor in first.tensors.items())
    assert final.options["features"] == "projected"
    assert set(final.tensors) - set(first.tensors) == {
        "projector.reg_conv.weight",
        "projector.reg_conv.bias",
    }


def test_weights_of_stage_one_start_stage_two(tmp_path: Path) -> None:
    hypercolumn = OPTIONS.model_copy(update={"features": "hypercolumn"})
    encoder = read_weights(ContrastLandmarks().pretrain(job(tmp_path / "one", options=hypercolumn)))
    rows = list(csv.DictReader((tmp_path / "one" / "log.csv").open()))
    assert {row["stage"] for row in rows} == {"stage1"}
    recipe = RECIPE.model_copy(update={"stage1_epochs": 0})
    both = ContrastLandmarks().pretrain(job(tmp_path / "two", recipe=recipe, initial=encoder))
    together = ContrastLandmarks().pretrain(job(tmp_path / "three"))
    # The projector's start and the draws of stage 2 do not depend on who trained stage 1.
    found, wanted = read_weights(both).tensors, read_weights(together).tensors
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())
    tuned = ContrastLandmarks().pretrain(
        job(tmp_path / "four", options=hypercolumn, initial=encoder, snapshot_every=100)
    )
    start = read_weights(tmp_path / "four" / "snapshots" / "stage1-000000.safetensors")
    assert all(torch.equal(tensor, encoder.tensors[name]) for name, tensor in start.tensors.items())
    assert not torch.equal(
        read_weights(tuned).tensors["encoder.fc.weight"], encoder.tensors["encoder.fc.weight"]
    )


def test_weights_with_a_projector_can_be_read_as_the_hypercolumn(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"stage1_epochs": 0, "stage2_epochs": 1})
    weights = read_weights(ContrastLandmarks().pretrain(job(tmp_path, recipe=recipe)))
    network = ContrastNetwork(OPTIONS.model_copy(update={"features": "hypercolumn"}))
    load_into(network, weights)
    assert network.extract(torch.rand(1, 3, 32, 32)).channels == 8 * (1 + 2 + 4 + 8)


@pytest.mark.parametrize("changes", [{"margin": 20}, {"margin": 3}])
def test_impossible_views_are_an_error(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="without margins"):
        ContrastLandmarks().pretrain(job(tmp_path, recipe=RECIPE.model_copy(update=changes)))


def test_presets_and_variants_are_overrides_that_fit() -> None:
    method = ContrastLandmarks()
    assert method.presets["paper"].options == method.presets["paper"].recipe == {}
    assert method.presets["small"].options == method.presets["tiny"].options
    for preset in method.presets.values():
        for variant in (None, *method.variants.values()):
            overrides = [preset] if variant is None else [preset, variant]
            options = ContrastOptions(**{k: v for each in overrides for k, v in each.options.items()})
            recipe = ContrastRecipe(**{k: v for each in overrides for k, v in each.recipe.items()})
            assert recipe.view_size() % 4 == 0
            assert options.features == "projected" or recipe.stage1_epochs > 0
    released = {**method.presets["small"].options, **method.variants["projected-128"].options}
    assert (released["projector_mode"], released["dim"]) == ("softmax", 128)
    linear = method.variants["linear-128"]
    assert ContrastOptions(**linear.options).projector_mode == "linear"
    assert ContrastRecipe(**linear.recipe).stage2_temperature == 1 / 7
