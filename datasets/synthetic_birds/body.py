"""The trunk of a bird with neck and head: rings along a spine from the base of the beak to the root of the tail.

Frame: x forward, y down, z to the bird's right. The unit is about the length of a songbird's trunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import bump, ramp
from datasets.synthetic_birds.rings import angles
from datasets.synthetic_birds.species import Shape

ROWS, COLUMNS = 45, 33
DORSAL, VENTRAL = COLUMNS // 2, 0

# Along the spine: x, y, and the dorsal, ventral and lateral radius.
_STATIONS = np.array(
    [
        (0.735, -0.455, 0.020, 0.020, 0.020),  # base of the beak
        (0.715, -0.465, 0.075, 0.075, 0.070),
        (0.655, -0.490, 0.125, 0.135, 0.120),  # forehead
        (0.560, -0.500, 0.160, 0.170, 0.155),  # crown
        (0.450, -0.455, 0.170, 0.200, 0.165),
        (0.320, -0.345, 0.180, 0.245, 0.185),  # nape
        (0.160, -0.200, 0.200, 0.300, 0.230),  # breast
        (-0.060, -0.040, 0.235, 0.300, 0.265),  # back, belly
        (-0.310, 0.100, 0.200, 0.235, 0.225),
        (-0.530, 0.220, 0.115, 0.120, 0.120),  # vent
        (-0.680, 0.300, 0.030, 0.030, 0.035),
    ]
)
_IS_HEAD = np.array([1, 1, 1, 1, 0.9, 0.45, 0, 0, 0, 0, 0])
_HEAD_PIVOT = np.array([0.45, -0.44])
_NECK_PIVOT = np.array([0.34, -0.36, 0.0])
_NECK_AHEAD = np.array([0.35, -0.94])
_CREST = np.array([-0.80, -0.60, 0.0])


@dataclass(frozen=True, eq=False)
class Spine:
    """Where the rings are; rows run from the beak to the tail.

    Shapes:
        centres, up, back: (ROWS, 3), ``up`` and ``back`` of unit length. dorsal, ventral, lateral: (ROWS,), radii.
    """

    centres: FloatArray
    up: FloatArray
    back: FloatArray
    dorsal: FloatArray
    ventral: FloatArray
    lateral: FloatArray

    def half_width(self, points: FloatArray) -> FloatArray:
        """(N,) how far the trunk reaches sideways at points (N, 2) of the median plane."""
        away = points[:, None] - self.centres[None, ROWS // 2 :, :2]
        along = np.abs(np.einsum("nrd,rd->nr", away, self.back[ROWS // 2 :, :2]))
        row = along.argmin(1)
        height = np.einsum("nd,nd->n", away[np.arange(len(row)), row], self.up[ROWS // 2 + row, :2])
        row += ROWS // 2
        radius = np.where(height > 0, self.dorsal[row], self.ventral[row])
        inside = np.clip(1.0 - (height / radius) ** 2, 0.0, 1.0)
        return np.asarray(self.lateral[row] * np.sqrt(inside))


def spine(shape: Shape) -> Spine:
    """The spine of a bird of a shape, in rest."""
    place, radii = _STATIONS[:, :2].copy(), _STATIONS[:, 2:].copy()
    trunk = 1.0 - _IS_HEAD
    grown = 1.0 + (shape.head - 1.0) * _IS_HEAD
    place = _HEAD_PIVOT + (place - _HEAD_PIVOT) * grown[:, None]
    radii *= grown[:, None]
    radii[:, :2] *= (1.0 + (shape.depth - 1.0) * trunk)[:, None]
    radii[:, 2] *= 1.0 + (shape.width - 1.0) * trunk
    place[:, 0] = np.where(place[:, 0] < 0.2, 0.2 + (place[:, 0] - 0.2) * shape.length, place[:, 0])
    place += shape.neck * _IS_HEAD[:, None] * _NECK_AHEAD
    radii[5] *= 1.0 - 0.9 * min(shape.neck, 0.4)
    curve = PchipInterpolator(np.linspace(0, 1, len(place)), np.concatenate([place, radii], 1))
    values = curve(np.linspace(0, 1, ROWS))
    back = np.gradient(values[:, :2], axis=0)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    zero = np.zeros((ROWS, 1))
    return Spine(
        np.concatenate([values[:, :2], zero], 1),
        np.concatenate([-back[:, 1:], back[:, :1], zero], 1),
        np.concatenate([back, zero], 1),
        *values[:, 2:].T,
    )


def trunk(line: Spine, crest: float) -> FloatArray:
    """(ROWS, COLUMNS, 3) surface of trunk, neck and head, in rest; ``crest`` is the height of the raised crest."""
    around = angles(COLUMNS)
    high = np.cos(around)
    vertical = np.where(high > 0, line.dorsal[:, None], line.ventral[:, None]) * high
    grid = line.centres[:, None] + vertical[..., None] * line.up[:, None]
    grid[..., 2] += line.lateral[:, None] * np.sin(around)
    if crest:
        along, angle = np.meshgrid(np.linspace(0, 1, ROWS), around, indexing="ij")
        grid += (0.24 * crest * bump(along, angle, (0.335, 0.0), (0.05, 0.3)))[..., None] * _CREST
    return grid


def neck_weights() -> FloatArray:
    """(ROWS,) share of the head's turn that a ring follows."""
    return ramp(np.linspace(0, 1, ROWS), 0.6, 0.36)


def bent(points: FloatArray, turn: Rotation, neck: float) -> FloatArray:
    """The trunk (ROWS, COLUMNS, 3) with its head turned; the neck follows ring by ring.

    Args:
        neck: The shape's length of the neck, which moves the pivot.
    """
    pivot = _pivot(neck)
    matrices = Rotation.from_rotvec(neck_weights()[:, None] * turn.as_rotvec()).as_matrix()
    return np.asarray((points - pivot) @ matrices.transpose(0, 2, 1) + pivot)


def with_head(points: FloatArray, turn: Rotation, neck: float) -> FloatArray:
    """Points (..., 3) that belong to the head, turned with it."""
    pivot = _pivot(neck)
    return np.asarray((points - pivot) @ turn.as_matrix().T + pivot)


def _pivot(neck: float) -> FloatArray:
    pivot = _NECK_PIVOT.copy()
    pivot[:2] += 0.5 * neck * _NECK_AHEAD
    return pivot
