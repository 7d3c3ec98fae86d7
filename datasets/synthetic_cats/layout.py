"""Where things are on the template cat, and the nine points of the CAT set.

Frame: x to the image's right, y down, z towards the viewer; the origin lies between the eyes, the distance of their
centres is 1 (about 45 mm).
"""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray

NAMES = (
    "left_eye", "right_eye", "mouth", "left_ear_outer", "left_ear_tip", "left_ear_inner", "right_ear_inner",
    "right_ear_tip", "right_ear_outer",
)  # fmt: skip
MIRROR = (1, 0, 2, 8, 7, 6, 5, 4, 3)

EYE = (0.5, 0.0)
EYE_HALF_WIDTH, EYE_RISE, EYE_DROP, EYE_SLANT = 0.235, 0.185, 0.15, 0.22
NOSE_TOP, NOSE_BOTTOM, NOSE_HALF_WIDTH = 0.5, 0.665, 0.145
MOUTH = (0.0, 0.77)  # of the upper lip, below the nose
SLIT_TOP = 0.8
MOUTH_HALF_WIDTH, SLIT_HALF_HEIGHT = 0.34, 0.045

# The image-left ear: its two ends on the head and its tip.
EAR_OUTER, EAR_TIP, EAR_INNER = (-1.14, -0.6, 0.02), (-1.3, -1.72, -0.12), (-0.4, -0.98, 0.42)


def slit_height(x: FloatArray) -> FloatArray:
    """Height of the closed mouth: down and outwards from below the nose, like a flat letter omega."""
    t = np.clip(np.abs(x) / MOUTH_HALF_WIDTH, 0.0, 1.0)
    return np.asarray(SLIT_TOP + 0.13 * np.sin(2.4 * t) / np.sin(2.4 / 1.5279), dtype=np.float32)


def eye_frame(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(-1 at the inner corner to 1 at the outer one, height over the line between them) of the nearer eye."""
    along = (np.abs(x) - EYE[0]) / EYE_HALF_WIDTH
    return np.asarray(along), np.asarray(y - EYE[1] + EYE_SLANT * (np.abs(x) - EYE[0]))


def lid(along: FloatArray, reach: float) -> FloatArray:
    """Distance of a lid's edge from the line between the corners; 0 beyond them."""
    return np.asarray(reach * np.clip(1.0 - np.abs(along) ** 2.1, 0.0, None) ** 0.8, dtype=np.float32)
