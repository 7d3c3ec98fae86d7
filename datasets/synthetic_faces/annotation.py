"""What is known about a rendered picture: visibility and boxes."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.samples import SUPERSAMPLING
from datasets.synthetic_faces.head import head_mesh

NECK_FROM = 1.36  # height below which skin is neck, not head

_SAME_SPOT = (
    0.09  # two surface points closer than this (units of the template) are one landmark's surroundings
)


def visible_landmarks(
    points: FloatArray, sample: IntArray, surface: FloatArray, side: int, opaque: BoolArray
) -> BoolArray:
    """Whether the skin that shows where a landmark is projected is the landmark's own.

    Compared in surface coordinates: what shows there may be another part of the head (self-occlusion), hair or
    glasses; then no neighbouring sample lies close to the landmark on the surface.
    """
    mesh = head_mesh()
    own = mesh.landmarks(np.stack([mesh.vertices[:, 0], mesh.height, mesh.longitude], -1))
    shown = np.full((side + 2, side + 2, 3), np.inf, dtype=np.float32)
    rows, columns = sample // side, sample % side
    shown[rows + 1, columns + 1] = surface
    shown[1:-1, 1:-1][opaque] = np.inf
    at = np.clip(np.floor(points * SUPERSAMPLING).astype(np.int64), 0, side - 1)
    offsets = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), -1).reshape(-1, 2)
    around = shown[at[:, None, 1] + offsets[:, 0], at[:, None, 0] + offsets[:, 1]]
    away = np.abs(around - own[:, None])
    near = (away[..., 1] < _SAME_SPOT) & (away[..., 2] < 1.2 * _SAME_SPOT)
    return np.asarray(near.sum(1) >= 2)


def head_box(head: BoolArray, points: FloatArray, size: int) -> FloatArray:
    """Bounds of the head and its landmarks."""
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    low, high = points.min(0), points.max(0)
    if len(rows):
        low = np.minimum(low, (columns[0], rows[0]))
        high = np.maximum(high, (columns[-1] + 1, rows[-1] + 1))
    return np.asarray(np.clip(np.concatenate([low, high]), 0, size), dtype=np.float32)
