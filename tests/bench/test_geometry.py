"""Warps of images and points, against naive loops, SciPy, torch, and the released code's numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.geometry import (
    MATCHING,
    SINGLE,
    TRAINING,
    AffineWarp,
    TPSStrength,
    TPSWarp,
    node_coordinates,
    warp_pair,
)
from bench.geometry.spline import from_unit, nearest_in_frame, nearest_index
from tests.goldens import golden

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


def blob(size: tuple[int, int], centre: Tensor, sigma: float) -> Tensor:
    """(1, 1, H, W): a Gaussian around a point given in pixels, corner origin."""
    y = torch.arange(size[0], dtype=torch.float64) + 0.5 - centre[1]
    x = torch.arange(size[1], dtype=torch.float64) + 0.5 - centre[0]
    return torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))[None, None]


def centroid(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    mass = image[0, 0] / image.sum()
    x = (mass.sum(0) * (torch.arange(width) + 0.5)).sum()
    y = (mass.sum(1) * (torch.arange(height) + 0.5)).sum()
    return torch.stack([x, y])


def bilinear_at(image: np.ndarray[Any, Any], x: float, y: float) -> float:
    """One value of a grey image at a point with corner origin, zeros outside, by the definition."""
    total = 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            total += image[i, j] * max(0.0, 1 - abs(x - j - 0.5)) * max(0.0, 1 - abs(y - i - 0.5))
    return total


# --- affine -----------------------------------------------------------------------------------------------


@st.composite
def affine_warps(draw: st.DrawFn) -> AffineWarp:
    number = st.floats(-1, 1, width=32)
    parts = torch.tensor([[draw(number) for _ in range(5)] for _ in range(2)], dtype=torch.float64)
    warp = AffineWarp.about_centre(
        (24, 40),
        rotation=parts[:, 0] * 180,
        scale=1.5 + parts[:, 1],
        shear=parts[:, 2] * 40,
        translation=parts[:, 3:],
    )
    flip = AffineWarp.horizontal_flip(parts[:, 0] > 0, (24, 40))
    boxes = torch.tensor([[3.0, 2.0, 30.0, 20.0], [-4.0, 5.0, 44.0, 11.5]])
    return flip.then(warp).then(AffineWarp.crop_resize(boxes, (24, 40), (17, 9)))


@FEW
@given(warp=affine_warps())
def test_affine_inverse_brings_points_back(warp: AffineWarp) -> None:
    points = torch.rand(2, 30, 2, generator=generator(0), dtype=torch.float64) * 60 - 10
    assert (warp.source_of(warp.move_points(points)) - points).abs().max() < 1e-9
    assert (warp.move_points(warp.source_of(points)) - points).abs().max() < 1e-9
    assert (warp.then(warp.inverse()).matrix - torch.eye(3)).abs().max() < 1e-10


def test_affine_warp_samples_where_source_of_says() -> None:
    warp = AffineWarp.about_centre(
        (7, 9),
        rotation=torch.tensor([33.0]),
        scale=torch.tensor([1.3]),
        shear=torch.tensor([12.0]),
        translation=torch.tensor([[0.2, -0.3]]),
    )
    image = torch.rand(1, 1, 7, 9, generator=generator(1), dtype=torch.float64)
    warped = warp.warp_images(image)
    for i in range(7):
        for j in range(9):
            x, y = warp.source_of(torch.tensor([[[j + 0.5, i + 0.5]]], dtype=torch.float64))[0, 0].tolist()
            assert warped[0, 0, i, j].item() == pytest.approx(
                bilinear_at(image[0, 0].numpy(), x, y), abs=1e-9
            )


def test_affine_rotation_equals_torchs_grid_in_a_square() -> None:
    angle = 25.0
    image = torch.rand(1, 3, 32, 32, generator=generator(2), dtype=torch.float64)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Backward: first undo the shift, then turn the other way.
    linear = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    shift = torch.tensor([0.25, -0.5], dtype=torch.float64)
    theta = torch.cat([linear, -(linear @ shift)[:, None]], 1)[None]
    grid = F.affine_grid(theta, [1, 3, 32, 32], align_corners=False)
    expected = F.grid_sample(image, grid, align_corners=False)
    warp = AffineWarp.about_centre((32, 32), rotation=torch.tensor([angle]), translation=shift[None])
    assert (warp.warp_images(image) - expected).abs().max() < 1e-12


def test_quarter_turns_flips_and_crops_are_exact() -> None:
    image = torch.rand(2, 3, 8, 8, generator=generator(3), dtype=torch.float64)
    turned = AffineWarp.about_centre((8, 8), rotation=torch.tensor([90.0, 90.0])).warp_images(image)
    assert (turned - torch.rot90(image, -1, (-2, -1))).abs().max() < 1e-12
    flipped = AffineWarp.horizontal_flip(torch.tensor([True, False]), (8, 8))
    assert (flipped.warp_images(image) - torch.stack([image[0].flip(-1), image[1]])).abs().max() < 1e-12
    assert flipped.move_points(torch.tensor([[[1.0, 3.0]], [[1.0, 3.0]]])).tolist() == [
        [[7.0, 3.0]],
        [[1.0, 3.0]],
    ]
    boxes = torch.tensor([[2.0, 1.0, 7.0, 5.0], [0.0, 4.0, 5.0, 8.0]])
    cut = AffineWarp.crop_resize(boxes, (8, 8), (4, 5)).warp_images(image)
    assert (cut - torch.stack([image[0, :, 1:5, 2:7], image[1, :, 4:8, 0:5]])).abs().max() < 1e-12


def test_resizing_by_a_crop_of_everything_equals_interpolate() -> None:
    image = torch.rand(1, 2, 6, 9, generator=generator(4), dtype=torch.float64)
    warp = AffineWarp.crop_resize(torch.tensor([[0.0, 0.0, 9.0, 6.0]]), (6, 9), (15, 13))
    expected = F.interpolate(image, (15, 13), mode="bilinear", align_corners=False)
    assert (warp.warp_images(image, padding="border") - expected).abs().max() < 1e-12


def test_affine_moves_a_blob_to_where_the_point_goes() -> None:
    warp = AffineWarp.about_centre(
        (60, 80),
        rotation=torch.tensor([30.0]),
        scale=torch.tensor([1.2]),
        translation=torch.tensor([[0.1, 0.05]]),
    )
    point = torch.tensor([33.3, 37.1], dtype=torch.float64)
    warped = warp.warp_images(blob((60, 80), point, sigma=2.5))
    assert (centroid(warped) - warp.move_points(point[None, None])[0, 0]).norm() < 0.01


def test_affine_translation_is_in_halves_of_the_image() -> None:
    warp = AffineWarp.about_centre((10, 30), translation=torch.tensor([[1.0, -1.0]]))
    assert warp.move_points(torch.tensor([[[15.0, 5.0]]])).tolist() == [[[30.0, 0.0]]]


def test_affine_mistakes_are_explained() -> None:
    with pytest.raises(BenchError, match="one batch size"):
        AffineWarp.about_centre((8, 8))
    with pytest.raises(BenchError, match="one batch size"):
        AffineWarp.about_centre((8, 8), rotation=torch.zeros(2), scale=torch.ones(3))
    with pytest.raises(BenchError, match="positive"):
        AffineWarp.about_centre((8, 8), scale=torch.zeros(1))
    with pytest.raises(BenchError, match="x1 > x0"):
        AffineWarp.crop_resize(torch.tensor([[3.0, 3.0, 3.0, 5.0]]), (8, 8), (4, 4))
    with pytest.raises(BenchError, match="cannot be followed by"):
        AffineWarp.identity(1, (8, 8)).then(AffineWarp.identity(1, (9, 8)))
    with pytest.raises(BenchError, match="expected 1 images"):
        AffineWarp.identity(1, (8, 8)).warp_images(torch.zeros(1, 3, 8, 9))
    with pytest.raises(BenchError, match=r"\(B, 3, 3\)"):
        AffineWarp(torch.eye(3), (8, 8), (8, 8))


# --- thin-plate splines: definition and properties --------------------------------------------------------


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


# --- thin-plate splines: the released code's numbers ------------------------------------------------------


@pytest.mark.parametrize("name", ["dve/b_tps.npz", "contrast/f_tps.npz"])
def test_golden_random_weights(name: str) -> None:
    stored = golden(name)
    drawn = [key for key in stored if key.startswith("rand_") and "_seed" in key]
    assert len(drawn) >= 4
    for key in drawn:
        kind, seed = key.removeprefix("rand_").split("_seed")
        strength = TPSStrength(*stored[f"rand_args_{kind}"][1:].tolist())
        weights = TPSWarp.draw(1, strength, generator(int(seed))).weights[0]
        assert np.abs(weights.numpy() - stored[key]).max() < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_golden_training_pair(seed: int) -> None:
    stored = golden("dve/b_tps.npz")
    stream = generator(seed)
    first = TPSWarp.draw(1, TRAINING, stream, multiplier=0.5)
    second = TPSWarp.draw(1, TRAINING, stream)
    weights = torch.cat([first.weights, second.weights])
    assert np.abs(weights.numpy() - stored[f"call_seed{seed}_w"]).max() < 1e-6
    grid = normalised(second.source_map((100, 100), margin=15), 70, 70)[0, ::5, ::5]
    assert np.abs(grid - stored[f"call_seed{seed}_grid_s5"]).max() < 5e-5


def normalised(places: Tensor, height: int, width: int) -> np.ndarray[Any, Any]:
    return (2 * (places - 0.5) / torch.tensor([width - 1, height - 1]) - 1).numpy()


def zero_based(points: Tensor, crop: int) -> np.ndarray[Any, Any]:
    return (points[0] - 0.5 - crop).numpy()


@pytest.mark.parametrize("tag", ["p100", "p136"])
def test_golden_dve_warps(tag: str) -> None:
    stored = golden("dve/b_tps.npz")
    height, width, crop = (int(v) for v in stored[f"{tag}__HWcrop"])
    inside = (slice(None), slice(crop, height - crop), slice(crop, width - crop))
    first, second = warp_of(stored[f"{tag}__w1"]), warp_of(stored[f"{tag}__w2"])
    for warp, key in ((first, "grid1"), (second, "grid2")):
        grid = warp.grid(height, width)[0, ::4, ::4].numpy()
        assert np.abs(grid - stored[f"{tag}__{key}_full_s4"]).max() < 2e-5
    images = torch.from_numpy(stored[f"{tag}__image"])[None]
    pair = warp_pair(images, first, second)
    assert np.abs(pair.more_warped[0].numpy()[inside] - stored[f"{tag}__out_im1"]).max() < 2e-2
    assert np.abs(pair.less_warped[0].numpy()[inside] - stored[f"{tag}__out_im2"]).max() < 2e-2

    places = second.source_map((height, width), margin=crop)
    rows, columns = height - 2 * crop, width - 2 * crop
    assert np.abs(normalised(places, rows, columns)[0] - stored[f"{tag}__out_grid"]).max() < 5e-5
    here = TPSWarp.identity(1).source_map((height, width), margin=crop)
    assert np.abs((places - here)[0, ::2, ::2].numpy() - stored[f"{tag}__out_flow"]).max() < 2e-3

    points = torch.from_numpy(stored[f"{tag}__kps"]).double()[None] + 0.5
    once = first.move_points_to_nearest_node(points, (height, width))
    twice = second.move_points_to_nearest_node(once, (height, width))
    assert np.abs(zero_based(twice, crop) - stored[f"{tag}__out_kp1"]).max() < 2e-6
    assert np.abs(zero_based(once, crop) - stored[f"{tag}__out_kp2"]).max() < 2e-6

    single = warp_of(stored[f"{tag}__single_w"])
    warped = single.warp_images(images)[0].numpy()[inside]
    assert np.abs(warped - stored[f"{tag}__single_im"]).max() < 2e-2
    moved = single.move_points_to_nearest_node(points, (height, width))
    assert np.abs(zero_based(moved, crop) - stored[f"{tag}__single_kp"]).max() < 2e-6


@pytest.mark.parametrize("tag", ["p136", "p60x48"])
def test_golden_contrast_warps(tag: str) -> None:
    stored = golden("contrast/f_tps.npz")
    height, width, crop = (int(v) for v in stored[f"{tag}__HWcrop"])
    size = (height, width)
    inside = (slice(None), slice(crop, height - crop, 2), slice(crop, width - crop, 2))
    images = torch.from_numpy(stored[f"{tag}__image_u8"]).float()[None]
    points = torch.from_numpy(stored[f"{tag}__kps"]).double()[None] + 0.5
    for kind in ("single0", "single1"):
        warp = warp_of(stored[f"{tag}__{kind}_w"])
        grid = warp.grid(*size)[0, ::4, ::4].numpy()
        assert np.abs(grid - stored[f"{tag}__{kind}_grid_s4"]).max() < 2e-5
        assert np.abs(warp.warp_images(images)[0].numpy()[inside] - stored[f"{tag}__{kind}_im"]).max() < 2e-2
        moved = zero_based(warp.move_points_to_nearest_node(points, size), crop)
        assert np.abs(moved - stored[f"{tag}__{kind}_kp"]).max() < 2e-5

    first, second = warp_of(stored[f"{tag}__pair_w1"]), warp_of(stored[f"{tag}__pair_w2"])
    pair = warp_pair(images, first, second)
    assert np.abs(pair.more_warped[0].numpy()[inside] - stored[f"{tag}__pair_im_first"]).max() < 2e-2
    assert np.abs(pair.less_warped[0].numpy()[inside] - stored[f"{tag}__pair_im_second"]).max() < 2e-2
    once = first.move_points_to_nearest_node(points, size)
    twice = second.move_points_to_nearest_node(once, size)
    assert np.abs(zero_based(once, crop) - stored[f"{tag}__pair_kp_second"]).max() < 2e-5
    assert np.abs(zero_based(twice, crop) - stored[f"{tag}__pair_kp_first"]).max() < 2e-5
    places = second.source_map(size, margin=crop)
    grid = normalised(places, height - 2 * crop, width - 2 * crop)[0, ::3, ::3]
    assert np.abs(grid - stored[f"{tag}__pair_grid"]).max() < 5e-5
    flow = (places - TPSWarp.identity(1).source_map(size, margin=crop))[0, ::3, ::3]
    assert np.abs(flow.numpy() - stored[f"{tag}__pair_flow"]).max() < 2e-3
