"""Colours as the painters use them: linear RGB in [0, 1]."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray


def linear(srgb: tuple[int, int, int] | FloatArray) -> FloatArray:
    """8-bit sRGB to linear RGB in [0, 1]."""
    return np.asarray((np.asarray(srgb, dtype=np.float32) / 255.0) ** 2.2, dtype=np.float32)


def mix(base: FloatArray, other: FloatArray, amount: FloatArray) -> FloatArray:
    """From ``base`` (F, 3) to ``other`` by (F,) amounts in [0, 1]."""
    return np.asarray(base + (other - base) * amount[:, None], dtype=np.float32)
