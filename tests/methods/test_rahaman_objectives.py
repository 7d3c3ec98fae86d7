"""The two-step method's losses against naive float64 loops, and the correspondence that they rest on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureMap
from bench.geometry import TPSWarp
from methods.deformation import Deformation, corresponding_points, random_warps, sample_features
from methods.objectives import pixel_contrast
from methods.objectives.equivariant_landmarks import equivariance_loss, variance_loss
from methods.objectives.pixel_contrast import pixel_contrast_loss

STRONG = Deformation(rotation=30, shear=10, zoom=1.3, translation=0.1, elastic=0.005)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- pixel contrast ---------------------------------------------------------------------------------------------


def _naive_pixel_contrast(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 7 as printed: b, k and n, i run over images and locations."""
    images, locations = first.shape[:2]

    def s(a: Tensor, b: Tensor) -> float:
        cosine = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
        return math.exp(cosine / temperature)

    total = 0.0
    for b in range(images):
        for k in range(locations):
            f, g = first[b, k], second[b, k]
            own = own_of_second = other = other_of_second = 0.0
            for n in range(images):
                for i in range(locations):
                    if (n, i) != (b, k):
                        own += s(f, first[n, i])
                        own_of_second += s(g, second[n, i])
                    other += s(f, second[n, i])
                    other_of_second += s(g, first[n, i])
            total += math.log(s(f, g) / (own + other)) + math.log(s(f, g) / (own_of_second + other_of_second))
    return -total / (images * locations)


@pytest.mark.parametrize("rows", [1, 5, 256])
def test_pixel_contrast_equals_the_naive_sum(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_contrast, "_ROWS_AT_ONCE", rows)
    first, second = _random(3, 4, 6), _random(3, 4, 6, seed=1)
    got = pixel_contrast_loss(first, second, 0.2).item()
    assert got == pytest.approx(_naive_pixel_contrast(first, second, 0.2), rel=1e-12)


@pytest.mark.parametrize("rows", [5, 256])
def test_pixel_contrast_gradient(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_contrast, "_ROWS_AT_ONCE", rows)
    pair = _random(2, 4, 3).requires_grad_(), _random(2, 4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: pixel_contrast_loss(a, b, 0.3), pair)


def test_pixel_contrast_of_orthogonal_features_is_known() -> None:
    """Each of 4 features, its positive equal to it, all others at right angles: 2 log(1 + 6 exp(-1/T))."""
    features = torch.eye(4, dtype=torch.float64).reshape(2, 2, 4)
    got = pixel_contrast_loss(5 * features, 0.1 * features, 0.5).item()
    assert got == pytest.approx(2 * math.log(1 + 6 * math.exp(-2)), rel=1e-12)


def test_pixel_contrast_does_not_depend_on_the_order_of_images_locations_or_views() -> None:
    first, second = _random(4, 3, 5), _random(4, 3, 5, seed=1)
    value = pixel_contrast_loss(first, second, 0.1)
    images, locations = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    torch.testing.assert_close(pixel_contrast_loss(first[images], second[images], 0.1), value)
    torch.testing.assert_close(pixel_contrast_loss(first[:, locations], second[:, locations], 0.1), value)
    torch.testing.assert_close(pixel_contrast_loss(second, first, 0.1), value)


def test_pixel_contrast_golden_excerpt() -> None:
    first = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[-1.0, 1.0], [3.0, 4.0]]], dtype=torch.float64)
    second = torch.tensor([[[1.0, 1.0], [0.0, 1.0]], [[-1.0, 0.0], [4.0, 3.0]]], dtype=torch.float64)
    assert pixel_contrast_loss(first, second, 0.1).item() == pytest.approx(2.12671018443014, rel=1e-12)


def test_pixel_contrast_widens_half_precision() -> None:
    first, second = _random(2, 8, 16), _random(2, 8, 16, seed=1)
    one, two = first.bfloat16(), second.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pixel_contrast_loss(one, two, 0.1)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(pixel_contrast_loss(one.double(), two.double(), 0.1).item(), rel=1e-5)


# --- losses of the detector -------------------------------------------------------------------------------------


def test_equivariance_equals_the_naive_sum() -> None:
    detected, expected = _random(3, 5, 2), _random(3, 5, 2, seed=1)
    total = 0.0
    for b in range(3):
        for k in range(5):
            dx = (float(detected[b, k, 0]) - float(expected[b, k, 0])) / 20
            dy = (float(detected[b, k, 1]) - float(expected[b, k, 1])) / 10
            total += (dx**2 + dy**2) / 5
    assert equivariance_loss(detected, expected, (20, 40)).item() == pytest.approx(total / 3, rel=1e-12)


def test_equivariance_gradient_reaches_both_sides_and_passes_through_the_warp() -> None:
    warps = random_warps(2, STRONG, _generator())
    points = (8 + 2 * _random(2, 3, 2)).requires_grad_(), (8 + 2 * _random(2, 3, 2, seed=1)).requires_grad_()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return equivariance_loss(a, warps.source_of(b, (16, 16)), (16, 16))

    assert torch.autograd.gradcheck(loss, points)


def _maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.softmax(_random(*shape, seed=seed).flatten(2), dim=2).reshape(shape)


def test_variance_equals_the_trace_of_the_covariance() -> None:
    maps = _maps(2, 3, 4, 6)
    total = 0.0
    for b in range(2):
        for k in range(3):
            cells = [
                ((2 * j + 1) / 6 - 1, (2 * i + 1) / 4 - 1, float(maps[b, k, i, j]))
                for i in range(4)
                for j in range(6)
            ]
            x, y = (sum(c[axis] * c[2] for c in cells) for axis in (0, 1))
            total += sum(p * ((u - x) ** 2 + (v - y) ** 2) for u, v, p in cells)
    assert variance_loss(maps).item() == pytest.approx(total / 6, rel=1e-12)


def test_variance_of_known_maps() -> None:
    point = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    point[0, 0, 3, 1] = 1
    assert variance_loss(point).item() == 0
    uniform = torch.full((1, 1, 8, 8), 1 / 64, dtype=torch.float64)
    # Eight cells of [-1, 1]: the variance of a continuous uniform, 1/3, less that within a cell, 1/3 of (1/8)^2.
    assert variance_loss(uniform).item() == pytest.approx(2 / 3 * (1 - 1 / 64), rel=1e-12)


def test_variance_gradient() -> None:
    assert torch.autograd.gradcheck(variance_loss, _maps(2, 2, 3, 4).requires_grad_())


# --- correspondence ---------------------------------------------------------------------------------------------


def _coordinate_images(count: int, side: int) -> Tensor:
    """Each pixel holds its own place: channels x, y and one, so that what a view shows says where it is from."""
    centres = torch.arange(side, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).expand(count, -1, -1, -1)


def test_locations_correspond_to_a_fraction_of_a_pixel() -> None:
    side, count = 32, 6
    warps = random_warps(count, STRONG, _generator(1))
    images = _coordinate_images(count, side)
    before, after = corresponding_points(warps, (side, side), 40, _generator(2))
    assert before.shape == after.shape == (count, 40, 2)
    shown = sample_features(warps.warp_images(images), after, (side, side))
    # Near the border, a pixel of the view may mix the image with what is outside it.
    whole = ((before > 1) & (before < side - 1)).all(dim=2)
    assert whole.float().mean() > 0.8
    torch.testing.assert_close(shown[whole][:, :2], before[whole], rtol=0, atol=1e-4)
    exact = warps.source_of(after.double(), (side, side))
    torch.testing.assert_close(before, exact.float(), rtol=0, atol=1e-5)


def test_identity_and_translation_give_the_known_places() -> None:
    before, after = corresponding_points(TPSWarp.identity(2), (16, 16), 30, _generator())
    torch.testing.assert_close(before, after)
    weights = TPSWarp.identity(2).weights
    weights[:, -3] = torch.tensor(
        [2 * 3.25 / 15, -2 * 2.0 / 15]
    )  # in [-1, 1] between the outer pixels' centres
    before, after = corresponding_points(TPSWarp(weights), (16, 16), 30, _generator())
    torch.testing.assert_close(before - after, torch.tensor([3.25, -2.0]).expand(2, 30, 2))
    assert ((before >= 0) & (before <= 16) & (after >= 0.5) & (after <= 15.5)).all()


def test_locations_are_different_pixels_and_spread_over_the_view() -> None:
    _, after = corresponding_points(TPSWarp.identity(3), (8, 8), 64, _generator())
    for places in after:
        assert len({(float(x), float(y)) for x, y in places}) == 64


def test_fewer_locations_where_a_view_shows_less() -> None:
    weights = TPSWarp.identity(2).weights
    weights[1, -3, 0] = 2 * 12 / 15  # the second view shows only 4 of 16 columns
    before, _ = corresponding_points(TPSWarp(weights), (16, 16), 100, _generator())
    assert before.shape == (2, 64, 2)
    weights[1, -3, 0] = 5
    with pytest.raises(BenchError, match="out of its frame"):
        corresponding_points(TPSWarp(weights), (16, 16), 100, _generator())


def test_sampled_features_are_those_of_the_feature_map() -> None:
    features = _random(2, 3, 6, 8).float()
    points = torch.rand(2, 20, 2, generator=_generator()) * torch.tensor([34.0, 26.0]) - 1
    expected = FeatureMap((features,), (6, 8), (24, 32)).sample(points)
    torch.testing.assert_close(sample_features(features, points, (24, 32)), expected)


def test_random_warps_do_what_their_ranges_say() -> None:
    side = 33  # its middle pixel is the centre, which pure rotations and zooms leave where it is
    centre = torch.full((50, 1, 2), side / 2, dtype=torch.float64)
    right = centre + torch.tensor([10.0, 0.0], dtype=torch.float64)
    down = centre + torch.tensor([0.0, 10.0], dtype=torch.float64)

    def moved(deformation: Deformation, points: Tensor) -> Tensor:
        return random_warps(50, deformation, _generator(3)).source_of(points, (side, side)) - centre

    turned = moved(Deformation(rotation=20), right).squeeze(1)
    torch.testing.assert_close(turned.norm(dim=1), torch.full((50,), 10.0, dtype=torch.float64))
    angles = torch.rad2deg(torch.atan2(turned[:, 1], turned[:, 0]))
    assert 15 < angles.max() <= 20
    assert -20 <= angles.min() < -15

    zoomed = moved(Deformation(zoom=2.0), right).squeeze(1)
    assert 5 <= zoomed[:, 0].min() < 6
    assert 17 < zoomed[:, 0].max() <= 20
    torch.testing.assert_close(zoomed[:, 1], torch.zeros(50, dtype=torch.float64))

    sheared = moved(Deformation(shear=45), down).squeeze(1)
    torch.testing.assert_close(sheared[:, 1], torch.full((50,), 10.0, dtype=torch.float64))
    assert 8 < sheared[:, 0].abs().max() <= 10

    shifted = moved(Deformation(translation=0.25), centre).squeeze(1) / ((side - 1) / 2)
    assert 0.2 < shifted.abs().max() <= 0.25
    torch.testing.assert_close(moved(Deformation(), right), right - centre)


def test_elastic_weights_have_their_deviation() -> None:
    weights = random_warps(200, Deformation(elastic=0.005), _generator()).weights
    assert weights[:, :-3].std().item() == pytest.approx(0.005, rel=0.02)
    torch.testing.assert_close(weights[:, -3:], TPSWarp.identity(200).weights[:, -3:])
