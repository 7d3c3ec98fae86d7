"""Checks of where features lie: shifts, receptive fields, landmarks."""

from __future__ import annotations

import copy
import math
from unittest import SkipTest

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.seeds import torch_generator
from bench.testing.subject import Subject, difference, require, rounded_up

PRECISE_TOLERANCE = 1e-10
"""Of the largest value, in float64, whose roundings stay below 1e-13. What a distant pixel adds to a deep network's
features can be a millionth of them and would drown in float32's roundings."""

SINGLE_TOLERANCE = 1e-5
"""Of the largest value, for networks that compute in float32 whatever they are given."""

LANDMARK_TOLERANCE_PX = 0.01
"""Landmarks are averages over cells, whose weights carry float32's roundings."""

OUTSIDE = 0.1
"""A landmark may lie outside of the image by this part of its side."""

_MARGIN = 64
"""Pixels of an image beyond the reach of a cell in its corner."""

_LARGEST_SIDE = 768
"""Larger images would take minutes in float64."""


def shift_equivariance(subject: Subject) -> None:
    """Where ``shift_period`` is promised: an image moved by that many pixels gives the features moved as far, at cells
    whose receptive field stays inside."""
    network = subject.build()
    period, radius = network.shift_period, network.receptive_radius
    if period is None:
        raise SkipTest("the network promises no shift_period")
    require(
        radius is not None and period > 0,
        got=f"shift_period {period} with receptive_radius {radius}",
        expected="a positive period, and the radius that tells at which cells the promise holds",
        remedy="derive receptive_radius from kernels, dilations and strides, or promise no shift_period",
    )
    assert radius is not None
    down, right = period, 2 * period
    side = rounded_up(2 * radius + 5 * period, math.lcm(network.stride, period))
    network, tolerance = _precise(network, _affordable(side))
    scene = _noise(1, (side + down, side + right))
    here, there = scene[..., :side, :side], scene[..., down:, right:]
    both = network.extract(torch.cat([here, there]))
    for number, level in enumerate(both.levels):
        rows, columns = level.shape[-2:]
        moved = down * rows / side, right * columns / side
        require(
            moved[0].is_integer() and moved[1].is_integer(),
            got=f"level {number} has {rows}x{columns} cells for {side}x{side} pixels: a shift by {down} and {right} "
            f"pixels is one by {moved[0]:g} and {moved[1]:g} cells",
            expected="whole cells at every level",
            remedy="make shift_period a multiple of the coarsest level's stride",
        )
        i, j = (_inside(cells, side, radius) for cells in (rows, columns))
        di, dj = int(moved[0]), int(moved[1])
        before = level[0, :, i.start + di : i.stop, j.start + dj : j.stop]
        after = level[1, :, i.start : i.stop - di, j.start : j.stop - dj]
        gap = difference(before, after)
        require(
            gap <= tolerance,
            got=f"level {number} differs by {gap:.2g} of the largest value from itself moved by {(di, dj)} cells, "
            f"although everything within {radius} pixels is the same",
            expected=f"at most {tolerance:g}",
            remedy="enlarge shift_period to the product of all strides, enlarge receptive_radius, or promise neither "
            "(global pooling and normalisation over the image break it)",
        )


def receptive_radius(subject: Subject) -> None:
    """Where ``receptive_radius`` is promised: pixels farther than that from a cell's centre do not change the cell."""
    network = subject.build()
    radius = network.receptive_radius
    if radius is None:
        raise SkipTest("the network promises no receptive_radius")
    side = rounded_up(radius + _MARGIN, math.lcm(network.stride, network.shift_period or 1))
    network, tolerance = _precise(network, _affordable(side))
    image, other = _noise(2, (side, side)).split(1)
    before = network.extract(image)
    centres = torch.arange(side) + 0.5
    for number, level in enumerate(before.levels):
        rows, columns = level.shape[-2:]
        # The one sees what lies too far to the right and below, the other to the left and above.
        for i, j in ((0, 0), (rows - 1, columns - 1)):
            y, x = (i + 0.5) * side / rows, (j + 0.5) * side / columns
            near = ((centres - y).abs() <= radius)[:, None] & ((centres - x).abs() <= radius)
            after = network.extract(torch.where(near, image, other)).levels[number]
            gap = difference(level[0, :, i, j], after[0, :, i, j])
            require(
                gap <= tolerance,
                got=f"cell ({i}, {j}) of level {number} changes by {gap:.2g} of its largest value with pixels farther "
                f"than {radius} pixels (in x or in y) from its centre ({x:g}, {y:g})",
                expected=f"at most {tolerance:g}",
                remedy="enlarge receptive_radius; mind that a cell's centre is ((j + 0.5) * W / w, (i + 0.5) * H / h), "
                "and leave it None where something is pooled over the whole image",
            )


def landmarks(subject: Subject) -> None:
    """With the capability: ``landmarks`` gives (B, K, 2), (x, y) in pixels inside the image, each image on its own;
    without: a BenchError."""
    network = subject.build()
    if "landmarks" not in network.capabilities:
        _require_no_landmarks(network, subject.images(2).float() / 255)
        return
    count: int | None = None
    for size in subject.image_sizes:
        images = subject.images(3, size).float() / 255
        points = _landmarks(network, images)
        require(
            points.ndim == 3
            and len(points) == 3
            and points.shape[2] == 2
            and count in (None, points.shape[1]),
            got=f"landmarks of shape {tuple(points.shape)} for 3 images of {size[0]}x{size[1]}",
            expected=f"(3, {'K' if count is None else count}, 2), with K the same for every size",
            remedy="give one (x, y) for each landmark",
        )
        count = points.shape[1]
        _require_inside(points, size)
        alone = torch.cat([_landmarks(network, image[None]) for image in images])
        gap = float((points - alone).abs().max())
        require(
            gap <= LANDMARK_TOLERANCE_PX,
            got=f"landmarks of an image alone lie {gap:.3g} pixels from those in a batch",
            expected=f"at most {LANDMARK_TOLERANCE_PX:g} pixels",
            remedy="find the landmarks of each image on its own, in evaluation mode",
        )


def _require_no_landmarks(network: FeatureExtractor, images: Tensor) -> None:
    try:
        network.landmarks(images)
    except BenchError:
        return
    require(
        False,
        got="landmarks from a network whose capabilities are " + ", ".join(sorted(network.capabilities)),
        expected="a BenchError, or the capability 'landmarks'",
        remedy='set capabilities = frozenset({"dense", "landmarks"})',
    )


def _require_inside(points: Tensor, size: tuple[int, int]) -> None:
    height, width = size
    spread = (
        f"x from {points[..., 0].min():.3g} to {points[..., 0].max():.3g}, "
        f"y from {points[..., 1].min():.3g} to {points[..., 1].max():.3g} in an image {width} wide and {height} high"
    )
    limits = points.new_tensor([width, height])
    inside = points.isfinite() & (points >= -OUTSIDE * limits) & (points <= (1 + OUTSIDE) * limits)
    require(
        bool(inside.all()),
        got=spread,
        expected="finite points inside the image",
        remedy="give (x, y), in this order, in pixels of the input image",
    )
    require(
        bool(points.abs().max() > 2),
        got=spread,
        expected="pixels, corner origin; these look like coordinates normalised to [0, 1] or [-1, 1]",
        remedy="scale them by the width and height of the image",
    )


def _landmarks(network: FeatureExtractor, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network.eval().landmarks(images)


def _affordable(side: int) -> int:
    if side > _LARGEST_SIDE:
        raise SkipTest(f"the receptive field needs an image of {side} pixels, more than {_LARGEST_SIDE}")
    return side


def _precise(network: FeatureExtractor, side: int) -> tuple[FeatureExtractor, float]:
    """The network in float64 where it computes in it, and the tolerance of its arithmetic."""
    double = copy.deepcopy(network).double()
    try:
        levels = double.extract(_noise(1, (side, side))).levels
    except (RuntimeError, TypeError):  # a network may hold on to single precision
        levels = ()
    if levels and all(level.dtype == torch.float64 for level in levels):
        return double, PRECISE_TOLERANCE
    return _SinglePrecision(network), SINGLE_TOLERANCE


class _SinglePrecision(FeatureExtractor):
    """Feeds a network with the float32 images that it insists on."""

    def __init__(self, network: FeatureExtractor) -> None:
        super().__init__()
        self.network, self.stride = network, network.stride

    def forward(self, images: Tensor) -> FeatureMap:
        features: FeatureMap = self.network(images.float())
        return features


def _noise(count: int, size: tuple[int, int]) -> Tensor:
    generator = torch_generator(count, "conformance noise")
    return torch.rand(count, 3, *size, dtype=torch.float64, generator=generator)


def _inside(cells: int, side: int, radius: int) -> range:
    """Cells along one side whose receptive field lies inside of the image."""
    pitch = side / cells
    return range(math.ceil(radius / pitch - 0.5), math.floor((side - radius) / pitch - 0.5) + 1)


CHECKS = (shift_equivariance, receptive_radius, landmarks)
