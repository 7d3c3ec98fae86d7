"""LEAD's grid of objectives, its features, and the encoders of other repositories."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureMap
from bench.method import PretrainJob
from bench.progress import Progress
from bench.seeds import seeded_initialisation
from bench.weights import load_into, read_weights
from methods.lead import LEAD, LEADNetwork, LEADOptions, LEADRecipe
from methods.networks.nonnegative import NonNegativeProjection
from methods.networks.resnet import ResNet
from methods.openselfsup import BYOL_TRAINING, EXTRACTED_BACKBONE

OPTIONS = LEADOptions(backbone="resnet18", width=8, dim=8, fpn_width=8, fpn_merged=8)
RECIPE = LEADRecipe(
    image_size=32,
    view_size=32,
    stage2_view_size=32,
    batch_size=8,
    stage2_batch_size=8,
    stage1_epochs=1,
    stage2_epochs=2,
    warmup_epochs=1,
    head_hidden=16,
    head_dim=8,
    moco_queue=24,
    moco_dim=8,
    projection_dim=8,
    nmf_pixels=600,
    nmf_iterations=50,
)


def _job(output: Path, options: LEADOptions = OPTIONS, recipe: LEADRecipe = RECIPE) -> PretrainJob:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(24, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(smooth, size=32, mode="bilinear")
    return PretrainJob(
        images=(images * 255).to(torch.uint8),
        options=options,
        recipe=recipe,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "noise"},
    )


def _trained(job: PretrainJob) -> tuple[LEADNetwork, dict[str, Tensor], list[dict[str, str]]]:
    weights = read_weights(LEAD().pretrain(job), method="lead")
    network = LEAD().build(LEADOptions(**weights.options))
    load_into(network, weights)
    rows = list(csv.DictReader((job.output / "log.csv").open()))
    return network, weights.tensors, rows


@pytest.mark.parametrize("variant", LEAD.variants)
def test_every_variant_of_every_preset_is_valid(variant: str) -> None:
    for preset in LEAD.presets.values():
        chosen = LEAD.variants[variant]
        LEADOptions(**{**preset.options, **chosen.options})
        LEADRecipe(**{**preset.recipe, **chosen.recipe})


@pytest.mark.parametrize("variant", ["byol-lead", "cl-lead", "byol-cl", "cl-cl", "no-head", "view-pairs"])
def test_every_cell_of_the_grid_trains_both_stages(tmp_path: Path, variant: str) -> None:
    recipe = LEADRecipe(**{**RECIPE.model_dump(), **LEAD.variants[variant].recipe})
    network, _, rows = _trained(_job(tmp_path, recipe=recipe))
    assert [row["stage"] for row in rows] == ["stage1"] * 3 + ["stage2"] * 6
    second = [float(row["loss"]) for row in rows[3:]]
    assert second[-1] < second[0]
    assert network.extract(torch.rand(2, 3, 32, 32)).layout == ((8, 8, 8),)


def test_moco_moves_the_queue_by_whole_batches_and_its_keys_slowly(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"stage1_objective": "moco", "moco_momentum": 0.75})
    job = replace(_job(tmp_path, recipe=recipe), snapshot_every=1)
    LEAD().pretrain(job)
    state = safetensors.torch.load_file(tmp_path / "stage1.state.safetensors")
    assert int(state["queue/pointer"]) == 0  # three batches of 8 in a queue of 24
    torch.testing.assert_close(state["queue/memory"].norm(dim=1), torch.ones(24))
    snapshots = [
        read_weights(tmp_path / "snapshots" / f"stage1-{step:06d}.safetensors").tensors[
            "encoder.conv1.weight"
        ]
        for step in range(4)
    ]
    slow = snapshots[0]
    for online in snapshots[1:]:
        slow = 0.75 * slow + 0.25 * online
    torch.testing.assert_close(state["target/encoder.conv1.weight"], slow)


def test_hypercolumn_needs_one_stage_and_no_decoder(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"features": "hypercolumn"})
    network, tensors, rows = _trained(_job(tmp_path, options))
    assert {row["stage"] for row in rows} == {"stage1"}
    assert all(name.startswith("encoder.") for name in tensors)
    features = network.extract(torch.rand(2, 3, 32, 32))
    assert features.layout == ((64, 1, 1), (32, 2, 2), (16, 4, 4), (8, 8, 8))
    assert features.size == (16, 16)


def test_the_hypercolumn_of_finished_weights_can_be_read(tmp_path: Path) -> None:
    compact, tensors, _ = _trained(_job(tmp_path))
    weights = read_weights(tmp_path / "weights.safetensors")
    network = LEAD().build(OPTIONS.model_copy(update={"features": "hypercolumn"}))
    load_into(network, weights)
    assert torch.equal(network.encoder.conv1.weight, tensors["encoder.conv1.weight"])
    assert compact.hypercolumn_network().encoder is compact.encoder
    with pytest.raises(BenchError, match=r"another architecture.*factors"):
        load_into(LEAD().build(OPTIONS.model_copy(update={"features": "nmf"})), weights)


def test_nmf_features_are_non_negative_and_rebuild_the_hypercolumn(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"features": "nmf", "dim": 12})
    job = _job(tmp_path, options)
    network, _, rows = _trained(job)
    assert {row["stage"] for row in rows} == {"stage1"}
    features = network.extract(job.images[:4])
    assert features.layout == ((12, 8, 8),)
    amounts = features.levels[0]
    assert amounts.min() >= 0
    dense = network.hypercolumn_network().extract(job.images[:4]).dense((8, 8))
    trained = _rebuilding_error(dense, network.factors)
    assert trained < 0.5
    assert trained < 0.8 * _rebuilding_error(dense, LEAD().build(options).factors)
    again = LEAD().pretrain(replace(job, output=tmp_path / "again"))
    assert read_weights(again).sha256 == read_weights(tmp_path / "weights.safetensors").sha256


def _rebuilding_error(dense: Tensor, factors: NonNegativeProjection | None) -> float:
    assert factors is not None
    amounts = factors(FeatureMap((dense,), (8, 8), (32, 32)))
    rebuilt = torch.einsum("bkhw,kc->bchw", amounts, factors.get_buffer("components"))
    return float((rebuilt - dense).norm() / dense.norm())


def test_more_parts_than_channels_is_an_error(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"features": "nmf", "dim": 200})
    with pytest.raises(BenchError, match="cannot be factorised into 200 parts"):
        LEAD().pretrain(_job(tmp_path, options))


def test_stage_two_can_start_from_an_encoder(tmp_path: Path) -> None:
    hypercolumn = OPTIONS.model_copy(update={"features": "hypercolumn"})
    initial = read_weights(LEAD().pretrain(_job(tmp_path / "one", hypercolumn)))
    only_second = RECIPE.model_copy(update={"stage1_epochs": 0})
    job = replace(_job(tmp_path / "two", recipe=only_second), initial=initial)
    _, tensors, rows = _trained(job)
    assert {row["stage"] for row in rows} == {"stage2"}
    assert all(torch.equal(tensors[name], value) for name, value in initial.tensors.items())
    whole, _, _ = _trained(_job(tmp_path / "three"))
    state = whole.state_dict()
    assert all(torch.equal(state[name], value) for name, value in tensors.items())


def test_fine_tuning_starts_from_all_of_the_weights(tmp_path: Path) -> None:
    first = read_weights(LEAD().pretrain(_job(tmp_path / "one")))
    recipe = RECIPE.model_copy(update={"stage1_epochs": 0})
    job = replace(_job(tmp_path / "two", recipe=recipe), initial=first, snapshot_every=100)
    LEAD().pretrain(job)
    start = read_weights(tmp_path / "two" / "snapshots" / "stage2-000000.safetensors")
    assert all(torch.equal(start.tensors[name], value) for name, value in first.tensors.items())


def test_birds_are_normalised_as_imagenet() -> None:
    images = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(1, 3, 32, 32)
    birds = LEAD().build(OPTIONS.model_copy(update={"colours": "imagenet"}))
    torch.testing.assert_close(birds.normalise(images), torch.zeros(1, 3, 32, 32))
    faces = torch.tensor([0.5084, 0.4224, 0.3769])[:, None, None].expand(1, 3, 32, 32)
    torch.testing.assert_close(LEAD().build(OPTIONS).normalise(faces), torch.zeros(1, 3, 32, 32))


# --- checkpoints of OpenSelfSup ------------------------------------------------------------------------------------


def _encoder(seed: int = 1) -> dict[str, Tensor]:
    with seeded_initialisation(seed, "test"):
        return {name: torch.randn(v.shape) if v.is_floating_point() else v for name, v in _state().items()}


def _state() -> dict[str, Tensor]:
    return ResNet("resnet18", width=8).state_dict()


def test_a_training_file_gives_the_online_encoder() -> None:
    online, target = _encoder(1), _encoder(2)
    state = {
        **{f"online_net.0.{name}": value for name, value in online.items()},
        "online_net.1.fc0.weight": torch.zeros(2, 2),
        **{f"target_net.0.{name}": value for name, value in target.items()},
        **{f"backbone.{name}": value for name, value in online.items()},
        "head.predictor.fc0.weight": torch.zeros(2, 2),
    }
    content = {"meta": {"epoch": 200}, "state_dict": state, "optimizer": {}}
    assert BYOL_TRAINING.recognise(content)
    assert not EXTRACTED_BACKBONE.recognise(content)
    translation = BYOL_TRAINING.translate(content)
    assert translation.options == {"features": "hypercolumn", "backbone": "resnet18", "width": 8}
    network = LEAD().build(LEADOptions(**translation.options))
    assert network.state_dict().keys() == translation.tensors.keys()
    assert all(torch.equal(translation.tensors[f"encoder.{name}"], value) for name, value in online.items())
    used = {f"online_net.0.{name}" for name in online}
    assert translation.unused.keys() == {"meta", "optimizer", *state} - used


def test_an_extracted_backbone_gives_the_encoder() -> None:
    encoder = _encoder()
    content = {"state_dict": encoder, "author": "OpenSelfSup"}
    assert EXTRACTED_BACKBONE.recognise(content)
    assert not BYOL_TRAINING.recognise(content)
    translation = EXTRACTED_BACKBONE.translate(content)
    assert translation.tensors.keys() == {f"encoder.{name}" for name in encoder}
    assert translation.unused == {"author": "describes the training"}


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": 3}, {"conv1.weight": 0}])
def test_other_files_are_not_recognised(content: dict[str, object]) -> None:
    assert not BYOL_TRAINING.recognise(content)
    assert not EXTRACTED_BACKBONE.recognise(content)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50half", "resnet50"])
def test_the_backbone_is_told_by_its_tensors(backbone: str) -> None:
    with torch.device("meta"):
        state = ResNet(backbone).state_dict()  # type: ignore[arg-type]
    translation = EXTRACTED_BACKBONE.translate({"state_dict": state, "author": ""})
    assert translation.options["backbone"] == backbone
    assert translation.options["width"] == 64


def test_another_depth_is_an_error() -> None:
    encoder = {f"layer3.2.{name}": value for name, value in _encoder().items() if name == "conv1.weight"}
    with pytest.raises(BenchError, match=r"\(2, 2, 3, 2\) blocks"):
        EXTRACTED_BACKBONE.translate({"state_dict": {**_encoder(), **encoder}, "author": ""})
