"""From samples to pixels: every pixel is the mean of a small square of samples."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import Array, BoolArray, FloatArray, IntArray

SUPERSAMPLING = 2


def share_per_pixel(sample: IntArray, chosen: BoolArray, side: int) -> FloatArray:
    """(S, S) share of a pixel's samples that are chosen."""
    flat = np.zeros(side * side, dtype=np.float32)
    flat[sample[chosen]] = 1.0
    return np.asarray(pooled(flat.reshape(1, side, side))[0])


def pooled(samples: Array) -> Array:
    """(B, S, S, ...) mean of the samples (B, side, side, ...) of each pixel."""
    n = SUPERSAMPLING
    return sum(samples[:, i::n, j::n] for i in range(n) for j in range(n)) / (n * n)
