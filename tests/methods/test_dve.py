"""The method DVE: presets, training views, schedule, released checkpoints, and what its features match."""

from __future__ import annotations

import csv
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.conversion import convert
from bench.errors import BenchError
from bench.method import Preset, PretrainJob
from bench.options import build_options
from bench.progress import Progress
from bench.seeds import torch_generator
from bench.training import Batch, initial_network
from bench.weights import read_weights
from methods.dve import DVE, DVERecipe, correlation_stage, descriptors_stage, warped_views
from methods.dve_network import RELEASED, DVENetwork, DVEOptions
from methods.networks.hourglass import Hourglass
from methods.networks.smallnet import SmallNet
from methods.schedule import late_steps
from protocols.pairs.correspondence import match
from protocols.scores.metrics import px70
from tests.goldens import fill_parameters, golden

OPTIONS = DVEOptions(network="smallnet", dim=8)
RECIPE = DVERecipe(image_size=40, margin=4, pairs=4, epochs=2)


def _photos(count: int, side: int) -> Tensor:
    """Smooth random pictures, uint8."""
    coarse = torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return smooth.clamp(0, 1).mul(255).round().to(torch.uint8)


def _job(
    output: Path, recipe: DVERecipe = RECIPE, options: DVEOptions = OPTIONS, images: int = 10
) -> PretrainJob:
    return PretrainJob(
        images=_photos(images, recipe.image_size),
        options=options,
        recipe=recipe,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "smooth noise", "preset": "test", "images": images},
    )


# --- conformance ------------------------------------------------------------------------------------------------


def test_hourglass_gives_descriptors_at_half_resolution() -> None:
    network = DVE().build(DVEOptions())
    assert isinstance(network.backbone, Hourglass)
    features = network.extract(torch.zeros(1, 3, 64, 96))
    assert features.layout == ((64, 32, 48),)
    assert features.size == (32, 48)
    assert features.normalisation == "none"
    with pytest.raises(BenchError, match="multiples of 32"):
        network.extract(torch.zeros(1, 3, 70, 70))


def test_replicated_borders_do_not_tell_the_position() -> None:
    plain = torch.full((1, 3, 40, 40), 0.7)
    spread = {}
    for padding in ("zeros", "replicate"):
        options = DVEOptions(network="smallnet", dim=4, padding=padding)
        torch.manual_seed(0)
        spread[padding] = DVE().build(options).eval().extract(plain).levels[0].std(dim=(2, 3)).max().item()
    assert spread["replicate"] < 1e-5
    assert spread["zeros"] > 1e-3


# --- presets and variants ---------------------------------------------------------------------------------------


def _resolved(*layers: Preset) -> tuple[DVEOptions, DVERecipe]:
    options: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    for layer in layers:
        options |= layer.options
        recipe |= layer.recipe
    return build_options(DVEOptions, options, "dve"), build_options(DVERecipe, recipe, "dve")


@pytest.mark.parametrize("preset", DVE.presets)
@pytest.mark.parametrize("variant", [None, *DVE.variants])
def test_every_variant_fits_every_preset(preset: str, variant: str | None, tmp_path: Path) -> None:
    layers = [DVE.presets[preset], *([DVE.variants[variant]] if variant else [])]
    options, recipe = _resolved(*layers)
    assert recipe.cropped_size() % (32 if options.network == "hourglass" else 2) == 0


def _paper(variant: str, tmp_path: Path, images: int = 2) -> tuple[DVEOptions, DVERecipe, Any]:
    options, recipe = _resolved(DVE.presets["paper"], DVE.variants[variant])
    job = replace(_job(tmp_path), images=torch.zeros(images, 3, 1, 1, dtype=torch.uint8))
    job = replace(job, options=options, recipe=recipe)
    return options, recipe, descriptors_stage(job, initial_network(job, DVE().build))


def test_variants_are_the_released_configurations(tmp_path: Path) -> None:
    options, recipe, stage = _paper("hourglass-64", tmp_path, images=165)
    assert options == DVEOptions()
    assert recipe == DVERecipe()
    assert (recipe.image_size, recipe.cropped_size()) == (136, 96)
    assert (stage.batch_size, stage.steps) == (16, 100 * 10)
    assert [group["lr_scale"] for group in stage.optimiser.param_groups] == [1.0, 1.0]

    options, recipe, stage = _paper("smallnet-3-no-exchange", tmp_path, images=100)
    assert (options.dim, recipe.exchange) == (3, False)
    assert (recipe.image_size, recipe.cropped_size()) == (100, 70)
    assert (stage.batch_size, stage.steps) == (32, 100 * 3)
    first, last = ([epoch * 3, epoch * 3 + 2] for epoch in (70, 90))
    rates = [stage.learning_rate(step) for step in (*first, *last)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    weights, biases = stage.optimiser.param_groups
    assert (weights["lr_scale"], biases["lr_scale"]) == (1.0, 0.01)
    # Six convolutions' biases; the batch norms' are with the weights.
    assert sorted(len(p) for p in biases["params"]) == [3, 20, 48, 64, 80, 256]
    assert sum(len(group["params"]) for group in (weights, biases)) == 6 * 2 + 5 * 2
    assert stage.optimiser.defaults["amsgrad"]

    _, recipe, stage = _paper("finetune-smallnet", tmp_path, images=64)
    assert recipe.normalise
    assert (recipe.image_size, stage.batch_size, stage.steps) == (100, 32, 50 * 2)
    assert [group["lr_scale"] for group in stage.optimiser.param_groups] == [1.0, 1.0]
    assert [stage.learning_rate(2 * epoch) for epoch in (30, 31, 40, 41)] == pytest.approx(
        [1e-3, 1e-4, 1e-4, 1e-5]
    )


def test_crops_that_the_network_cannot_take_are_refused(tmp_path: Path) -> None:
    job = _job(tmp_path, DVERecipe(image_size=100, margin=15), DVEOptions())
    with pytest.raises(BenchError, match="hourglass takes multiples of 32"):
        DVE().pretrain(job)
    with pytest.raises(BenchError, match="0 px wide"):
        DVE().pretrain(_job(tmp_path, DVERecipe(image_size=30, margin=15)))


# --- schedule ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nominal", "effective"), [((70, 90), (72, 92)), ((50,), (52,)), ((30, 40), (32, 42))]
)
def test_rates_drop_an_epoch_late(nominal: tuple[int, ...], effective: tuple[int, ...]) -> None:
    rates = [late_steps(step, 7, nominal, 1e-3) for step in range(7 * 100)]
    drops = [i // 7 + 1 for i in range(1, len(rates)) if rates[i] < rates[i - 1]]
    assert tuple(drops) == effective
    assert all(i % 7 == 0 for i in range(1, len(rates)) if rates[i] < rates[i - 1])
    assert rates[-1] == pytest.approx(1e-3 * 0.1 ** len(nominal))


@pytest.mark.filterwarnings("ignore")
def test_rates_are_those_of_a_scheduler_told_the_epoch_before() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [7, 9])
    for epoch in range(1, 15):
        assert late_steps(3 * (epoch - 1), 3, (7, 9), 1e-3) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step(epoch - 1)


# --- training views ---------------------------------------------------------------------------------------------


def test_places_tell_where_the_pixels_of_one_view_are_in_the_other() -> None:
    recipe = DVERecipe(image_size=60, margin=9, augmentation=False)
    images = _photos(6, 60).float() / 255
    more, less, places = warped_views(images, recipe, torch_generator(0, "views"))
    assert more.shape == less.shape == (6, 3, 42, 42)
    assert places.shape == (6, 42, 42, 2)
    grid = places.float() / 42 * 2 - 1
    seen = F.grid_sample(less, grid, align_corners=False, padding_mode="border")
    inside = ((places > 0.5) & (places < 41.5)).all(-1)
    # Black where a warp has looked outside of the frame: only pixels whose surroundings are inside tell.
    inside &= F.max_pool2d((less.sum(1, keepdim=True) == 0).float(), 5, 1, 2).squeeze(1) == 0
    apart = (seen - more).abs().amax(1)[inside]
    assert inside.float().mean() > 0.5
    assert apart.median() < 1.01 / 255
    unmoved = (less - more).abs().amax(1)[inside]
    assert unmoved.median() > 10 * apart.median()


def test_values_are_truncated_to_bytes_and_the_first_warp_is_the_weaker() -> None:
    recipe = DVERecipe(image_size=60, margin=9, augmentation=False)
    images = _photos(4, 60).float() / 255
    more, less, _ = warped_views(images, recipe, torch_generator(0, "views"))
    for view in (more, less):
        levels = view * 255
        assert (levels - levels.round()).abs().max() < 1e-4
    flat = torch.full((2, 3, 60, 60), 99.9 / 255)
    once = warped_views(flat, recipe, torch_generator(1, "views")).less_warped
    assert set((once * 255).round().unique().tolist()) <= {float(v) for v in range(100)}
    straight = recipe.model_copy(update={"first_warp": 0.0})
    other = warped_views(images, straight, torch_generator(0, "views"))
    assert not torch.equal(other.less_warped, less)


def test_views_depend_on_the_generator_alone() -> None:
    images = _photos(4, 40).float() / 255
    plain = warped_views(images, RECIPE, torch_generator(0, "views"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = warped_views(images, RECIPE, torch_generator(0, "views"))
    other = warped_views(images, RECIPE, torch_generator(1, "views"))
    for one, two, three in zip(plain, again, other, strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)
    # Colours of the two views of a photo are changed independently.
    bare = warped_views(
        images, RECIPE.model_copy(update={"augmentation": False}), torch_generator(0, "views")
    )
    shifts = [(a - b).mean((2, 3)) for a, b in zip(plain[:2], bare[:2], strict=True)]
    assert (shifts[0] - shifts[1]).abs().min() > 1e-3


# --- training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [True, False])
def test_the_loss_of_a_step_from_its_parts(exchange: bool, tmp_path: Path) -> None:
    """Descriptors of both views in one batch, interleaved as in the released code; places at every second pixel."""
    recipe = RECIPE.model_copy(update={"exchange": exchange, "augmentation": False})
    job = _job(tmp_path, recipe)
    network = initial_network(job, DVE().build).train()
    stage = descriptors_stage(job, network)
    images = job.images[:4].float() / 255
    got = stage.losses(Batch(images), torch_generator(0, "step"))["loss"].double()

    more, less, places = warped_views(images, recipe, torch_generator(0, "step"))
    maps = network.backbone(network.normalise(torch.stack([more, less], 1).flatten(0, 1))).double()
    source, target = (maps[which::2].flatten(2).mT for which in (0, 1))
    auxiliary = source[[1, 2, 3, 0]]
    found = torch.softmax(source @ auxiliary.mT, 2) @ auxiliary if exchange else source
    rows, columns = torch.meshgrid(torch.arange(16) * 2, torch.arange(16) * 2, indexing="ij")
    cells = torch.stack([columns, rows], -1).reshape(1, 256, 2) + 0.5
    apart = (places[:, 0::2, 0::2].reshape(4, 256, 1, 2) - cells[:, None]).norm(dim=-1).sqrt()
    wanted = (torch.softmax(found @ target.mT, 2) * apart).sum(2).mean()
    assert got.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_dense_correlation_can_come_first(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"dense_epochs": 3, "dense_learning_rate": 2e-3, "augmentation": False})
    job = _job(tmp_path, recipe)
    network = initial_network(job, DVE().build).train()
    first = correlation_stage(job, network)
    dense = descriptors_stage(replace(job, recipe=recipe.model_copy(update={"exchange": False})), network)
    assert (first.steps, dense.steps) == (3 * 2, 2 * 2)
    assert {first.learning_rate(step) for step in range(first.steps)} == {2e-3}
    batch = Batch(job.images[:4].float() / 255)
    losses = [stage.losses(batch, torch_generator(0, "step"))["loss"].item() for stage in (first, dense)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    path = DVE().pretrain(job)
    with (tmp_path / "log.csv").open() as stream:
        stages = [row["stage"] for row in csv.DictReader(stream)]
    assert stages == ["correlation"] * 6 + ["descriptors"] * 4
    assert read_weights(path, method="dve").provenance["stage"] == "descriptors"


@pytest.mark.parametrize(("exchange", "falls_to"), [(True, 0.9), (False, 0.75)])
def test_training_learns_to_find_places(exchange: bool, falls_to: float, tmp_path: Path) -> None:
    changes = {"image_size": 32, "epochs": 24, "milestones": (18,), "augmentation": False}
    recipe = RECIPE.model_copy(update={**changes, "exchange": exchange})
    path = DVE().pretrain(_job(tmp_path, recipe, images=4))
    with (tmp_path / "log.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert len(losses) == 24
    assert np.mean(losses[-4:]) < falls_to * np.mean(losses[:4])
    assert read_weights(path, method="dve").options == OPTIONS.model_dump(mode="json")


# --- released checkpoints ---------------------------------------------------------------------------------------


def _content(state: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    return {
        "arch": "SmallNet",
        "epoch": 100,
        "state_dict": state,
        "optimizer": {},
        "config": object(),
        **more,
    }


@pytest.mark.parametrize(
    ("network", "dim", "prefix"),
    [
        ("smallnet", 3, ""),
        ("smallnet", 16, "module."),
        ("smallnet", 64, "0.wrapped_module."),
        ("hourglass", 64, "module."),
    ],
)
def test_released_checkpoints_fill_the_network(network: str, dim: int, prefix: str) -> None:
    released = SmallNet(dim) if network == "smallnet" else Hourglass(dim)
    fill_parameters(released, 1.0)
    content = _content({prefix + key: value for key, value in released.state_dict().items()})
    if prefix.startswith("0."):
        content["state_dict"] |= {"1.inner_conv.weight": torch.zeros(250, dim, 1, 1)}
    assert RELEASED.recognise(content)
    translated = RELEASED.translate(content)
    assert translated.options == {"network": network, "dim": dim}
    mine = DVE().build(DVEOptions(**translated.options)).eval()
    assert set(translated.tensors) == set(mine.state_dict())
    mine.load_state_dict(translated.tensors)
    image = torch.rand(1, 3, 64, 64)
    wanted = released.eval()(mine.normalise(image))
    torch.testing.assert_close(mine.extract(image).levels[0], wanted)
    unused = {"arch", "epoch", "optimizer", "config"}
    assert set(translated.unused) == unused | (
        {"state_dict.1.inner_conv.weight"} if prefix[0:1] == "0" else set()
    )


def test_released_files_are_read_without_their_code(tmp_path: Path) -> None:
    released = SmallNet(16)
    fill_parameters(released, 1.0)
    optimiser = torch.optim.Adam(released.parameters(), amsgrad=True)
    released(torch.rand(2, 3, 16, 16)).sum().backward()
    optimiser.step()
    state = {f"module.{key}": value for key, value in released.state_dict().items()}
    path = tmp_path / "checkpoint-epoch100.pth"
    torch.save(
        _content(state, optimizer=optimiser.state_dict(), monitor_best=2.5, config=Namespace(lr=1e-3)), path
    )
    read = convert((path,), DVE())
    assert read.options == DVEOptions(network="smallnet", dim=16)
    for key, value in released.state_dict().items():
        assert torch.equal(read.network.state_dict()[f"backbone.{key}"], value)


def test_files_of_others_are_not_recognised() -> None:
    assert not RELEASED.recognise({})
    assert not RELEASED.recognise({"state_dict": torch.zeros(3)})
    assert not RELEASED.recognise({"state_dict": {"conv1.weight": torch.zeros(3)}})
    assert not RELEASED.recognise({"model": {"encoder.module.conv1.weight": torch.zeros(3)}})


# --- the released code's numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smallnet", "hourglass"])
def test_golden_matching_from_bytes_to_errors(name: str) -> None:
    stored = golden("dve/d2_matching_e2e.npz")
    network: DVENetwork = DVE().build(DVEOptions(network=name))
    fill_parameters(network.backbone, {"smallnet": 1.0, "hourglass": 0.7}[name])
    images = torch.from_numpy(stored[f"{name}__data_u8"])
    maps = [network.extract(images[:, which]) for which in (0, 1, 3)]
    records = stored[f"{name}__records"]
    queries = torch.from_numpy(records[:, :, 0, 0:2]) + 0.5
    side = images.shape[-1]
    for which, target, condition in ((0, maps[1], "same"), (1, maps[2], "diff")):
        predicted = match(maps[0], queries, target, cells="strided").points - 0.5
        assert np.abs(predicted.numpy() - records[:, :, which, 2:4]).max() == 0
        errors = px70((predicted - torch.from_numpy(records[:, :, which, 6:8])).norm(dim=-1), side)
        assert np.abs(errors.numpy() - records[:, :, which, 8]).max() < 3e-5
        assert float(errors.mean()) == pytest.approx(float(stored[f"{name}__{condition}"]), abs=1e-5)
