"""Thin-plate splines of images and points, against naive loops, SciPy and torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from bench.errors import BenchError
from bench.geometry import (
    MATCHING,
    SINGLE,
    TRAINING,
    TPSStrength,
    TPSWarp,
    node_coordinates,
    warp_pair,
)
from bench.geometry.spline import from_unit, nearest_in_frame, nearest_index
from tests.bench.blobs import bilinear_at, blob, centroid

STRENGTHS = st.sampled_from([MATCHING, SINGLE, TRAINING])
# Rows 0, 1, 50, 99 to 102 of the first warp from seed 0 at matching strength.
NOTED_WEIGHTS = [
    [-0.00056292, -0.00057618],
    [-5.92e-05, -0.00021694],
    [-0.00130666, -0.00802246],
    [9.7e-06, -0.0004404],
    [-0.00778244, 0.03109336],
    [0.98823845, -0.01163333],
    [0.01163333, 0.98823845],
]
FEW = settings(max_examples=20, deadline=None)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def warp_of(weights: np.ndarray[Any, Any]) -> TPSWarp:
    return TPSWarp(torch.from_numpy(weights).double()[None])


def naive_source(
    weights: list[list[float]], x: float, y: float, height: int, width: int
) -> tuple[float, float]:
    """g at one point, in pixels with corner origin, straight from the formula."""
    px, py = 2 * (x - 0.5) / (width - 1) - 1, 2 * (y - 0.5) / (height - 1) - 1
    out = []
    for axis in (0, 1):
        value = weights[100][axis] + px * weights[101][axis] + py * weights[102][axis]
        for k in range(100):
            cx, cy = -1 + 2 * (k % 10) / 9, -1 + 2 * (k // 10) / 9
            d = (px - cx) ** 2 + (py - cy) ** 2
            value += weights[k][axis] * d * math.log(d + 1e-5)
        out.append(value)
    return (out[0] + 1) / 2 * (width - 1) + 0.5, (out[1] + 1) / 2 * (height - 1) + 0.5


def test_tps_map_and_images_follow_the_formula() -> None:
    height, width = 6, 8
    warp = TPSWarp.draw(1, TRAINING, generator(5))
    weights = warp.weights[0].tolist()
    image = torch.rand(1, 1, height, width, generator=generator(6), dtype=torch.float64)
    warped, places = warp.warp_images(image), warp.source_map((height, width))
    for i in range(height):
        for j in range(width):
            x, y = naive_source(weights, j + 0.5, i + 0.5, height, width)
            assert places[0, i, j].tolist() == pytest.approx([x, y], abs=1e-10)
            assert warped[0, 0, i, j].item() == pytest.approx(
                bilinear_at(image[0, 0].numpy(), x, y), abs=1e-9
            )
    point = torch.tensor([[[3.21, 4.57]]], dtype=torch.float64)
    expected = naive_source(weights, 3.21, 4.57, height, width)
    assert warp.source_of(point, (height, width))[0, 0].tolist() == pytest.approx(expected, abs=1e-10)


def test_tps_draws_known_weights() -> None:
    """The stream of the released code from seed 0, matching strength, and some of its values."""
    weights = TPSWarp.draw(1, MATCHING, generator(0)).weights[0]
    assert weights.shape == (103, 2)
    stream = generator(0)
    radial = torch.randn(100, 2, generator=stream) * 0.0005
    strong = torch.rand(100, 2, generator=stream) > 0.5
    radial[strong] = torch.randn(int(strong.sum()), generator=stream) * 0.005
    rotation, growth, *shift = (torch.randn(1, generator=stream) * 0.05 for _ in range(4))
    rotation, scale = rotation * 50 * math.pi / 180, 1 + growth
    assert (weights[:100] - radial).abs().max() == 0
    assert weights[100].tolist() == pytest.approx([float(shift[0]), float(shift[1])], abs=1e-7)
    cos, sin = float(scale * torch.cos(rotation)), float(scale * torch.sin(rotation))
    assert weights[101].tolist() == pytest.approx([cos, -sin], abs=1e-6)
    assert weights[102].tolist() == pytest.approx([sin, cos], abs=1e-6)
    noted = torch.tensor(NOTED_WEIGHTS, dtype=torch.float64)
    assert (weights[[0, 1, 50, 99, 100, 101, 102]] - noted).abs().max() < 1e-6


def test_multipliers_scale_radial_and_affine_parts_apart() -> None:
    full = TPSWarp.draw(1, TRAINING, generator(7)).weights
    half = TPSWarp.draw(1, TRAINING, generator(7), multiplier=0.5).weights
    assert (half[:, :100] - full[:, :100] / 2).abs().max() < 1e-9
    assert (half[:, 100:] - full[:, 100:]).abs().max() == 0
    still = TPSWarp.draw(1, TRAINING, generator(7), multiplier=0, affine_multiplier=0).weights
    assert (still - TPSWarp.identity(1).weights).abs().max() == 0


def test_added_perturbation_keeps_the_weak_one() -> None:
    replaced = TPSWarp.draw(1, TRAINING, generator(8)).weights
    added = TPSWarp.draw(1, TRAINING, generator(8), subset="add").weights
    weak = torch.randn(100, 2, generator=generator(8)).double() * 0.001
    changed = added != replaced
    assert 60 < int(changed.sum()) < 140
    assert (added - replaced)[0, :100][changed[0, :100]].tolist() == pytest.approx(
        weak[changed[0, :100]].tolist(), abs=1e-8
    )


@FEW
@given(seed=st.integers(0, 10**6), strength=STRENGTHS)
def test_tps_moves_points_to_where_they_came_from(seed: int, strength: TPSStrength) -> None:
    size = (90, 70)
    warp = TPSWarp.draw(3, strength, generator(seed))
    places = torch.rand(3, 20, 2, generator=generator(seed), dtype=torch.float64) * torch.tensor([70.0, 90.0])
    sources = warp.source_of(places, size)
    moved, converged = warp.move_points(sources, size)
    assert converged.all()
    assert (warp.source_of(moved, size) - sources).norm(dim=-1).max() < 1e-3


def test_unreachable_points_are_reported() -> None:
    weights = TPSWarp.identity(1).weights
    weights[0, 102, 1] = 0  # The whole image shows one line.
    _, converged = TPSWarp(weights).move_points(torch.tensor([[[5.0, 2.0]]]), (11, 11))
    assert not converged.any()
    _, converged = TPSWarp.identity(1).move_points(torch.tensor([[[5.0, 2.0]]]), (11, 11))
    assert converged.all()


@FEW
@given(seed=st.integers(0, 10**6))
def test_tps_moves_a_blob_to_where_the_point_goes(seed: int) -> None:
    size = (64, 80)
    warp = TPSWarp.draw(1, MATCHING, generator(seed))
    place = torch.tensor([[[44.0, 29.0]]], dtype=torch.float64)
    source = warp.source_of(place, size)
    warped = warp.warp_images(blob(size, source[0, 0], sigma=1.5))
    assert (centroid(warped) - place[0, 0]).norm() < 0.15
    node = warp.move_points_to_nearest_node(source, size)[0, 0]
    assert (node - place[0, 0]).abs().max() <= 1


def test_identity_pair_changes_nothing() -> None:
    images = torch.rand(2, 3, 20, 30, generator=generator(9))
    pair = warp_pair(images, TPSWarp.identity(2), TPSWarp.identity(2))
    assert (pair.more_warped - images).abs().max() < 1e-5
    assert (pair.less_warped - images).abs().max() < 1e-5
    points = torch.rand(2, 9, 2, generator=generator(10), dtype=torch.float64) * 19
    moved, converged = TPSWarp.identity(2).move_points(points, (20, 30))
    assert converged.all()
    assert (moved - points).abs().max() < 1e-9
    centres = points.floor() + 0.5
    assert (TPSWarp.identity(2).move_points_to_nearest_node(centres, (20, 30)) - centres).abs().max() < 1e-5


def test_results_do_not_depend_on_the_batch() -> None:
    warp = TPSWarp.draw(5, TRAINING, generator(11))
    images = torch.rand(5, 3, 24, 32, generator=generator(12))
    points = torch.rand(5, 6, 2, generator=generator(13), dtype=torch.float64) * 24
    for i in range(5):
        one = slice(i, i + 1)
        assert (warp[one].warp_images(images[one]) - warp.warp_images(images)[one]).abs().max() < 1e-6
        alone = warp[one].move_points_to_nearest_node(points[one], (24, 32))
        assert (alone - warp.move_points_to_nearest_node(points, (24, 32))[one]).abs().max() == 0


def test_nearest_node_agrees_with_a_kd_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.geometry.spline._CHUNK_ELEMENTS", 3000)
    size = (21, 17)
    warp = TPSWarp.draw(2, TRAINING, generator(14))
    points = torch.rand(2, 40, 2, generator=generator(15), dtype=torch.float64) * 30 - 5
    moved = warp.move_points_to_nearest_node(points, size)
    for b in range(2):
        nodes = warp.source_map(size)[b].reshape(-1, 2).numpy()
        _, index = cKDTree(nodes).query(points[b].numpy())
        expected = np.stack([index % 17 + 0.5, index // 17 + 0.5], -1)
        assert np.abs(moved[b].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("size", [(40, 61), (64, 64), (9, 130)])
@pytest.mark.parametrize("strength", [MATCHING, TRAINING, TPSStrength(0.02, 0.2, 0.3, 0.3, 40)])
def test_nearest_pixel_of_a_frame_is_that_of_all_pixels(strength: TPSStrength, size: tuple[int, int]) -> None:
    """Inside and far outside of the image, also where a warp folds it, so that few tiles do not hold the answer."""
    generator = torch.Generator().manual_seed(4)
    nodes = from_unit(TPSWarp.draw(6, strength, generator).grid(*size), size).double()
    spread = torch.tensor([2.0 * size[1], 2.0 * size[0]]).double()
    points = (torch.rand(6, 40, 2, generator=generator, dtype=torch.float64) - 0.25) * spread
    assert torch.equal(nearest_in_frame(points, nodes), nearest_index(points, nodes.flatten(1, 2)))


def test_the_first_of_equally_near_pixels_of_a_frame_is_taken() -> None:
    """Between four pixels, of which two or four lie in different tiles."""
    nodes = from_unit(TPSWarp.identity(1).grid(33, 65), (33, 65)).round(decimals=3).double()
    points = torch.cartesian_prod(torch.arange(66.0), torch.arange(34.0)).double()[None]
    found = nearest_in_frame(points, nodes)
    assert torch.equal(found, nearest_index(points, nodes.flatten(1, 2)))
    first = (points[0, :, 1].long() - 1).clamp(0, 32) * 65 + (points[0, :, 0].long() - 1).clamp(0, 64)
    assert torch.equal(found[0], first)


def test_nodes_carry_the_rounding_of_the_released_code() -> None:
    """How many odd coordinates of the cropped frame fall into the other cell of a stride-2 map."""
    for width, crop, others in ((100, 15, 3), (136, 20, 7)):
        nodes = (node_coordinates(width) - 0.5 - crop)[crop : width - crop]
        exact = torch.arange(width - 2 * crop, dtype=torch.float64)
        assert (nodes - exact).abs().max() < 2e-5
        flipped = torch.round(nodes / 2) != torch.round(exact / 2)
        assert int(flipped.sum()) == int(flipped[1::2].sum()) == others


def test_crops_of_the_source_map_are_crops() -> None:
    warp = TPSWarp.draw(1, MATCHING, generator(16))
    whole, cropped = warp.source_map((20, 24)), warp.source_map((20, 24), margin=3)
    assert (cropped - (whole[:, 3:17, 3:21] - 3)).abs().max() == 0


def test_kept_matrices_serve_training_after_inference() -> None:
    with torch.inference_mode():
        TPSWarp.draw(1, MATCHING, generator(17)).warp_images(torch.rand(1, 3, 13, 11))
    weights = TPSWarp.draw(1, MATCHING, generator(17)).weights.requires_grad_()
    (gradient,) = torch.autograd.grad(TPSWarp(weights).grid(13, 11).sum(), weights)
    assert gradient[0, 100].tolist() == pytest.approx([13 * 11, 13 * 11])


def test_tps_mistakes_are_explained() -> None:
    with pytest.raises(BenchError, match=r"\(B, 103, 2\)"):
        TPSWarp(torch.zeros(103, 2))
    with pytest.raises(BenchError, match="expected 2 float images, got 2"):
        TPSWarp.identity(2).warp_images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(BenchError, match="got 3"):
        TPSWarp.identity(2).warp_images(torch.zeros(3, 3, 8, 8))
