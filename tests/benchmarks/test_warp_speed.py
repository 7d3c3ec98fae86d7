"""Thin-plate-spline warps of a batch at once, against one image after the other as the released code does."""

from __future__ import annotations

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from bench.geometry import MATCHING, TPSWarp
from bench.geometry.spline import node_coordinates
from tests.benchmarks.pair import Claim, Ways, compare


def _one_image(image: Tensor, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Warp (3, H, W) and move (N, 2): the kernel at every pixel made anew, and a search tree of the pixels' sources."""
    height, width = image.shape[1:]
    side = torch.linspace(-1, 1, 10, dtype=weights.dtype)
    controls = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).reshape(-1, 2)
    x, y = (torch.linspace(-1, 1, n, dtype=weights.dtype) for n in (width, height))
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    squared = (pixels[:, None] - controls).square().sum(2)
    kernel = squared * (squared + 1e-5).log()
    grid = torch.cat([kernel, torch.ones_like(pixels[:, :1]), pixels], dim=1) @ weights
    shaped = grid.reshape(1, height, width, 2).to(image)
    warped = F.grid_sample(image[None], shaped, padding_mode="zeros", align_corners=True)[0]
    sources = (grid + 1) / 2 * grid.new_tensor([width - 1, height - 1]) + 0.5
    nearest = torch.from_numpy(cKDTree(sources.numpy()).query(points.numpy())[1])
    places = node_coordinates(width)[nearest % width], node_coordinates(height)[nearest // width]
    return warped, torch.stack(places, -1)


def _prepare(images: int, side: int) -> Ways:
    generator = torch.Generator().manual_seed(0)
    batch = 255 * torch.rand(images, 3, side, side, generator=generator)
    points = side * torch.rand(images, 5, 2, generator=generator, dtype=torch.float64)
    warps = TPSWarp.draw(images, MATCHING, generator)

    def ours() -> tuple[Tensor, Tensor]:
        return warps.warp_images(batch), warps.move_points_to_nearest_node(points, (side, side))

    def twin() -> tuple[Tensor, Tensor]:
        each = [_one_image(*one) for one in zip(batch, points, warps.weights, strict=True)]
        return torch.stack([image for image, _ in each]), torch.stack([moved for _, moved in each])

    def deviations() -> dict[str, float]:
        (found, moved), (expected, where) = ours(), twin()
        return {
            "grey values of 255": float((found - expected).abs().max()),
            "points, px": float((moved - where).abs().max()),
        }

    return Ways(ours, twin, deviations)


def test_warped_images_and_points(benchmark: BenchmarkFixture) -> None:
    images, side = (32, 136) if benchmark.enabled else (2, 40)
    claim = Claim(
        "Warps",
        "32 images of 136x136 and 5 points each by thin-plate splines",
        "image by image; points by a search tree",
        ratio=2,
        deviations={"grey values of 255": 0.01, "points, px": 0},
        per=images,
    )
    assert compare(benchmark, claim, _prepare, images, side) == []
