"""Affine warps of images and points, against naive loops and torch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench.errors import BenchError
from bench.geometry import (
    AffineWarp,
)
from tests.bench.blobs import bilinear_at, blob, centroid

FEW = settings(max_examples=20, deadline=None)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
