"""The points that matching compares: annotated landmarks, or spots of a rendered surface, in both images of a pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.geometry import TPSWarp
from bench.loading import LoadedSplit
from bench.seeds import numpy_generator
from protocols.pairs.warped_pairs import Pairs, PairWarps, Views


class PairPoints(NamedTuple):
    """Points of P pairs, in pixels of the warped and cropped images.

    Shapes:
        queries: (P, K, 2), float64, of the source.
        targets: (P, 2, K, 2), float64, the same spots of the *same* and the *different* target.
        target_visible: (P, 2, K), bool, whether the target shows them.
        counted: (P, 2, K), bool, whether both images show them; anything may stand elsewhere.
    """

    queries: Tensor
    targets: Tensor
    target_visible: Tensor
    counted: Tensor


def landmark_points(split: LoadedSplit, pairs: Pairs, views: Views) -> PairPoints:
    """The annotated landmarks, moved to the nearest pixel as in the released code.

    They count where they are visible in both images, even where a warp has moved them out of the crop.
    """
    first, second = split.visible[list(pairs.first)], split.visible[list(pairs.second)]
    target_visible = torch.stack([first, second], 1)
    targets = torch.stack([views.same.points, views.different.points], 1)
    return PairPoints(views.source.points, targets, target_visible, target_visible & first[:, None])


def surface_points(
    split: LoadedSplit, pairs: Pairs, warps: PairWarps, count: int, seed: int, first_pair: int
) -> PairPoints:
    """Pixels of the source's surface, drawn for each pair, and the exact places of the same spots in the targets.

    They count where both crops show them: of the *same* target all do that no warp has moved out, of the *different*
    one those that neither its pose nor anything before it hides.

    Args:
        count: Points drawn in a source without repetition; all, where its surface covers fewer pixels.
        first_pair: Number of the first of these pairs among all of a run, which decides what is drawn in it.

    Raises:
        BenchError: where the split has no surfaces.
    """
    surfaces = split.surfaces
    if surfaces is None:
        raise BenchError(f"{split.name} has no surface coordinates")
    places = np.zeros((len(pairs), 2, count, 2))
    shown = np.zeros((len(pairs), 2, count), dtype=np.bool_)
    for p, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        whole = surfaces.of(first)
        generator = numpy_generator(seed, "matching", "surface", first_pair + p)
        drawn = whole.take(generator.permutation(len(whole.pixel))[:count])
        places[p, 0, : len(drawn.pixel)] = surfaces.placed(drawn.centres, drawn.size)
        shown[p, 0, : len(drawn.pixel)] = True
        found = surfaces.correspondences(drawn, second)
        places[p, 1, found.row] = found.target
        shown[p, 1, found.row] = True
    size = (split.images.shape[-2], split.images.shape[-1])
    side, margin = size[0] - 2 * split.margin, split.margin

    def moved(warp: TPSWarp, points: Tensor) -> tuple[Tensor, Tensor]:
        there, exact = warp.move_points(points, size)
        inside = ((there >= margin) & (there < margin + side)).all(-1)
        return there, exact & inside

    at_first, at_second = torch.from_numpy(places).unbind(1)
    same, same_inside = moved(warps.first, at_first)
    source, source_inside = moved(warps.again, same)
    different, different_inside = moved(warps.second, at_second)
    target_visible = torch.from_numpy(shown) & torch.stack([same_inside, different_inside], 1)
    targets = torch.stack([same, different], 1) - margin
    return PairPoints(source - margin, targets, target_visible, target_visible & source_inside[:, None])
