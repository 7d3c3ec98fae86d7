"""The pairs of images that landmark matching compares: who is paired with whom, and how they are warped.

Reference: the evaluation of Thewlis et al., ICCV 2019 (released code), also that of Cheng et al., ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.geometry import MATCHING, TPSWarp, warp_pair
from bench.loading import LoadedSplit

Pairing = Literal["identity", "consecutive"]


@dataclass(frozen=True)
class Pairs:
    """Indices of images: the source (also the *same* target) and the *different* target of each pair."""

    first: tuple[int, ...]
    second: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, part: slice) -> Pairs:
        return Pairs(self.first[part], self.second[part])


def consecutive_pairs(images: int, count: int) -> Pairs:
    """Images (2k, 2k + 1), at most ``count``; a last odd image is left over."""
    count = min(count, images // 2)
    return Pairs(tuple(range(0, 2 * count, 2)), tuple(range(1, 2 * count, 2)))


def identity_pairs(
    identities: Sequence[str | None],
    count: int,
    permutation: np.random.Generator,
    partners: np.random.Generator,
) -> Pairs:
    """Sources in random order without repetition, each with a random image of another individual.

    An image without identity counts as an individual of its own. Where all images show one individual there
    are no pairs. The first pairs are the same whatever ``count`` is.
    """
    individuals = [f"name {name}" if name is not None else f"image {i}" for i, name in enumerate(identities)]
    _, individual = np.unique(np.array(individuals), return_inverse=True)
    # Sorted by individual, the images of others are everything before and after one block.
    order = np.argsort(individual, kind="stable")
    blocks = np.searchsorted(individual[order], np.arange(individual.max() + 2))
    first: list[int] = []
    second: list[int] = []
    for image in permutation.permutation(len(identities))[:count]:
        start, stop = blocks[individual[image]], blocks[individual[image] + 1]
        choices = len(order) - (stop - start)
        if choices == 0:
            continue
        place = int(partners.integers(choices))
        first.append(int(image))
        second.append(int(order[place if place < start else place + stop - start]))
    return Pairs(tuple(first), tuple(second))


class PairWarps(NamedTuple):
    """The warps of P pairs: the source sees ``first``, then ``again``; the same target sees ``first``."""

    first: TPSWarp
    again: TPSWarp
    second: TPSWarp

    def part(self, part: slice) -> PairWarps:
        return PairWarps(self.first[part], self.again[part], self.second[part])


def draw_pair_warps(count: int, generator: torch.Generator) -> PairWarps:
    """Warps of matching strength, from the stream in the released code's order.

    That code draws two warps for either image and never uses the second one of the second image.
    """
    drawn = TPSWarp.draw(4 * count, MATCHING, generator)
    return PairWarps(drawn[0::4], drawn[1::4], drawn[2::4])


class View(NamedTuple):
    """Warped and cropped images with their landmarks.

    Shapes:
        images: (P, 3, s, s), uint8.  points: (P, K, 2), float64, pixels of ``images``, corner origin.
    """

    images: Tensor
    points: Tensor


class Views(NamedTuple):
    """What a matcher sees of P pairs."""

    source: View
    same: View
    different: View


def warped_views(split: LoadedSplit, pairs: Pairs, warps: PairWarps) -> Views:
    """Warp the working frames, move landmarks to the nearest pixel, crop the margin, truncate to bytes."""
    first, second = split.take(list(pairs.first)), split.take(list(pairs.second))
    height, width = split.images.shape[-2:]
    size = (height, width)
    more, less = warp_pair(first.images.float(), warps.first, warps.again)
    other = warps.second.warp_images(second.images.float())
    once = warps.first.move_points_to_nearest_node(first.points, size)
    twice = warps.again.move_points_to_nearest_node(once, size)
    moved = warps.second.move_points_to_nearest_node(second.points, size)
    margin = split.margin
    inside = (..., slice(margin, height - margin), slice(margin, width - margin))
    return Views(
        *(
            View(images[inside].clamp(0, 255).to(torch.uint8), points - margin)
            for images, points in ((more, twice), (less, once), (other, moved))
        )
    )
