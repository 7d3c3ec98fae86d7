"""Random affine and elastic deformations of images, and locations that correspond through them.

Every random number comes from one CPU generator in a fixed order, so that a step's warps depend on its seed alone.

Reference: Rahaman et al., Pretrained equivariant features improve unsupervised landmark discovery, 2021, section 4.1,
which names affine transformations, crop and zoom, and elastic deformations, without their ranges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.geometry import TPSWarp


@dataclass(frozen=True)
class Deformation:
    """Ranges of a random warp; the defaults leave an image as it is.

    Attributes:
        rotation, shear: Largest angles in degrees, either way.
        zoom: Largest enlargement; the smallest is its reciprocal.
        translation: Largest shift along either axis, in half images.
        elastic: Standard deviation of the radial weights of the thin-plate spline.
    """

    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 1.0
    translation: float = 0.0
    elastic: float = 0.0


def random_warps(count: int, deformation: Deformation, generator: torch.Generator) -> TPSWarp:
    """Warps of square images, one per image: a random affine map about the centre plus a random radial field."""

    def uniform(largest: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1) * largest

    angle = torch.deg2rad(uniform(deformation.rotation))
    slant = torch.deg2rad(uniform(deformation.shear)).tan()
    # What is enlarged comes from a smaller part of the source.
    extent = torch.exp(uniform(math.log(deformation.zoom)))
    shift = torch.stack([uniform(deformation.translation), uniform(deformation.translation)], dim=1)
    cosine, sine = angle.cos() * extent, angle.sin() * extent
    weights = TPSWarp.identity(count).weights
    weights[:, -3] = shift
    weights[:, -2] = torch.stack([cosine, sine], dim=1)
    weights[:, -1] = torch.stack([slant * cosine - sine, slant * sine + cosine], dim=1)
    radial = weights[:, :-3]
    radial += torch.randn(radial.shape, generator=generator, dtype=torch.float64) * deformation.elastic
    return TPSWarp(weights)


def corresponding_points(
    warps: TPSWarp, size: tuple[int, int], count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random pairs of a location in the source image and the place in the warped image that shows it. Exact.

    The places in the warped image are different pixel centres whose sources lie inside the source image; the sources
    are where the warp's backward map says, between the pixels. Where a warp leaves fewer than ``count`` such pixels
    in one of the images, all images get as few.

    Shapes:
        size: (H, W) of both images.  returns: source and warped points, (B, N, 2) each, float32, N <= ``count``.

    Raises:
        BenchError: where a warped image shows nothing of its source.
    """
    height, width = size
    sources = warps.source_map(size).flatten(1, 2)
    inside = ((sources >= 0) & (sources <= sources.new_tensor([width, height]))).all(dim=2)
    order = torch.rand(len(warps), height * width, generator=generator).to(inside.device)
    shown = min(count, int(inside.sum(dim=1).min()))
    if shown == 0:
        raise BenchError(
            "a random warp moved a whole image out of its frame",
            hint="Weaken the recipe's warps: zoom, translation, shear or elastic.",
        )
    chosen = order.masked_fill(~inside, -1).topk(shown, dim=1).indices
    warped = torch.stack([chosen % width + 0.5, chosen // width + 0.5], dim=2)
    return sources.gather(1, chosen[..., None].expand(-1, -1, 2)).float(), warped.float()


def sample_features(features: Tensor, points: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Features at points of the image, bilinear between the centres of the cells, clamped at the border.

    What ``FeatureMap.sample`` gives for one level, from four neighbours only and with their gradient.

    Shapes:
        features: (B, C, h, w).  points: (B, N, 2), pixels.  returns: (B, N, C), float32.
    """
    grid = points * points.new_tensor([2 / image_size[1], 2 / image_size[0]]) - 1
    sampled = F.grid_sample(
        features.float(),
        grid[:, :, None].float(),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.squeeze(3).mT
