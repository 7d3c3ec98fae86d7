"""The 68 landmarks (iBUG order), the 5 derived ones, and where they sit on the mean face.

Unit: the distance between the outer eye corners. Frame of the mean face: x to the image's right, y down, origin
midway between the outer eye corners. "right" and "left" are the subject's own; the subject's right is at the
image's left and comes first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datasets.procedural.arrays import FloatArray

NAMES_68: tuple[str, ...] = (
    *(f"jaw_{i}" for i in range(17)),
    *(f"right_brow_{i}" for i in range(5)),
    *(f"left_brow_{i}" for i in range(5)),
    *(f"nose_bridge_{i}" for i in range(4)),
    *(f"nose_base_{i}" for i in range(5)),
    *(
        f"right_eye_{where}"
        for where in (
            "outer_corner",
            "upper_outer",
            "upper_inner",
            "inner_corner",
            "lower_inner",
            "lower_outer",
        )
    ),
    *(
        f"left_eye_{where}"
        for where in (
            "inner_corner",
            "upper_inner",
            "upper_outer",
            "outer_corner",
            "lower_outer",
            "lower_inner",
        )
    ),
    *(f"mouth_outer_{i}" for i in range(12)),
    *(f"mouth_inner_{i}" for i in range(8)),
)

FLIP_68: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)

NAMES_5: tuple[str, ...] = ("right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner")
FLIP_5: tuple[int, ...] = (1, 0, 2, 4, 3)

EYES: tuple[slice, slice] = (slice(36, 42), slice(42, 48))
NOSE_TIP = 30
MOUTH_CORNERS: tuple[int, int] = (48, 54)

EYE_INNER, EYE_OUTER = (0.222, 0.014), (0.5, 0.0)
LID_RISE, LID_DROP = 0.062, 0.048

_BROW = ((0.66, -0.175), (0.56, -0.24), (0.43, -0.262), (0.318, -0.25), (0.21, -0.215))
_BRIDGE = ((0.0, 0.02), (0.0, 0.165), (0.0, 0.31), (0.0, 0.435))
_NOSE_BASE = ((-0.138, 0.515), (-0.076, 0.535), (0.0, 0.55), (0.076, 0.535), (0.138, 0.515))
_LIPS_OUTER = (
    *((-0.287, 0.797), (-0.189, 0.738), (-0.066, 0.703), (0.0, 0.712), (0.066, 0.703), (0.189, 0.738)),
    *((0.287, 0.797), (0.186, 0.872), (0.095, 0.912), (0.0, 0.921), (-0.095, 0.912), (-0.186, 0.872)),
)
_LIPS_INNER = (
    *((-0.258, 0.795), (-0.084, 0.783), (0.0, 0.784), (0.084, 0.783)),
    *((0.258, 0.795), (0.084, 0.801), (0.0, 0.803), (-0.084, 0.801)),
)

# The jaw as (longitude in degrees from the front, height): true surface points along the border of the jaw, the
# upper ones just in front of the ear.
JAW_RIM: tuple[tuple[float, float], ...] = (
    *((80.0, 0.02), (80.0, 0.24), (79.5, 0.44), (79.0, 0.62)),
    *((73.0, 0.815), (54.5, 0.995), (36.0, 1.12), (18.0, 1.232), (0.0, 1.285)),
)


def lid_height(t: FloatArray, rise: float) -> FloatArray:
    """Height of a lid's edge over the line from the inner (t = 0) to the outer (t = 1) eye corner."""
    arch = np.clip(4.0 * t * (1.0 - t), 0.0, 1.0)
    return np.asarray(EYE_INNER[1] * (1.0 - t) - rise * arch**0.8, dtype=np.float32)


def _eye(side: int) -> list[tuple[float, float]]:
    span = EYE_OUTER[0] - EYE_INNER[0]

    def lid(x: float, rise: float) -> tuple[float, float]:
        t = np.float32((x - EYE_INNER[0]) / span)
        return side * x, float(lid_height(np.asarray(t), rise))

    outer, inner = (side * EYE_OUTER[0], EYE_OUTER[1]), (side * EYE_INNER[0], EYE_INNER[1])
    upper_outer, upper_inner = lid(0.415, LID_RISE), lid(0.31, LID_RISE)
    lower_inner, lower_outer = lid(0.31, -LID_DROP), lid(0.415, -LID_DROP)
    if side < 0:
        return [outer, upper_outer, upper_inner, inner, lower_inner, lower_outer]
    return [inner, upper_inner, upper_outer, outer, lower_outer, lower_inner]


def mean_positions() -> FloatArray:
    """(51, 2) frontal positions of landmarks 17 to 67 on the mean face (the jaw is given by ``JAW_RIM``)."""
    left_brow = [(x, y) for x, y in reversed(_BROW)]
    right_brow = [(-x, y) for x, y in _BROW]
    points = [*right_brow, *left_brow, *_BRIDGE, *_NOSE_BASE, *_eye(-1), *_eye(1), *_LIPS_OUTER, *_LIPS_INNER]
    return np.asarray(points, dtype=np.float32)


def five_points(points: FloatArray) -> FloatArray:
    """Eye centres (means of six lid points), nose tip and mouth corners of (..., 68, 2) points."""
    right, left = (points[..., eye, :].mean(-2) for eye in EYES)
    rest = points[..., [NOSE_TIP, *MOUTH_CORNERS], :]
    return np.concatenate([right[..., None, :], left[..., None, :], rest], axis=-2).astype(np.float32)


def five_visible(visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Visibility of the five points; an eye counts as seen where at least half of its lid points are."""
    right, left = (visible[..., eye].sum(-1) >= 3 for eye in EYES)
    rest = visible[..., [NOSE_TIP, *MOUTH_CORNERS]]
    return np.concatenate([right[..., None], left[..., None], rest], axis=-1)
