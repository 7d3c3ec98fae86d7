"""From samples to pixels: every pixel is the mean of a small square of samples."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray

SUPERSAMPLING = 2


def share_per_pixel(sample: IntArray, chosen: BoolArray, side: int) -> FloatArray:
    """(S, S) share of a pixel's samples that are chosen."""
    flat = np.zeros(side * side, dtype=np.float32)
    flat[sample[chosen]] = 1.0
    return pooled(flat.reshape(side, side))


def pooled(samples: FloatArray) -> FloatArray:
    """Mean of the samples of each pixel."""
    n = SUPERSAMPLING
    return np.asarray(sum(samples[i::n, j::n] for i in range(n) for j in range(n)) / np.float32(n * n))
