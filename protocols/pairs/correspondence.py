"""Nearest-descriptor correspondence: where in a target image is what lies at a point of a source image?

Reference: the matching evaluation of Thewlis et al., ICCV 2019, and Cheng et al., ICCV 2021 (released code).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureMap

Cells = Literal["centred", "strided"]
"""Where the cells of a map of side n lie in an image of side s: cell j is centred at (j + 0.5) s / n or, as
in the released DVE code, on the centre of pixel j s / n. The two agree where n = s."""

_TIE = 1e-9
# Similarities held at once: those of some pairs, or all of one.
_ELEMENTS_AT_ONCE = {"cpu": 2**22, "cuda": 2**26}


class Matches(NamedTuple):
    """What :func:`match` finds.

    Shapes:
        points: (B, N, 2), float64, pixels of the target image, corner origin: centres of cells.
        scores: (B, N), float64, similarity of the best cell.
    """

    points: Tensor
    scores: Tensor


def match(source: FeatureMap, points: Tensor, target: FeatureMap, *, cells: Cells = "centred") -> Matches:
    """The cell of the target map that is most similar to the descriptor of the cell nearest to each point.

    The query cell is the point's cell index rounded half to even and clamped to the map. Among equal cells
    the first in row order wins; cells within a relative 1e-9 of the best count as equal, because upsampled
    maps have truly equal cells at their borders. The arithmetic is float64, so that the result does not
    depend on how the work is batched.

    Shapes:
        points: (B, N, 2), pixels of the source images, corner origin; may lie outside.

    Raises:
        BenchError: where the maps differ in batch size or kind.
    """
    if len(source) != len(target) or source.normalisation != target.normalisation:
        got = f"{len(source)} ({source.normalisation}) and {len(target)} ({target.normalisation})"
        raise BenchError(f"matching needs as many source as target maps, of one normalisation; got {got}")
    return find(describe(source, points, cells=cells), target, cells=cells)


def describe(source: FeatureMap, points: Tensor, *, cells: Cells = "centred") -> Tensor:
    """The first half of :func:`match`: descriptors of the cells nearest to the points, (B, N, C).

    Apart, because the points of one source may be sought in several targets.
    """
    source = _precise(source)
    height, width = source.size
    last = torch.tensor([width - 1, height - 1])
    index = _cells_of(points.double().cpu(), source, cells).round().clamp(min=torch.zeros(2), max=last)
    return source.sample(source.centres(index))


def find(descriptors: Tensor, target: FeatureMap, *, cells: Cells = "centred") -> Matches:
    """The second half of :func:`match`: the most similar cells of the target.

    Shapes:
        descriptors: (B, N, C), of :func:`describe`.
    """
    height, width = target.size
    budget = _ELEMENTS_AT_ONCE.get(descriptors.device.type, _ELEMENTS_AT_ONCE["cpu"])
    at_once = max(1, budget // max(1, descriptors.shape[1] * height * width))
    found: list[Tensor] = []
    scores: list[Tensor] = []
    for part, queries in zip(target.split(at_once), descriptors.split(at_once), strict=True):
        similarity = _precise(part).similarity(queries).flatten(2)
        best = similarity.amax(-1, keepdim=True)
        # argmax of booleans: the first cell that is as good as the best.
        found.append((similarity >= best - _TIE * best.abs()).byte().argmax(-1))
        scores.append(best.squeeze(-1))
    cell = torch.cat(found).cpu()
    predicted = _centres_of(torch.stack([cell % width, cell // width], -1).double(), target, cells)
    return Matches(predicted, torch.cat(scores).double().cpu())


def _precise(features: FeatureMap) -> FeatureMap:
    device = features.levels[0].device
    return features.to(dtype=torch.float32 if device.type == "mps" else torch.float64)


def _strides(features: FeatureMap) -> Tensor:
    """Image pixels per cell, (x, y)."""
    (height, width), (rows, columns) = features.image_size, features.size
    return torch.tensor([width / columns, height / rows], dtype=torch.float64)


def _cells_of(points: Tensor, features: FeatureMap, cells: Cells) -> Tensor:
    return features.cells(points) if cells == "centred" else (points - 0.5) / _strides(features)


def _centres_of(index: Tensor, features: FeatureMap, cells: Cells) -> Tensor:
    return features.centres(index) if cells == "centred" else index * _strides(features) + 0.5
