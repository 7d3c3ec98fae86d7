"""Pairs of images with their matched points, and the features that matched them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bench.context import Arrays
from bench.features import FeatureMap
from protocols.pairs.warped_pairs import Views
from protocols.pictures.canvas import SEVERAL, Canvas, Picture, Row, sheet

SHOWN = 6
"""Pairs on the pictures: the first ones, which are as good as random."""

_COLUMNS = 2
_SIDE = 168
_MOST_POINTS = 10
_SMALL_SIDE = 112
_GRID = 9  # places of an image along a side that the axes are fitted to
_CUT = (2, 98)  # percentiles that become no and full colour


def draw_pairs(views: Views, arrays: Arrays) -> Picture:
    """Source and target, another individual, side by side; each point in a colour of its own.

    A line goes from the point to where it is found, which is a dot; a ring is where it is.

    Args:
        arrays: As the protocol stores them, of at least as many pairs as there are views.
    """
    cells = []
    for number in range(len(views.source.images)):
        canvas = Canvas([views.source.images[number], views.different.images[number]], _SIDE)
        points = _spread(np.flatnonzero(arrays["counted"][number, 1]))
        named = list(zip(points, SEVERAL * 2, strict=False))
        for point, colour in named:
            query, found = arrays["queries"][number, point], arrays["predicted"][number, 1, point]
            canvas.line(_place(query), _place(found), colour, 1.2, (0, 1))
        for point, colour in named:
            canvas.ring(_place(arrays["targets"][number, 1, point]), colour, 4.4, 1)
        for point, colour in named:
            canvas.dot(_place(arrays["queries"][number, point]), colour, 3.0, 0)
            canvas.dot(_place(arrays["predicted"][number, 1, point]), colour, 3.0, 1)
        cells.append(canvas.picture())
    rows = [Row("", cells[start : start + _COLUMNS]) for start in range(0, len(cells), _COLUMNS)]
    return sheet(rows)


def draw_features(images: Tensor, features: FeatureMap) -> Picture:
    """Images above their features, whose first three principal axes are red, green and blue.

    Axes and colours are fitted to all images together: equal colours are equal features.

    Shapes:
        images: (B, 3, H, W), uint8.
    """
    colours = torch.from_numpy(as_colours(principal_coordinates(features)))
    rows = [
        Row("image", [Canvas([image], _SMALL_SIDE).picture() for image in images]),
        Row("features", [Canvas([map_], _SMALL_SIDE).picture() for map_ in colours]),
    ]
    return sheet(rows)


def principal_coordinates(features: FeatureMap) -> npt.NDArray[np.float32]:
    """Descriptors, as they are compared, along their first three principal axes, up to a constant; (B, 3, H, W).

    The axes are those of descriptors on a regular grid over each image.
    """
    if features.normalisation == "per_level":
        features = features.with_normalisation("joint")
    height, width = features.image_size
    along = (torch.arange(_GRID) + 0.5) / _GRID
    places = torch.stack(torch.meshgrid(along * width, along * height, indexing="xy"), -1).reshape(1, -1, 2)
    sample = features.sample(places.expand(len(features), -1, -1)).float()
    if features.normalisation == "joint":
        sample = nn.functional.normalize(sample, dim=-1)
    rows = sample.flatten(0, 1).double()
    centred = rows - rows.mean(0)
    # The axes lie in the span of the descriptors, of which there are fewer than channels.
    _, directions = torch.linalg.eigh(centred @ centred.T)
    axes = nn.functional.normalize(centred.T @ directions[:, -3:].flip(1), dim=0).T
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = torch.where(largest < 0, -axes, axes).to(features.levels[0])
    axes = nn.functional.pad(axes, (0, 0, 0, 3 - len(axes)))
    found = features.similarity(axes.expand(len(features), -1, -1))
    return np.asarray(found.float().cpu().numpy())


def as_colours(coordinates: npt.NDArray[np.float32]) -> Picture:
    """(B, 3, H, W) -> the same in 0 to 255, scaled alike in all images; grey where nothing differs."""
    low, high = np.percentile(coordinates, _CUT, axis=(0, 2, 3), keepdims=True)
    varied = high - low > 1e-6 * max(float(np.abs(coordinates).max()), 1e-30)
    scaled = np.where(varied, (coordinates - low) / np.where(varied, high - low, 1.0), 0.5)
    return np.asarray((255 * scaled.clip(0, 1)).round(), dtype=np.uint8)


def _spread(points: npt.NDArray[np.intp]) -> list[int]:
    """At most so many of the points, evenly spread over their order."""
    count = min(len(points), _MOST_POINTS)
    return [int(points[i * len(points) // count]) for i in range(count)]


def _place(point: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(point[0]), float(point[1])
