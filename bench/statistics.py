"""How sure a mean over images is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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
    if not 0 < level < 1 or resamples < 1:
        raise BenchError(f"a bootstrap needs 0 < level < 1 and resamples >= 1, got {level} and {resamples}")
    size = len(total)
    generator = numpy_generator(seed, "bootstrap")
    ratios = np.empty(resamples)
    chunk = max(1, _CHUNK_ELEMENTS // size)
    for start in range(0, resamples, chunk):
        drawn = generator.integers(size, size=(min(chunk, resamples - start), size))
        ratios[start : start + len(drawn)] = total[drawn].sum(1) / weight[drawn].sum(1)
    tail = (1 - level) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


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
