"""Support sets: which annotated images a protocol with few annotations learns from.

A draw is a seeded permutation of the annotated training images, and the support set of n images is its first n, so
that the sets of a draw are nested. Equal seeds draw equal sets, whatever is learned from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays
from bench.errors import BenchError
from bench.loading import LoadedSplit
from bench.seeds import derive_seed, torch_generator
from protocols.annotations import annotated_images

_SAME_IN_EVERY_DRAW = ("counted",)


def draw_seed(root: int, draw: int) -> int:
    """The seed of a draw; the count does not enter it, so that the result of one depends on no other."""
    return derive_seed(root, "fewshot", draw)


def support_order(train: LoadedSplit, seed: int) -> list[int]:
    """The annotated images of ``train`` in the order in which they are drawn."""
    annotated = annotated_images(train)
    order = torch.randperm(len(annotated), generator=torch_generator(seed, "support"))
    return [annotated[int(i)] for i in order]


def increasing(counts: tuple[int, ...]) -> tuple[int, ...]:
    """``counts``, checked. Raises ValueError where they are not positive and increasing."""
    if any(count < 1 for count in counts) or list(counts) != sorted(set(counts)):
        raise ValueError(f"counts must be positive and increasing, got {list(counts)}")
    return counts


def check_counts(counts: Sequence[int], train: LoadedSplit) -> None:
    """Raise BenchError where not even the smallest support set can be drawn."""
    annotated = len(annotated_images(train))
    if counts and counts[0] > annotated:
        raise BenchError(
            f"the smallest support set has {counts[0]} images, and {train.name} has {annotated} annotated ones",
            hint="Ask for fewer: -P counts=[1,5].",
        )


def counts_that_fit(counts: Sequence[int], train: LoadedSplit) -> list[int]:
    annotated = len(annotated_images(train))
    return [count for count in counts if count <= annotated]


def skipped_notes(counts: Sequence[int], train: LoadedSplit) -> tuple[str, ...]:
    skipped = [str(count) for count in counts if count not in counts_that_fit(counts, train)]
    if not skipped:
        return ()
    reason = f"{train.name} has {len(annotated_images(train))} annotated images"
    return (f"annotations = {', '.join(skipped)} skipped: {reason}",)


def stacked_by_draw(results: Sequence[Arrays], errors: Sequence[Arrays], count: int) -> Arrays:
    """The arrays of all draws of one count, stacked, with the count in their names.

    What is the same in every draw (which points count) is kept once, under its own name.
    """
    by_draw = [result | error for result, error in zip(results, errors, strict=True)]
    stacked: Arrays = {}
    for name, first in by_draw[0].items():
        if name in _SAME_IN_EVERY_DRAW:
            stacked[name] = first
        else:
            stacked[f"{name}_{count}"] = np.stack([arrays[name] for arrays in by_draw])
    return stacked


def predictions_by_count(arrays: Arrays, counts: Sequence[int]) -> dict[int, list[Tensor]]:
    """What :func:`stacked_by_draw` stored of predictions, by count and draw; counts that were skipped are left out."""
    named = {count: f"predictions_{count}" for count in counts}
    return {
        count: [torch.from_numpy(drawn) for drawn in np.ascontiguousarray(arrays[name])]
        for count, name in named.items()
        if name in arrays
    }
