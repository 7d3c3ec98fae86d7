"""The copies of few annotated images that a regressor learns from, and their features, read once for all counts.

The support sets of a draw are nested, and copy c of the image at place r is warped alike in every set that has it. A
set of more images has fewer copies of each. So, from the smallest set to the largest, each takes over from the one
before what it shares with it, and only the copies of the images that are new are warped and read: with 1000 copies and
1 to 100 images 3,900 in place of 6,000, of which no more than one set is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from bench.context import RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.geometry import SINGLE, TPSWarp
from bench.loading import LoadedSplit
from bench.seeds import torch_generator


class CopyOptions(Protocol):
    """What this module reads of the protocol's options."""

    @property
    def copies(self) -> int: ...
    @property
    def augment(self) -> bool: ...
    @property
    def keypoint_warp(self) -> Literal["nearest", "exact"]: ...


@dataclass(frozen=True, eq=False)
class _Read:
    """Copies and their features, in one order."""

    split: LoadedSplit
    features: FeatureMap

    def take(self, positions: list[int]) -> _Read:
        return _Read(self.split.take(positions), self.features[positions])


class SupportFeatures:
    """Features of the support sets of one draw.

    In which batches images are read follows from ``counts`` alone, not from where an interrupted run continues.

    Args:
        drawn: The annotated images in the order in which they are drawn, those of the largest set at least.
        counts: Sizes of all sets, increasing.
        seed: Of the draw.
        size: Of the dense map that is wanted.
        what: Names the images in the progress display.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        drawn: LoadedSplit,
        counts: Sequence[int],
        options: CopyOptions,
        run: RunContext,
        *,
        seed: int,
        size: tuple[int, int],
        what: str,
    ) -> None:
        self.extractor, self.drawn, self.options, self.run = extractor, drawn, options, run
        self.counts, self.seed, self.size, self.what = tuple(counts), seed, size, what
        self._last: tuple[int, _Read] | None = None

    def of(self, count: int) -> tuple[LoadedSplit, FeatureMap]:
        """The copies of the first ``count`` images, image by image, and their features.

        Fastest where the counts are asked for in increasing order: what was asked for last is all that is kept.
        """
        each, known = self._each(count), 0
        pieces: list[tuple[Tensor, _Read]] = []
        target = torch.arange(count * each).view(count, each)
        if self._last is not None and self._last[0] <= count:
            known, last = self._last
            before = torch.arange(len(last.split)).view(known, -1)[:, :each]
            pieces.append((target[:known].flatten(), last.take(before.flatten().tolist())))
            del last
        self._last = None
        starts = (0, *(end for end in self.counts if end <= count))
        for first, end in pairwise(starts):
            if first >= known:
                # Copy after copy, so that what a larger set needs is read in the same batches as for a smaller one.
                pieces.append((target[first:end].T.flatten(), self._new(first, end, each)))
        self._last = count, _arranged(pieces)
        return self._last[1].split, self._last[1].features

    @property
    def nbytes(self) -> int:
        """Of the features of the set that was asked for last; 0: of none yet."""
        return 0 if self._last is None else sum(level.nbytes for level in self._last[1].features.levels)

    def _each(self, count: int) -> int:
        return copies_of_each(count, self.options.copies) if self.options.augment else 1

    def _new(self, first: int, end: int, each: int) -> _Read:
        """The first ``each`` copies of the images at places ``first`` to ``end``, copy after copy."""
        places, batch = end - first, self.run.batch_size
        wanted = each * places
        # Whole batches, of those in which all that any set needs of these images is read.
        whole = min(-(-wanted // batch) * batch, self._each(end) * places)
        which = [(first + at % places, at // places) for at in range(whole)]
        if self.options.augment:
            split = warped(self.drawn, which, self.seed, self.options, self.run)
        else:
            split = self.drawn.take([place for place, _ in which]).cropped()
        features = self.run.features(self.extractor, split.images, self.what, self.size)
        read = _Read(split, features)
        return read if whole == wanted else read.take(list(range(wanted)))


def copies_of_each(count: int, copies: int) -> int:
    return max(1, copies // count)


def warped_copies(support: LoadedSplit, seed: int, options: CopyOptions, run: RunContext) -> LoadedSplit:
    """``floor(copies / n)`` copies of each of n images, but at least one; each with its own warp, cropped.

    Args:
        seed: Draws the warps: copy c of the image at place r of the support set depends on (seed, r, c) only.
    """
    each = copies_of_each(len(support), options.copies)
    which = [(place, copy) for place in range(len(support)) for copy in range(each)]
    return warped(support, which, seed, options, run)


def warped(
    support: LoadedSplit,
    which: Sequence[tuple[int, int]],
    seed: int,
    options: CopyOptions,
    run: RunContext,
) -> LoadedSplit:
    """Some copies, each given by the place of its image and its number; see :func:`warped_copies`."""
    numbers: dict[int, int] = {}
    for place, copy in which:
        numbers[place] = max(copy + 1, numbers.get(place, 0))
    drawn = {
        place: TPSWarp.draw(number, SINGLE, torch_generator(seed, "warps", place)).weights
        for place, number in numbers.items()
    }
    warps = TPSWarp(torch.stack([drawn[place][copy] for place, copy in which]))
    tiled = support.take([place for place, _ in which])
    parts = []
    with run.phase("warps"):
        starts = range(0, len(tiled), run.batch_size)
        for start in run.progress.track(starts, "warping support images", len(starts)):
            indices = list(range(start, min(start + run.batch_size, len(tiled))))
            parts.append(_warp(tiled.take(indices), warps[start : start + run.batch_size], options, run))
    images, points, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return _plain([tiled], images, points, visible)


def _warp(
    split: LoadedSplit, warps: TPSWarp, options: CopyOptions, run: RunContext
) -> tuple[Tensor, Tensor, Tensor]:
    warps = warps.to(run.device)
    m, side = split.margin, split.images.shape[-1]
    kept = slice(m, side - m)
    # The conversion to uint8 truncates, as in the released code.
    images = warps.warp_images(split.images.to(run.device).float())[..., kept, kept].to(torch.uint8).cpu()
    points = torch.where(split.visible.unsqueeze(-1), split.points, 0.0).to(run.device)
    visible = split.visible
    if options.keypoint_warp == "nearest":
        moved = warps.move_points_to_nearest_node(points, (side, side))
    else:
        moved, found = warps.move_points(points, (side, side))
        visible = visible & found.cpu()
    return images, (moved - m).to(split.points).cpu(), visible


def _plain(parts: Sequence[LoadedSplit], images: Tensor, points: Tensor, visible: Tensor) -> LoadedSplit:
    """A split with the samples of ``parts``, without what only holds for unwarped images."""
    first = parts[0]
    return LoadedSplit(
        name=first.name,
        fingerprint=first.fingerprint,
        ids=tuple(name for part in parts for name in part.ids),
        identities=tuple(name for part in parts for name in part.identities),
        images=images,
        points=points,
        visible=visible,
        schema=first.schema,
    )


def _arranged(pieces: list[tuple[Tensor, _Read]]) -> _Read:
    """One set of pieces, each with the positions at which its copies stand in the set."""
    if len(pieces) == 1 and torch.equal(pieces[0][0], torch.arange(len(pieces[0][0]))):
        return pieces[0][1]
    splits = [read.split for _, read in pieces]
    images, points, visible = (
        torch.cat(tensors) for tensors in zip(*((s.images, s.points, s.visible) for s in splits), strict=True)
    )
    positions = torch.cat([at for at, _ in pieces])
    split = _plain(splits, images, points, visible).take(positions.argsort().tolist())
    # Written in place: joined and then reordered, the features would be in memory three times.
    one = pieces[0][1].features
    levels = tuple(level.new_empty(len(split), *level.shape[1:]) for level in one.levels)
    for at, read in pieces:
        for into, level in zip(levels, read.features.levels, strict=True):
            into[at.to(into.device)] = level
    return _Read(split, replace(one, levels=levels))
