"""Where a subject goes in the picture."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray

_MARGIN = 0.02


def framed(
    points: FloatArray, scale: float, centre: tuple[float, float], margin: float = _MARGIN
) -> tuple[float, tuple[float, float]]:
    """The scale and centre of a ``Shot`` nearest to those given that keep all points in the picture.

    Shrinks only what does not fit, then shifts as little as necessary: both follow the points continuously.

    Args:
        points: (K, 2 or 3) in the view. margin: share of the picture that stays free on every side.
        centre: Where the view's origin should go, as shares of the picture's side.
    """
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    room = 1.0 - 2.0 * margin
    scale = min(scale, room / max(float((high - low).max()), 1e-9))
    x, y = np.clip(centre, margin - low * scale, 1.0 - margin - high * scale)
    return scale, (float(x), float(y))


def centred(points: FloatArray, scale: float, middle: tuple[float, float]) -> tuple[float, float]:
    """Where the view's origin goes when the middle of the points' bounds is to lie at ``middle`` (shares)."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    x, y = np.asarray(middle) - (low + high) / 2 * scale
    return float(x), float(y)
