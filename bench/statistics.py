"""How sure a mean over images is, or any other number that is computed from a sum over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError
from bench.seeds import numpy_generator

_CHUNK_ELEMENTS = 2**22


def bootstrap_interval(
    sums: ArrayLike, counts: ArrayLike | None = None, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap over images of the ratio ``sum of sums / sum of counts``.

    Whole images are drawn, with replacement, because the landmarks of one image are not independent. Images
    that count nothing are left out beforehand.

    Shapes:
        sums: (N,), per image the sum of a value over what is counted in it.
        counts: (N,), per image how much is counted; None: 1 each, so that the ratio is the mean of ``sums``.

    Args:
        seed: The same seed draws the same images, so that two methods on the same images are compared alike.
        resamples: How many times N images are drawn.
        level: Probability mass of the interval.

    Returns:
        (low, high), by linear interpolation between the ordered resamples.

    Raises:
        BenchError: where shapes differ, a value is not finite, or nothing is counted.
    """
    total, weight = _checked(sums, counts)
    _check_amounts(resamples, level)
    draws = _draws(len(total), resamples, seed, elements=len(total))
    ratios = np.concatenate([total[drawn].sum(1) / weight[drawn].sum(1) for drawn in draws])
    low, high = percentiles(ratios, level)
    return float(low), float(high)


def bootstrap_intervals(
    tables: ArrayLike,
    statistics: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap over images of numbers that depend on a sum over images, such as a table of counts.

    Images are drawn as by :func:`bootstrap_interval`; those whose table is all zero are left out beforehand.

    Shapes:
        tables: (N, ...), what each image adds to the sum.
        returns: low and high, (M,) each.

    Args:
        statistics: The M numbers of each of R sums: (R, ...) -> (R, M).

    Raises:
        BenchError: where a table is not finite, or all of them are zero.
    """
    parts = np.asarray(tables, dtype=np.float64)
    _check_amounts(resamples, level)
    if parts.ndim == 0 or not np.isfinite(parts).all():
        raise BenchError(f"a bootstrap needs finite tables (N, ...), got {parts.shape}")
    flat = parts.reshape(len(parts), math.prod(parts.shape[1:]))
    flat = flat[flat.any(1)]
    if not len(flat):
        raise BenchError("a bootstrap needs at least one image in which something is counted")
    found = []
    for times in resampled_times(len(flat), resamples, seed, elements=max(flat.shape)):
        found.append(statistics((times @ flat).reshape(-1, *parts.shape[1:])))
    low, high = percentiles(np.concatenate(found), level)
    return low, high


def resampled_times(size: int, resamples: int, seed: int, elements: int) -> Iterator[NDArray[np.float64]]:
    """How often each of ``size`` samples is drawn in some resamples after another, (R, size).

    A product with what each sample adds to a sum gives the sums of all resamples. Equal seeds and sizes draw alike,
    by :func:`bootstrap_interval` too.

    Args:
        elements: Numbers that a resample takes in memory.
    """
    for drawn in _draws(size, resamples, seed, elements):
        rows = np.arange(len(drawn))[:, None] * size + drawn
        yield np.bincount(rows.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _draws(size: int, resamples: int, seed: int, elements: int) -> Iterator[NDArray[np.int64]]:
    """Indices (R, size) of the images of some resamples after another.

    Args:
        elements: Numbers that a resample takes in memory.
    """
    generator = numpy_generator(seed, "bootstrap")
    chunk = max(1, _CHUNK_ELEMENTS // elements)
    for start in range(0, resamples, chunk):
        yield generator.integers(size, size=(min(chunk, resamples - start), size))


def percentiles(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Both ends of the percentile interval: (R, ...) -> (2, ...), interpolated linearly between ordered resamples."""
    tail = (1 - level) / 2
    ends: NDArray[np.float64] = np.quantile(values, [tail, 1 - tail], axis=0)
    return ends


def _check_amounts(resamples: int, level: float) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise BenchError(f"a bootstrap needs 0 < level < 1 and resamples >= 1, got {level} and {resamples}")


def _checked(
    sums: ArrayLike, counts: ArrayLike | None
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    total = np.asarray(sums, dtype=np.float64)
    weight = np.ones_like(total) if counts is None else np.asarray(counts, dtype=np.float64)
    if total.ndim != 1 or total.shape != weight.shape:
        raise BenchError(f"a bootstrap needs sums and counts (N,), got {total.shape} and {weight.shape}")
    if not np.isfinite(total).all() or not np.isfinite(weight).all() or (weight < 0).any():
        raise BenchError("a bootstrap needs finite sums and counts, and counts of at least 0")
    counted = weight > 0
    if not counted.any():
        raise BenchError("a bootstrap needs at least one image in which something is counted")
    return total[counted], weight[counted]
