"""ContrastLandmarks: its network against the official numbers, its views and stages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.method import PretrainJob
from bench.training import Batch, Stage
from methods.contrast import ContrastNetwork, ContrastOptions, ContrastRecipe
from methods.contrast_recipe import random_view
from methods.contrast_training import stage_one, stage_two
from methods.networks.projector import Projector
from methods.networks.resnet import Backbone
from methods.objectives.equivariant_similarity import equivariant_similarity_loss
from tests.goldens import fill_parameters, golden
from tests.methods.contrast_world import OPTIONS, RECIPE, built, generator, job

# --- the network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "published"),
    [("resnet18", 11_242_176), ("resnet50half", 6_033_728), ("resnet50", 23_770_304)],
)
def test_parameter_counts_are_the_published_ones(backbone: Backbone, published: int) -> None:
    network = ContrastNetwork(ContrastOptions(backbone=backbone))
    assert sum(p.numel() for p in network.parameters()) == published


def test_features_have_the_published_sizes() -> None:
    images = torch.rand(1, 3, 96, 96)
    network = ContrastNetwork(ContrastOptions())
    hypercolumn = network.extract(images)
    assert hypercolumn.layout == ((2048, 3, 3), (1024, 6, 6), (512, 12, 12), (256, 24, 24))
    assert hypercolumn.size == (48, 48)
    assert hypercolumn.normalisation == "per_level"
    conv4 = ContrastNetwork(ContrastOptions(features="conv4"), network.encoder).extract(images)
    assert conv4.layout == ((1024, 6, 6),)
    assert conv4.size == (6, 6)
    assert torch.equal(conv4.levels[0], hypercolumn.levels[1])
    projected = ContrastNetwork(ContrastOptions(features="projected", dim=128), network.encoder)
    maps = projected.extract(images)
    assert maps.layout == ((128, 48, 48),)
    assert maps.size == (48, 48)
    assert maps.normalisation == "joint"


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("mode", "dim"), [("softmax", 64), ("softmax", 5), ("linear", 5)])
def test_projected_features_are_those_of_the_dense_hypercolumn(mode: Any, dim: int, stride: Any) -> None:
    options = ContrastOptions(
        backbone="resnet18",
        width=8,
        features="projected",
        dim=dim,
        projector_mode=mode,
        projected_stride=stride,
    )
    # In double precision, where a soft-max of large scores does not enlarge rounding.
    network = ContrastNetwork(options).eval().double()
    assert network.projector is not None
    images = torch.rand(2, 3, 64, 64, generator=generator(), dtype=torch.float64)
    with torch.no_grad():
        side = 64 // stride
        scores = network.projector.reg_conv(network.hypercolumn(images).dense((side, side)))
    if mode == "softmax":
        weights = ((6.5 if dim == 64 else 7.0) * scores).exp()
        scores = weights / weights.sum(dim=(2, 3), keepdim=True)
    found = network.extract(images)
    assert found.size == (32, 32)
    torch.testing.assert_close(found.levels[0], scores, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("mode", ["softmax", "linear"])
def test_golden_matching_from_images_to_errors(mode: Any) -> None:
    match = pytest.importorskip("protocols.pairs.correspondence").match
    stored = golden("contrast/d2_matching_e2e.npz")
    run = f"{mode}64"
    options = ContrastOptions(
        backbone="resnet18", features="projected", projector_mode=mode, projected_stride=1
    )
    network = ContrastNetwork(options)
    fill_parameters(network.encoder, float(stored["gain_resnet18"]), prefix="encoder.module.")
    assert isinstance(network.projector, Projector)
    fill_parameters(network.projector, float(stored["gain_projector"]), prefix="module.")

    def features(images: Any) -> Any:
        return network.extract(torch.from_numpy(images)).defined_at((96, 96))

    first, second = stored["x_u8"][:, :3], stored["x_u8"][:, 3:]
    source = features(first[::2])
    wanted = stored[f"{run}__feat_pix"]
    pixel = source.levels[0][0, :, 40, 31]
    np.testing.assert_allclose(pixel, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)
    maps = network.extract(torch.from_numpy(first[:2])).levels[0].double()
    stats = [maps.mean(), maps.std(correction=0), maps.norm(), maps.abs().max()]
    np.testing.assert_allclose(stats, stored[f"{run}__feat_stats"], rtol=1e-4)
    queries = torch.from_numpy((stored["kp_norm"][::2, :5].astype(np.float64) + 1) / 2 * 95 + 0.5)
    records = stored[f"{run}__records"]
    for which, targets, name in ((0, second[::2], "same"), (1, second[1::2], "diff")):
        predicted = match(source, queries, features(targets)).points.numpy() - 0.5
        unit = 2 * predicted / 95 - 1
        assert np.abs(unit - records[:, :, which, 2:4]).max() < 1e-5
        errors = np.linalg.norm(unit - records[:, :, which, 5:7], axis=-1) / 2 * 69
        assert errors.mean() == pytest.approx(float(stored[f"{run}__{name}"]), abs=1e-4)


# --- views ------------------------------------------------------------------------------------------------------


def test_views_are_unflipped_crops_of_the_stated_area_without_their_margin() -> None:
    side, margin, count = 80, 12, 200
    ramp = (torch.arange(side) + 0.5) / side
    images = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), torch.zeros(side, side)])
    recipe = ContrastRecipe(image_size=side, margin=margin, jpeg_noise=False, jitter=0, lighting=0)
    views = random_view(images.expand(count, -1, -1, -1), recipe, generator(1))
    assert views.shape == (count, 3, side - 2 * margin, side - 2 * margin)
    # Steps of the coordinates inside the view tell the box's sides, in units of the frame.
    middle = slice(10, -10)
    across = views[:, 0, middle, middle].diff(dim=2).mean(dim=(1, 2)) * side
    down = views[:, 1, middle, middle].diff(dim=1).mean(dim=(1, 2)) * side
    area = across * down
    assert 0.18 < float(area.min()) < 0.3
    assert 0.85 < float(area.max()) < 1.01
    assert 0.7 < float((across / down).min()) < float((across / down).max()) < 1.4
    assert float(across.min()) > 0


def test_the_margin_is_removed_last() -> None:
    """Contrast is judged by the whole frame, as the released order of operations has it."""
    images = torch.rand(5, 3, 40, 40, generator=generator())
    whole = random_view(images, RECIPE.model_copy(update={"margin": 0}), generator(2))
    assert torch.equal(random_view(images, RECIPE, generator(2)), whole[..., 4:36, 4:36])


def test_switched_off_noise_is_off() -> None:
    calm = RECIPE.model_copy(update={"jpeg_noise": False, "jitter": 0.0, "lighting": 0.0})
    grey = torch.full((3, 3, 40, 40), 0.3)
    torch.testing.assert_close(random_view(grey, calm, generator()), torch.full((3, 3, 32, 32), 0.3))
    noisy = RECIPE.model_copy(update={"jitter": 0.0, "lighting": 0.0})
    images = torch.rand(3, 3, 40, 40, generator=generator())
    quality = random_view(images, noisy, generator()) - random_view(images, calm, generator())
    assert float(quality.abs().mean()) > 1e-3


# --- the stages -------------------------------------------------------------------------------------------------


def test_published_settings_of_stage_one(tmp_path: Path) -> None:
    recipe = ContrastRecipe(image_size=40, margin=4)
    at = job(tmp_path, recipe=recipe, images=torch.zeros(700, 3, 40, 40, dtype=torch.uint8))
    stage = stage_one(at, built(at))
    assert stage.steps == 800 * 2
    assert stage.batch_size == 256
    settings = stage.optimiser.param_groups[0]
    assert (settings["momentum"], settings["weight_decay"], settings["nesterov"]) == (0.9, 1e-4, False)
    for step, epoch in ((0, 1), (1, 1), (2, 2), (799, 400), (1599, 800)):
        wanted = 0.015 * (1 + math.cos(math.pi * epoch / 800))
        assert stage.learning_rate(step) == pytest.approx(wanted, abs=1e-12)
    assert stage.modules["queue"].get_buffer("memory").shape == (4096, 128)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_step_of_stage_one(tmp_path: Path, groups: int) -> None:
    at = job(tmp_path, recipe=RECIPE.model_copy(update={"groups": groups}))
    network = built(at)
    stage = stage_one(at, network)
    online, average, queue = (stage.modules[name] for name in ("online", "average", "queue"))
    assert online.get_submodule("encoder") is network.encoder
    before = [p.clone() for p in average.parameters()]
    memory = queue.get_buffer("memory").clone()
    images = at.images[:8].float() / 255
    loss = stage.losses(Batch(images), generator(5))["loss"]

    # The same by the published formula, with fresh copies of the networks, one group of images after another.
    fresh, twin = built(at).train(), built(at).train()
    stream = generator(5)
    views = [twin.normalise(random_view(images, RECIPE, stream)) for _ in range(2)]
    shuffled = torch.randperm(8, generator=stream).tolist()
    query, key = torch.zeros(8, 128), torch.zeros(8, 128)
    for part in np.array_split(np.arange(8), groups):
        query[part] = fresh.encoder.embed(views[0][part]).detach()
        company = [shuffled[i] for i in part]
        key[company] = twin.encoder.embed(views[1][company]).detach()
    own = (query * key).sum(1, keepdim=True)
    logits = torch.cat([own, query @ memory.T], dim=1) / 0.07
    wanted = -(logits - logits.logsumexp(1, keepdim=True))[:, 0].mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    torch.testing.assert_close(queue.get_buffer("memory")[:8], key)
    assert torch.equal(queue.get_buffer("memory")[8:], memory[8:])

    stage.optimiser.param_groups[0]["lr"] = 0.1
    loss.backward()
    stage.optimiser.step()
    stage.after_step(1)
    for mine, start, trained in zip(average.parameters(), before, online.parameters(), strict=True):
        torch.testing.assert_close(mine, 0.9 * start + 0.1 * trained)
        assert mine.grad is None
    # Both networks' batch norms have seen the batch, each its own view.
    mean = "encoder.bn1.running_mean"
    assert int(average.get_buffer("encoder.bn1.num_batches_tracked")) == groups
    assert not torch.equal(average.get_buffer(mean), online.get_buffer(mean))


@pytest.mark.parametrize("hidden", [0, 6])
def test_a_step_of_contrast_within_the_batch(tmp_path: Path, hidden: int) -> None:
    changes = {"stage1_objective": "nt_xent", "head_hidden": hidden, "groups": 1}
    at = job(tmp_path, recipe=RECIPE.model_copy(update=changes))
    network = built(at)
    stage = stage_one(at, network)
    images = at.images[:8].float() / 255

    embed = copy.deepcopy(stage.modules["online"])
    stream = generator(5)
    views = [network.normalise(random_view(images, RECIPE, stream)) for _ in range(2)]
    pooled = embed.get_submodule("encoder").pooled(torch.cat(views))  # type: ignore[operator]
    head = embed.get_submodule("hidden_head" if hidden else "encoder.fc")
    unit = torch.nn.functional.normalize(head(pooled).detach().double(), dim=1).numpy()
    # Every view's other view against the 14 views of other images, one exponential at a time.
    terms = []
    for i in range(16):
        others = [math.exp(float(unit[i] @ unit[j]) / 0.07) for j in range(16) if j != i]
        terms.append(math.log(sum(others)) - float(unit[i] @ unit[(i + 8) % 16]) / 0.07)
    loss = stage.losses(Batch(images), generator(5))["loss"]
    assert loss.item() == pytest.approx(sum(terms) / 16, rel=1e-5)
    loss.backward()
    unused = [name for name, p in stage.modules["online"].named_parameters() if p.grad is None]
    assert unused == (["encoder.fc.weight", "encoder.fc.bias"] if hidden else [])


def test_stage_one_can_see_smaller_frames(tmp_path: Path) -> None:
    small = RECIPE.model_copy(update={"stage1_image_size": 20, "stage1_objective": "nt_xent"})
    at = job(tmp_path, recipe=small)
    network = built(at)
    images = at.images[:8].float() / 255
    halves = torch.nn.functional.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
    same = RECIPE.model_copy(update={"image_size": 20, "margin": 2, "stage1_objective": "nt_xent"})
    wanted = stage_one(job(tmp_path, recipe=same), copy.deepcopy(network)).losses(Batch(halves), generator(5))
    got = stage_one(at, network).losses(Batch(images), generator(5))
    assert got["loss"].item() == pytest.approx(wanted["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("side", [30, 80])
def test_frames_that_do_not_shrink_in_proportion(tmp_path: Path, side: int) -> None:
    at = job(tmp_path, recipe=RECIPE.model_copy(update={"margin": 5, "stage1_image_size": side}))
    with pytest.raises(BenchError, match=f"cannot be shrunk to {side}"):
        stage_one(at, built(at))


@pytest.mark.parametrize(("dim", "multiplier", "inverse_temperature"), [(64, 6.5, 8.0), (6, 7.0, 7.0)])
def test_a_step_of_stage_two(tmp_path: Path, dim: int, multiplier: float, inverse_temperature: float) -> None:
    at = job(tmp_path, options=OPTIONS.model_copy(update={"dim": dim}))
    network = built(at)
    images = at.images[:4].float() / 255
    stage = stage_two(at, network)
    loss = stage.losses(Batch(images), generator(6))["loss"]
    view = random_view(images, RECIPE, generator(6))
    assert network.projector is not None
    scores = network.projector.reg_conv(network.hypercolumn(view).dense((8, 8)))
    maps = torch.softmax(multiplier * scores.flatten(2), dim=2).reshape(scores.shape)
    wanted = equivariant_similarity_loss(maps, 4.0, 1 / inverse_temperature)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    assert not network.encoder.training
    settings = stage.optimiser.param_groups[0]
    assert (settings["betas"], settings["weight_decay"]) == ((0.5, 0.999), 5e-4)
    assert stage.learning_rate(stage.steps - 1) == pytest.approx(0.0008e-3)


def test_stage_two_can_see_plain_images(tmp_path: Path) -> None:
    at = job(tmp_path, recipe=RECIPE.model_copy(update={"stage2_augmentation": False}))
    network = built(at)
    images = at.images[:4].float() / 255
    loss = stage_two(at, network).losses(Batch(images), generator(6))["loss"]
    assert network.projector is not None
    maps = network.projector(network.hypercolumn(images[..., 4:36, 4:36]).defined_at((8, 8)))
    assert loss.item() == pytest.approx(equivariant_similarity_loss(maps, 4.0, 1 / 7).item(), rel=1e-5)


@pytest.mark.parametrize(("prepare", "rate", "factor"), [(stage_one, 0.05, 0.5), (stage_two, 0.02, 0.9)])
def test_steps_lower_the_loss_of_what_they_saw(
    tmp_path: Path, prepare: Callable[[PretrainJob, ContrastNetwork], Stage], rate: float, factor: float
) -> None:
    """The same views, keys and queue again and again."""
    at = job(tmp_path)
    stage = prepare(at, built(at))
    batch = Batch(at.images[:8].float() / 255)
    queue = stage.modules.get("queue", nn.Identity())
    if prepare is stage_one:
        stage.losses(batch, generator(1))  # fills a part of the queue with keys of other views
    kept = {name: tensor.clone() for name, tensor in queue.state_dict().items()}
    stage.optimiser.param_groups[0]["lr"] = rate
    losses = []
    for _ in range(15):
        loss = stage.losses(batch, generator(2))["loss"]
        queue.load_state_dict(kept)
        stage.optimiser.zero_grad()
        loss.backward()
        stage.optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < factor * losses[0]
