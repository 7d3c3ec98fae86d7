"""Thewlis 2017: the network's promises, the training pair, equation 9, and what training changes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.errors import BenchError
from bench.geometry import TPSWarp
from bench.method import PretrainJob
from bench.progress import Progress
from bench.seeds import seeded_initialisation
from bench.weights import read_weights
from methods.networks.landmark_maps import expected_points
from methods.thewlis import (
    Thewlis,
    ThewlisRecipe,
    draw_warps,
    landmark_losses,
    training_pair,
)
from methods.thewlis_network import ThewlisNetwork, ThewlisOptions

OPTIONS = ThewlisOptions(landmarks=4)
RECIPE = ThewlisRecipe(image_size=24, margin=4, batch_size=4, epochs=2, final_epochs=1, patch=2)


def _images(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _network(options: ThewlisOptions = OPTIONS) -> ThewlisNetwork:
    with seeded_initialisation(0, "test"):
        return Thewlis().build(options).eval()


def _job(output: Path, recipe: ThewlisRecipe = RECIPE, **changes: object) -> PretrainJob:
    job = PretrainJob(
        images=(_images(9, 24) * 255).to(torch.uint8),
        options=OPTIONS,
        recipe=recipe,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "noise", "preset": "test", "images": 9},
    )
    return replace(job, **changes)  # type: ignore[arg-type]


# --- the network -----------------------------------------------------------------------------------------------


def test_features_and_landmarks() -> None:
    images = _images(2, 32)
    trunk, scores = (
        _network(ThewlisOptions(landmarks=4, features=f)).extract(images) for f in ("trunk", "scores")
    )
    assert [tuple(f.levels[0].shape) for f in (trunk, scores)] == [(2, 256, 16, 16), (2, 4, 16, 16)]
    assert trunk.size == scores.size == (16, 16)
    assert trunk.normalisation == "joint"
    network = _network()
    points = network.landmarks(images)
    assert points.shape == (2, 4, 2)
    # The soft-argmax of the scores, by hand: cell (i, j) is centred at pixel (2 j + 1, 2 i + 1).
    weights = scores.levels[0].double().flatten(2).exp()
    weights = (weights / weights.sum(2, keepdim=True)).reshape(2, 4, 16, 16)
    at = 2 * torch.arange(16).double() + 1
    by_hand = torch.stack([(weights.sum(2) * at).sum(2), (weights.sum(3) * at).sum(2)], dim=-1)
    torch.testing.assert_close(points.double(), by_hand, atol=1e-4, rtol=0)
    torch.testing.assert_close(network.landmarks(images[1:]), points[1:], atol=1e-4, rtol=0)


def test_parameters_of_the_published_widths() -> None:
    """20, 48, 64, 80, 256 and K filters of 5, 5, 5, 3, 3 and 1 cells, with biases and five batch norms."""
    widths, kernels = (3, 20, 48, 64, 80, 256), (5, 5, 5, 3, 3)
    expected = sum(kernels[i] ** 2 * widths[i] * widths[i + 1] + 3 * widths[i + 1] for i in range(5)) + 50 * (
        256 + 1
    )
    assert sum(p.numel() for p in _network(ThewlisOptions()).parameters()) == expected
    relu = _network(ThewlisOptions(final_norm=True))
    assert sum(p.numel() for p in relu.parameters()) == expected + 2 * 50
    assert relu.detector(_images(1, 16)).amin() >= 0


@pytest.mark.parametrize("features", ["trunk", "scores"])
def test_receptive_radius_is_exact(features: str) -> None:
    """Gradients of the middle cell reach pixels up to the radius from its centre, and none beyond."""
    network = _network(ThewlisOptions(landmarks=4, features=features))
    images = _images(4, 72).requires_grad_()
    network(images).levels[0][:, :, 18, 17].sum().backward()
    assert images.grad is not None
    rows, columns = (images.grad != 0).any(0).any(0).nonzero().unbind(1)
    x, y, radius = 2 * 17 + 1, 2 * 18 + 1, network.receptive_radius
    # A pixel is an interval: its far edge, not its centre, is that far away.
    assert (columns.min().item(), columns.max().item() + 1) == (x - radius, x + radius)
    assert (rows.min().item(), rows.max().item() + 1) == (y - radius, y + radius)


def test_moved_images_give_moved_features() -> None:
    network, side, move = _network(), 96, 4
    scene = _images(1, side + move)
    here, there = network.extract(scene[..., move:, move:]), network.extract(scene[..., :side, :side])
    inner = slice((network.receptive_radius + 1) // 2, (side - network.receptive_radius) // 2 - move // 2)
    moved = slice(inner.start + move // 2, inner.stop + move // 2)
    torch.testing.assert_close(
        here.levels[0][..., inner, inner], there.levels[0][..., moved, moved], atol=1e-4, rtol=1e-4
    )
    assert move % network.shift_period == 0


def test_replicated_borders_do_not_tell_the_position() -> None:
    plain = torch.full((1, 3, 40, 40), 0.7)
    scores = {
        padding: _network(ThewlisOptions(landmarks=4, features="scores", padding=padding)).extract(plain)
        for padding in ("zeros", "replicate")
    }
    spread = {padding: found.levels[0].std(dim=(2, 3)).max().item() for padding, found in scores.items()}
    assert spread["replicate"] < 1e-5
    assert spread["zeros"] > 1e-2


# --- the training pair and equation 9 --------------------------------------------------------------------------


def test_warps_have_the_supplements_deviations() -> None:
    recipe = ThewlisRecipe()
    first, second = draw_warps(400, recipe, torch.Generator().manual_seed(0))
    # Added with probability 1/2: the variance is sd^2 + 1/2 extra^2.
    assert first.weights[:, :100].std().item() == pytest.approx((1 + 0.5) ** 0.5 * 1e-3, rel=0.02)
    assert second.weights[:, :100].std().item() == pytest.approx((1 + 0.5 * 100) ** 0.5 * 1e-3, rel=0.02)
    assert torch.equal(first.weights[:, 100:], TPSWarp.identity(400).weights[:, 100:])
    x_axis = second.weights[:, 101]
    angles = torch.atan2(-x_axis[:, 1], x_axis[:, 0]).rad2deg()
    assert angles.std().item() == pytest.approx(20, rel=0.1)
    assert x_axis.norm(dim=1).std().item() == pytest.approx(0.05, rel=0.1)
    assert x_axis.norm(dim=1).mean().item() == pytest.approx(1, abs=0.01)
    assert second.weights[:, 100].std().item() == pytest.approx(0.1, rel=0.1)


def test_the_pair_is_cropped_and_x_prime_is_x_warped() -> None:
    """x' at pixel v shows x at g(v): checked on an image whose colours are its coordinates."""
    recipe = ThewlisRecipe(image_size=48, margin=8, rotation=10.0, translation=0.02)
    ramp = (torch.arange(48) + 0.5) / 48
    images = torch.stack([ramp.expand(48, 48), ramp[:, None].expand(48, 48), torch.ones(48, 48)])
    pair = training_pair(images.expand(3, -1, -1, -1), recipe, torch.Generator().manual_seed(5))
    assert pair.image.shape == pair.warped.shape == (3, 3, 32, 32)
    centres = torch.arange(32, dtype=torch.float64) + 0.5
    v = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(1, -1, 2)
    g = pair.source_of(v).reshape(3, 32, 32, 2)
    # x read at g(v), nearest pixel; ramps change by 1/48 a pixel and are little bent by g1.
    inside = ((g > 1) & (g < 31)).all(-1)
    columns, rows = (g[..., axis].floor().long().clamp(0, 31) for axis in (0, 1))
    image = torch.arange(3)[:, None, None]
    for channel in (0, 1):
        read = pair.image[:, channel][image, rows, columns]
        assert (pair.warped[:, channel] - read)[inside].abs().max() < 1.2 / 48
    assert inside.float().mean() > 0.5


def _no_warp(**changes: object) -> ThewlisRecipe:
    still = dict.fromkeys(
        (
            "first_radial",
            "first_subset",
            "second_radial",
            "second_subset",
            "rotation",
            "translation",
            "scale",
        ),
        0.0,
    )
    return ThewlisRecipe(**{"image_size": 40, "margin": 4, **still, **changes})


def test_without_a_warp_alignment_is_twice_the_variance() -> None:
    network, images = _network(), _images(3, 40)
    losses = landmark_losses(network, images, _no_warp(), torch.Generator())
    p = network.probabilities(images[..., 4:-4, 4:-4]).double()
    at = torch.arange(16).double() + 0.5
    variance = 0.0
    for marginal in (p.sum(2), p.sum(3)):
        mean = (marginal * at).sum(2, keepdim=True)
        variance += (marginal * (at - mean) ** 2).sum(2).mean().item()
    assert losses["alignment"].item() == pytest.approx(2 * variance, rel=1e-4)
    normalised = landmark_losses(network, images, _no_warp(unit="normalised"), torch.Generator())
    assert normalised["alignment"].item() == pytest.approx(2 * variance * (2 / 16) ** 2, rel=1e-4)
    points = landmark_losses(network, images, _no_warp(alignment="points"), torch.Generator())
    assert points["alignment"].item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("unit", ["cells", "normalised"])
def test_equation_5_takes_the_landmarks_back_by_g(unit: str) -> None:
    network, images = _network(), _images(3, 40)
    recipe = ThewlisRecipe(image_size=40, margin=4, alignment="points", unit=unit)
    losses = landmark_losses(network, images, recipe, torch.Generator().manual_seed(2))
    pair = training_pair(images, recipe, torch.Generator().manual_seed(2))
    here, there = (
        expected_points(network.probabilities(view), (32, 32)).double() for view in (pair.image, pair.warped)
    )
    pixels = (here - pair.source_of(there)).square().sum(-1).mean().item()
    assert losses["alignment"].item() == pytest.approx(pixels / (4 if unit == "cells" else 16**2), rel=1e-4)


def test_equation_9_adds_both_diversities() -> None:
    network, images = _network(), _images(3, 40)
    losses = landmark_losses(network, images, _no_warp(patch=16, diversity_weight=7), torch.Generator())
    # One patch holds everything: all but one of the K landmarks of both images are superfluous.
    assert losses["diversity"].item() == pytest.approx(2 * (4 - 1), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(losses["alignment"].item() + 7 * 6, rel=1e-5)
    overlap = landmark_losses(network, images, _no_warp(diversity="overlap"), torch.Generator())
    p = network.probabilities(images[..., 4:-4, 4:-4]).flatten(2)
    products = (p @ p.mT).sum((1, 2)) - p.square().sum((1, 2))
    assert overlap["diversity"].item() == pytest.approx(2 * products.mean().item() / 16, rel=1e-4)


# --- training --------------------------------------------------------------------------------------------------


def test_training_is_seeded_and_ends_at_a_tenth_of_the_rate(tmp_path: Path) -> None:
    sha = {
        name: read_weights(Thewlis().pretrain(_job(tmp_path / name, seed=seed))).sha256
        for name, seed in (("one", 3), ("same", 3), ("other", 4))
    }
    assert sha["one"] == sha["same"] != sha["other"]
    rows = list(csv.DictReader((tmp_path / "one" / "log.csv").open()))
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([1e-4] * 4 + [1e-5] * 2)
    assert set(rows[0]) == {"stage", "step", "learning_rate", "loss", "alignment", "diversity"}


def test_step_zero_is_the_built_network(tmp_path: Path) -> None:
    Thewlis().pretrain(_job(tmp_path, snapshot_every=100))
    start = read_weights(tmp_path / "snapshots" / "landmarks-000000.safetensors", method="thewlis")
    with seeded_initialisation(3, "initial weights"):
        untrained = Thewlis().build(OPTIONS)
    assert start.options == OPTIONS.model_dump(mode="json")
    assert start.tensors.keys() == untrained.state_dict().keys()
    assert all(torch.equal(start.tensors[name], tensor) for name, tensor in untrained.state_dict().items())


def test_finetuning_starts_from_the_given_weights(tmp_path: Path) -> None:
    given = read_weights(Thewlis().pretrain(_job(tmp_path / "source")))
    job = _job(tmp_path / "target", initial=given, seed=9, snapshot_every=100)
    tuned = read_weights(Thewlis().pretrain(job))
    start = read_weights(tmp_path / "target" / "snapshots" / "landmarks-000000.safetensors")
    assert all(torch.equal(start.tensors[name], tensor) for name, tensor in given.tensors.items())
    assert not torch.equal(tuned.tensors["detector.conv1.0.weight"], given.tensors["detector.conv1.0.weight"])
    other = replace(job, options=ThewlisOptions(landmarks=5), output=tmp_path / "wrong")
    with pytest.raises(BenchError, match="another architecture"):
        Thewlis().pretrain(other)


def test_landmarks_find_the_one_thing_there_is(tmp_path: Path) -> None:
    """A bright square on noise, anywhere: after 72 steps both landmarks go where it goes."""
    recipe = RECIPE.model_copy(
        update={"batch_size": 8, "epochs": 8, "learning_rate": 1e-3, "diversity_weight": 10.0, "patch": 4}
    )
    options = ThewlisOptions(landmarks=2, padding="replicate")
    images, _ = _squares(64)
    job = _job(tmp_path, recipe, images=(images * 255).to(torch.uint8), options=options)
    weights = read_weights(Thewlis().pretrain(job))
    unseen, centres = _squares(64, seed=1)
    scatter = {}
    for state in ("untrained", "trained"):
        network = _network(options)
        if state == "trained":
            network.load_state_dict(weights.tensors)
        with torch.no_grad():
            offsets = network.landmarks(unseen) - centres[:, None]
        scatter[state] = offsets.std(dim=0).mean().item()
    assert scatter["untrained"] > 2.0
    assert scatter["trained"] < 0.5 * scatter["untrained"]


def _squares(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 24, 24) with a square of 4 pixels, and its centres (count, 2)."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 + 0.1 * torch.rand(count, 3, 24, 24, generator=generator)
    corners = torch.randint(6, 14, (count, 2), generator=generator)
    for image, (x, y) in zip(images, corners.tolist(), strict=True):
        image[:, y : y + 4, x : x + 4] = 1.0
    return images, corners + 2.0


# --- options ---------------------------------------------------------------------------------------------------


def test_presets_and_variants_are_overrides_of_known_options() -> None:
    method = Thewlis()
    assert {"paper", "small", "tiny"} <= method.presets.keys()
    assert method.presets["paper"].options == {}
    assert method.presets["paper"].recipe == {}
    for preset in method.presets.values():
        for variant in method.variants.values():
            ThewlisOptions(**{**preset.options, **variant.options})
            ThewlisRecipe(**{**preset.recipe, **variant.recipe})
    assert method.variants["k51"].recipe["patch"] == 3
    assert ThewlisRecipe().crop_size == 80


@pytest.mark.parametrize(("size", "margin"), [(25, 4), (20, 10), (8, 6)])
def test_a_crop_that_the_network_cannot_take_is_refused(size: int, margin: int) -> None:
    with pytest.raises(ValidationError, match="multiples of 2"):
        ThewlisRecipe(image_size=size, margin=margin)
