"""Elastic warps, against SciPy's splines, naive loops and exact quarter turns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from torch import Tensor

from bench.errors import BenchError
from bench.geometry import AffineWarp
from bench.geometry.elastic import STEEPEST, ElasticWarp

FEW = settings(max_examples=15, deadline=None)
SIZE = (24, 40)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(
    count: int = 3, *, seed: int = 0, rotation: float = 30, elastic: float = 0.4, cells: int = 4
) -> ElasticWarp:
    return ElasticWarp.draw(count, generator(seed), rotation=rotation, elastic=elastic, cells=cells)


def points_around(count: int, size: tuple[int, int], seed: int = 1) -> Tensor:
    """Inside the frame and half a frame around it."""
    extent = torch.tensor([size[1], size[0]], dtype=torch.float64)
    return (2 * torch.rand(count, 50, 2, generator=generator(seed), dtype=torch.float64) - 0.5) * extent


def displacement_by_scipy(warp: ElasticWarp, which: int, place: list[float]) -> list[float]:
    """u at one point, in pixels: a tensor product of SciPy's uniform cubic B-splines over the clamped frame."""
    cells, size, (x, y) = warp.cells, SIZE, place
    knots = np.arange(-3, cells + 4, dtype=float)

    def weights(position: float, extent: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        at = min(max(position / extent * cells, 0), cells)
        # SciPy leaves the last knot out of the last cell.
        at = min(at, np.nextafter(cells, 0))
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = BSpline.design_matrix([at], knots, 3).toarray()[
            0
        ]
        return found

    control = warp.displacement[which].numpy()
    lattice = [float(weights(y, size[0]) @ control[axis] @ weights(x, size[1])) for axis in (0, 1)]
    return [lattice[0] * size[1] / cells, lattice[1] * size[0] / cells]


# --- the backward map -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [1, 4, 7])
def test_displacements_are_a_cubic_b_spline(cells: int) -> None:
    warp = drawn(2, rotation=0, cells=cells)
    points = points_around(2, SIZE)
    moved = warp.source_of(points, SIZE) - points
    for which in range(2):
        for place, found in zip(points[which].tolist(), moved[which].tolist(), strict=True):
            assert found == pytest.approx(displacement_by_scipy(warp, which, place), abs=1e-9)


def test_the_source_is_displaced_then_turned_back() -> None:
    warp, points = drawn(), points_around(3, SIZE)
    elastic_only = ElasticWarp(torch.zeros_like(warp.rotation), warp.displacement)
    back = AffineWarp.about_centre(SIZE, rotation=-warp.rotation)
    expected = back.move_points(elastic_only.source_of(points, SIZE))
    assert (warp.source_of(points, SIZE) - expected).abs().max() < 1e-10


def test_images_show_at_each_pixel_what_source_of_says() -> None:
    """A picture of its own coordinates, far from the black outside, is read exactly by bilinear interpolation."""
    size = (60, 80)
    y, x = torch.meshgrid(torch.arange(60) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    picture = torch.stack([x, y]).double().expand(2, -1, -1, -1)
    warp = drawn(2, elastic=0.3)
    warped = warp.warp_images(picture)
    centres = torch.stack([x, y], -1).double().flatten(0, 1).expand(2, -1, -1)
    sources = warp.source_of(centres, size).reshape(2, 60, 80, 2).permute(0, 3, 1, 2)
    extent = torch.tensor([80.0, 60.0])[:, None, None]
    inside = ((sources > 0.5) & (sources < extent - 0.5)).all(1)
    assert inside.double().mean() > 0.5
    assert ((warped - sources).abs().amax(1)[inside]).max() < 1e-9
    beyond = ((sources < -0.5) | (sources > extent + 0.5)).any(1)
    assert beyond.any()
    assert (warped.abs().amax(1)[beyond]).max() == 0


# --- the forward map --------------------------------------------------------------------------------------


@FEW
@given(
    seed=st.integers(0, 2**31),
    rotation=st.floats(0, 180),
    elastic=st.floats(0, 0.48),
    cells=st.integers(1, 9),
)
def test_moving_points_inverts_source_of(seed: int, rotation: float, elastic: float, cells: int) -> None:
    warp = drawn(2, seed=seed, rotation=rotation, elastic=elastic, cells=cells)
    points = points_around(2, SIZE, seed)
    assert (warp.source_of(warp.move_points(points, SIZE), SIZE) - points).abs().max() < 1e-7
    assert (warp.move_points(warp.source_of(points, SIZE), SIZE) - points).abs().max() < 1e-7


def test_the_strongest_warp_is_inverted_too() -> None:
    """Control points pull apart as far as they may."""
    signs = 2 * ((torch.arange(7)[:, None] + torch.arange(7)) % 2).double() - 1
    displacement = (signs * 0.4886).expand(1, 2, -1, -1)
    warp, points = ElasticWarp(torch.zeros(1, dtype=torch.float64), displacement), points_around(1, SIZE)
    assert (warp.source_of(warp.move_points(points, SIZE), SIZE) - points).abs().max() < 1e-7


@FEW
@given(seed=st.integers(0, 2**31), x=st.floats(18, 46), y=st.floats(18, 46))
def test_a_blob_moves_as_its_centre(seed: int, x: float, y: float) -> None:
    side = 64
    warp = drawn(1, seed=seed, rotation=40, elastic=0.3)
    grid = torch.arange(side, dtype=torch.float64) + 0.5
    blob = torch.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * 1.5**2))[None, None]
    warped = warp.warp_images(blob)[0, 0]
    mass = warped / warped.sum()
    centroid = torch.stack([(mass.sum(0) * grid).sum(), (mass.sum(1) * grid).sum()])
    expected = warp.move_points(torch.tensor([[[x, y]]], dtype=torch.float64), (side, side))[0, 0]
    # The local stretch of the warp shifts the centroid a little from the image of the centre.
    assert (centroid - expected).norm() < 0.3


def test_identity_and_quarter_turns_are_exact() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=generator(3)).float()
    points = points_around(4, (32, 32))
    still = ElasticWarp.identity(4)
    assert torch.equal(still.warp_images(images).round(), images)
    assert (still.move_points(points, (32, 32)) - points).abs().max() < 1e-12
    angles = torch.tensor([0.0, 90.0, 180.0, 270.0], dtype=torch.float64)
    turned = ElasticWarp(angles, still.displacement)
    expected = torch.stack([torch.rot90(image, -turns, (-2, -1)) for turns, image in enumerate(images)])
    assert torch.equal(turned.warp_images(images).round(), expected)
    corner = torch.tensor([[[1.5, 0.5]]], dtype=torch.float64).expand(4, 1, 2)
    moved = turned.move_points(corner, (32, 32))[:, 0]
    by_hand = torch.tensor([[1.5, 0.5], [31.5, 1.5], [30.5, 31.5], [0.5, 30.5]], dtype=torch.float64)
    assert (moved - by_hand).abs().max() < 1e-12


# --- drawing ----------------------------------------------------------------------------------------------


def test_few_warps_are_the_first_of_many() -> None:
    few, many = drawn(3), drawn(50)
    assert torch.equal(few.rotation, many[:3].rotation)
    assert torch.equal(few.displacement, many[:3].displacement)
    assert torch.equal(many[[4, 1]].rotation, many.rotation[[4, 1]])
    assert not torch.equal(drawn(3, seed=1).rotation, few.rotation)


def test_draws_fill_their_ranges_evenly() -> None:
    warp = drawn(3000, rotation=25, elastic=0.2, cells=1)
    for values, largest in ((warp.rotation, 25), (warp.displacement, 0.2)):
        assert values.abs().max() <= largest
        assert float(values.mean()) == pytest.approx(0, abs=0.05 * largest)
        assert float(values.std()) == pytest.approx(largest / math.sqrt(3), rel=0.03)


def test_the_bound_is_that_of_the_steepest_spline() -> None:
    """The supremum over the plane of sum |dB/dx +- dB/dy|, found on a fine grid."""
    t = np.linspace(0, 1, 401)
    value = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6
    slope = np.stack([-3 * (1 - t) ** 2, 9 * t**2 - 12 * t, 3 + 6 * t - 9 * t**2, 3 * t**2]) / 6
    across = np.einsum("ix,jy->xyij", slope, value)
    down = np.einsum("ix,jy->xyij", value, slope)
    largest = max(np.abs(across + sign * down).sum((2, 3)).max() for sign in (-1, 1))
    assert largest == pytest.approx(STEEPEST, abs=1e-5)


def test_what_would_fold_or_does_not_fit_is_refused() -> None:
    with pytest.raises(BenchError, match="can fold the image"):
        ElasticWarp(torch.zeros(1, dtype=torch.float64), torch.full((1, 2, 7, 7), 0.49, dtype=torch.float64))
    with pytest.raises(BenchError, match="can fold the image"):
        ElasticWarp(torch.zeros(1, dtype=torch.float64), torch.full((1, 2, 7, 7), float("nan")))
    with pytest.raises(BenchError, match="elastic warps need"):
        ElasticWarp(torch.zeros(2), torch.zeros(1, 2, 7, 7))
    with pytest.raises(BenchError, match="elastic warps need"):
        ElasticWarp(torch.zeros(1), torch.zeros(1, 2, 3, 3))
    with pytest.raises(BenchError, match="expected 3 float images"):
        drawn(3).warp_images(torch.zeros(3, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(BenchError, match="expected 3 float images, got 2"):
        drawn(3).warp_images(torch.zeros(2, 3, 8, 8))
    assert len(ElasticWarp.identity(0).move_points(torch.zeros(0, 4, 2), SIZE)) == 0
