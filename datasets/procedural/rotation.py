"""Turning things in the view."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray


def rotation(yaw: float, pitch: float, roll: float) -> FloatArray:
    """(3, 3) matrix that maps points (as columns) to the view: first yaw, then pitch, then roll, in degrees.

    Args:
        yaw: Positive turns the front to the image's right. pitch: positive looks down. roll: positive is clockwise.
    """
    yaw, pitch, roll = np.radians((yaw, pitch, roll))
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, dtype=np.float32)
