"""Small draws that descriptions of scenes are made of."""

from __future__ import annotations

import numpy as np


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return float(rng.uniform(low, high))
