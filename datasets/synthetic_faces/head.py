"""The template head: a grid over longitude and height, sculpted with analytic bumps.

Frame: x to the image's right, y down, z towards the viewer; the origin lies between the outer eye corners, their
distance is 1 (about 90 mm). A vertex is (sin(longitude) r, height, AXIS_Z + cos(longitude) r) plus relief along z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.mesh import bump, grid_normals, grid_triangles, paired, ramp
from datasets.synthetic_faces.layout import (
    EYE_INNER,
    EYE_OUTER,
    JAW_RIM,
    LID_DROP,
    LID_RISE,
    lid_height,
    mean_positions,
)

AXIS_Z = -0.1
TOP, BOTTOM = -1.33, 2.5

# Heights and the half-width, front and back radius of the skull there.
_HEIGHTS = (-0.35, 0.0, 0.25, 0.45, 0.7)
_WIDTH = (0.85, 0.845, 0.82, 0.79, 0.75)
_FRONT = (1.05, 1.02, 1.00, 1.01, 1.0)
_BACK = (1.15, 1.1, 0.95, 0.8, 0.62)
# The lower border of the jaw: longitude in degrees, height and distance from the axis.
_BORDER_DEGREES = (0.0, 18.4, 36.3, 54.8, 75.3, 84.0, 105.0, 180.0)
_BORDER_HEIGHT = (1.33, 1.27, 1.16, 1.04, 0.86, 0.7, 0.55, 0.5)
_BORDER_RADIUS = (0.93, 0.86, 0.75, 0.70, 0.72, 0.755, 0.78, 0.8)


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """The template and its grid.

    Shapes:
        vertices: (R * C, 3), rows from the top of the head to the neck's end, columns by longitude.
        longitude, height: (R * C,), the surface coordinates; they name the same spot on every head.
        triangles: (T, 3). cavity: (R * C,), 1 on open surface, less where it is hollow.
        landmark_triangle: (68,), landmark_weights: (68, 3), barycentric.
    """

    rows: int
    columns: int
    vertices: FloatArray
    longitude: FloatArray
    height: FloatArray
    triangles: IntArray
    cavity: FloatArray
    landmark_triangle: IntArray
    landmark_weights: FloatArray

    def landmarks(self, vertices: FloatArray) -> FloatArray:
        """(68, D) values at the landmarks of per-vertex values (R * C, D)."""
        corners = vertices[self.triangles[self.landmark_triangle]]
        return np.asarray(np.einsum("kc,kcd->kd", self.landmark_weights, corners), dtype=np.float32)


def eye_parameter(x: FloatArray) -> FloatArray:
    """0 at the inner, 1 at the outer eye corner."""
    return np.asarray((np.abs(x) - EYE_INNER[0]) / (EYE_OUTER[0] - EYE_INNER[0]), dtype=np.float32)


def _spaced(knots: list[tuple[float, float, int]]) -> FloatArray:
    parts = [np.linspace(start, stop, count, endpoint=False) for start, stop, count in knots]
    return np.concatenate([*parts, [knots[-1][1]]]).astype(np.float32)


def _curve(at: FloatArray, knots: tuple[float, ...], values: tuple[float, ...]) -> FloatArray:
    return np.asarray(PchipInterpolator(knots, values)(at), dtype=np.float32)


def radius(longitude: FloatArray, height: FloatArray) -> FloatArray:
    """Distance of the smooth head (no relief) from its vertical axis."""
    side = np.abs(longitude)
    level = np.clip(height, _HEIGHTS[0], _HEIGHTS[-1])
    width = _curve(level, _HEIGHTS, _WIDTH)
    reach = np.where(side < np.pi / 2, _curve(level, _HEIGHTS, _FRONT), _curve(level, _HEIGHTS, _BACK))
    power = 2.25
    skull = (np.abs(np.sin(side) / width) ** power + np.abs(np.cos(side) / reach) ** power) ** (-1 / power)
    above = np.clip((_HEIGHTS[0] - height) / (_HEIGHTS[0] - TOP), 0.0, 1.0)
    skull = skull * np.maximum(1.0 - above**2.35, 0.0) ** (1 / 2.35)

    degrees = np.degrees(side)
    border = _curve(degrees, _BORDER_DEGREES, _BORDER_HEIGHT)
    rim = _curve(degrees, _BORDER_DEGREES, _BORDER_RADIUS)
    start = 0.3
    t = np.clip((height - start) / (border - start), 0.0, 1.0)
    face = skull + (rim - skull) * t**1.8

    reach = np.where(side < np.pi / 2, 0.36 + 0.04 * np.clip(height - 1.3, 0, 1), 0.62)
    neck = (np.abs(np.sin(side) / 0.57) ** 2 + np.abs(np.cos(side) / reach) ** 2) ** -0.5
    below = np.clip((height - border) / np.interp(degrees, (0.0, 60.0, 120.0), (0.13, 0.16, 0.5)), 0.0, 1.0)
    under = neck + (np.maximum(rim, neck) - neck) * (1.0 - below) * np.sqrt(1.0 - below**2)
    return np.asarray(np.where(height > border, under, face), dtype=np.float32)


def relief(x: FloatArray, y: FloatArray) -> FloatArray:
    """Displacement along z of the front of the mean face: sockets, nose, cheeks, lips, chin."""
    z = np.zeros_like(x)
    # Brow ridge, sockets, eyeballs, folds above the lids.
    z += 0.045 * paired(x, y, (0.38, -0.2), (0.2, 0.07)) + 0.035 * bump(x, y, (0, -0.2), (0.13, 0.1))
    z -= 0.13 * paired(x, y, (0.34, -0.01), (0.15, 0.1)) + 0.05 * paired(x, y, (0.2, 0.02), (0.06, 0.08))
    t = eye_parameter(x)
    inside = (t > 0) & (t < 1)
    z += 0.085 * paired(x, y, (0.362, 0.004), (0.1, 0.065))
    upper, lower = lid_height(t, LID_RISE), lid_height(t, -LID_DROP)
    rim = np.where(inside, 1.0, 0.0) * ramp(np.minimum(t, 1 - t), 0.0, 0.2)
    z += (
        0.022
        * rim
        * (np.exp(-(((y - upper + 0.018) / 0.02) ** 2)) + np.exp(-(((y - lower - 0.016) / 0.02) ** 2)))
    )
    z -= 0.018 * rim * np.exp(-(((y - upper + 0.065) / 0.02) ** 2))
    z -= 0.014 * paired(x, y, (0.34, 0.16), (0.12, 0.025))
    # Nose: ridge, tip, wings, nostrils.
    spine = np.interp(
        y,
        (-0.25, -0.1, 0.02, 0.2, 0.36, 0.44, 0.5, 0.545, 0.6),
        (0, 0.02, 0.06, 0.155, 0.24, 0.255, 0.19, 0.06, 0),
    )
    half = np.interp(y, (-0.2, 0.02, 0.2, 0.4, 0.55), (0.1, 0.08, 0.09, 0.11, 0.115))
    z += spine * np.exp(-((np.abs(x) / half) ** 2.2))
    z += 0.05 * bump(x, y, (0, 0.43), (0.06, 0.05))
    z += 0.15 * paired(x, y, (0.115, 0.465), (0.04, 0.045))
    z -= 0.05 * paired(x, y, (0.065, 0.525), (0.025, 0.018))
    z -= 0.035 * paired(x, y, (0.2, 0.5), (0.03, 0.06))
    # Cheeks, temples, folds from the nose to the mouth.
    z += 0.07 * paired(x, y, (0.5, 0.3), (0.16, 0.12)) - 0.045 * paired(x, y, (0.55, 0.72), (0.13, 0.16))
    z += 0.03 * paired(x, y, (0.3, 0.42), (0.1, 0.1))
    fold = 0.2 + 0.16 * np.clip((y - 0.5) / 0.3, 0, 1.3)
    z -= 0.012 * np.exp(-(((np.abs(x) - fold) / 0.03) ** 2)) * ramp(y, 0.46, 0.56) * ramp(y, 0.9, 0.78)
    # Muzzle, lips, chin.
    z += 0.065 * bump(x, y, (0, 0.76), (0.26, 0.18))
    span = np.clip(1.0 - (np.abs(x) / 0.3) ** 2, 0.0, 1.0)
    z += 0.05 * span * np.exp(-(((y - 0.748) / 0.03) ** 2))
    z += 0.06 * span * np.exp(-(((y - 0.858) / 0.04) ** 2))
    z -= 0.055 * span**0.5 * np.exp(-(((y - 0.793) / 0.016) ** 2))
    z -= 0.03 * paired(x, y, (0.3, 0.797), (0.03, 0.03))
    z -= 0.016 * bump(x, y, (0, 0.635), (0.025, 0.05)) - 0.008 * paired(x, y, (0.055, 0.64), (0.02, 0.05))
    z -= 0.04 * bump(x, y, (0, 0.985), (0.17, 0.04))
    z += 0.06 * bump(x, y, (0, 1.15), (0.15, 0.09))
    return np.asarray(z, dtype=np.float32)


def _locate(vertices: FloatArray, triangles: IntArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """The triangle that holds each point (frontal view or surface coordinates), and its weights."""
    a, b, c = (vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    area = _cross(b - a, c - a)
    flat = np.abs(area) < 1e-12
    found, weights = [], []
    for point in points.astype(np.float64):
        w = np.stack(
            [_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)], -1
        )
        w /= np.where(flat, 1.0, area)[:, None]
        w[flat] = -np.inf
        best = int(np.argmax(w.min(-1)))
        found.append(best)
        weights.append(w[best])
    return np.asarray(found, dtype=np.int64), np.asarray(weights, dtype=np.float32)


def _cross(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])


def _cavity(vertices: FloatArray, rows: int, columns: int) -> FloatArray:
    """How much of the sky a vertex sees, estimated by its depth under the smoothed surface."""
    grid = vertices.reshape(rows, columns, 3)
    normals = grid_normals(vertices, rows, columns).reshape(rows, columns, 3)
    total = np.zeros((rows, columns), dtype=np.float32)
    smooth = grid.copy()
    for step in range(1, 13):
        for axis in (0, 1):
            padded = np.concatenate([smooth.take([0], axis), smooth, smooth.take([-1], axis)], axis)
            size = smooth.shape[axis]
            smooth = np.mean([padded.take(range(i, i + size), axis) for i in range(3)], axis=0)
        if step in (3, 12):
            total += ((smooth - grid) * normals).sum(-1)
    open_sky = np.clip(1.0 - 7.0 * np.clip(total, 0.0, None), 0.35, 1.0)
    return np.asarray(open_sky.reshape(-1), dtype=np.float32)


@cache
def head_mesh() -> HeadMesh:
    """The one template, built once per process."""
    # Dense where the face is; the rows near the top follow the curvature of the skull.
    crown = TOP + (1 - np.cos(np.linspace(0, np.pi / 2, 14, endpoint=False))) * (-0.45 - TOP)
    face = [(-0.45, -0.14, 10), (-0.14, 0.14, 16), (0.14, 0.7, 21), (0.7, 0.93, 18), (0.93, 1.28, 11)]
    levels = np.concatenate([crown, _spaced([*face, (1.28, 1.48, 10), (1.48, BOTTOM, 6)])])
    half = _spaced([(0.0, 0.45, 18), (0.45, 1.5, 23), (1.5, np.pi, 9)])
    angles = np.concatenate([-half[:0:-1], half])
    height, longitude = (g.astype(np.float32) for g in np.meshgrid(levels, angles, indexing="ij"))
    rows, columns = height.shape
    height, longitude = height.reshape(-1), longitude.reshape(-1)
    r = radius(longitude, height)
    x, z = np.sin(longitude) * r, AXIS_Z + np.cos(longitude) * r
    front = ramp(np.cos(longitude), 0.0, 0.35) * ramp(height, 1.36, 1.3)
    vertices = np.stack([x, height, z + relief(x, height) * front], axis=-1).astype(np.float32)
    triangles = grid_triangles(rows, columns)
    facing = triangles[np.abs(longitude[triangles]).max(-1) < 1.55]
    offsets = np.flatnonzero(np.abs(longitude[triangles]).max(-1) < 1.55)
    on_face, face_weights = _locate(vertices[:, :2], facing, mean_positions())
    rim = np.asarray(JAW_RIM, dtype=np.float32)
    rim[:, 0] = np.radians(rim[:, 0])
    rim = np.concatenate([rim * (-1, 1), rim[-2::-1]]).astype(np.float32)
    on_jaw, jaw_weights = _locate(np.stack([longitude, height], -1), facing, rim)
    return HeadMesh(
        rows=rows,
        columns=columns,
        vertices=vertices,
        longitude=longitude,
        height=height,
        triangles=triangles,
        cavity=_cavity(vertices, rows, columns),
        landmark_triangle=offsets[np.concatenate([on_jaw, on_face])],
        landmark_weights=np.concatenate([jaw_weights, face_weights]),
    )
