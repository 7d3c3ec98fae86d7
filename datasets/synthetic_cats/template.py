"""The template cat's head: a grid wrapped round the skull from the front, and two sheets for each ear.

The grid is a square bent to a disc and laid over the head with its centre between eyes and nose, so that there is no
pole where something is to be seen. What a vertex is called on every cat is its position on this template.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.mesh import bump, grid_triangles, paired, ramp
from datasets.synthetic_cats import layout

_SIDE = 85  # vertices along a side of the head's grid
_REACH = 2.45  # angle from the front at the grid's border
_HALF_WIDTH, _RISE, _DROP, _FRONT, _BACK = 1.27, 1.2, 1.16, 1.0, 1.15
_EAR_ROWS, _EAR_COLUMNS = 17, 13
_EAR_DEPTH, _EAR_THICKNESS = 0.34, 0.06
_FOOT = 0.08  # how far up the ear its ends are marked: where it comes out of the fur


@dataclass(frozen=True, eq=False)
class Sheet:
    """A grid of vertices within the template; rows run down, columns to the image's right, seen from outside.

    Attributes:
        flip: Seen from behind: its columns run to the left there.
    """

    start: int
    rows: int
    columns: int
    flip: bool = False

    @property
    def part(self) -> slice:
        return slice(self.start, self.start + self.rows * self.columns)

    @property
    def triangles(self) -> IntArray:
        """(T, 3), numbered from the sheet's own first vertex."""
        cells = grid_triangles(self.rows, self.columns)
        return cells[:, ::-1] if self.flip else cells


@dataclass(frozen=True, eq=False)
class Template:
    """The head of no cat in particular.

    Shapes:
        vertices: (V, 3): the head, then the front and the back of the left and of the right ear.
        up_ear: (V,), 0 at an ear's foot and on the head, 1 at an ear's tip. across_ear: (V,), -1 at the outer and 1
            at the inner edge. side: (V,), -1 on the left ear, 1 on the right one, 0 on the head.
        landmark_vertices: (9, 3), landmark_weights: (9, 3): barycentric.
    """

    vertices: FloatArray
    up_ear: FloatArray
    across_ear: FloatArray
    side: FloatArray
    head: Sheet
    ears: tuple[Sheet, ...]
    landmark_vertices: IntArray
    landmark_weights: FloatArray

    def landmarks(self, vertices: FloatArray) -> FloatArray:
        """(9, D) values at the landmarks of per-vertex values (V, D)."""
        return np.asarray(
            np.einsum("kc,kcd->kd", self.landmark_weights, vertices[self.landmark_vertices]), dtype=np.float32
        )


def _relief(x: FloatArray, y: FloatArray) -> FloatArray:
    """Displacement along z of the front of the head: sockets, eyeballs, bridge, nose, muzzle, chin."""
    z = -0.12 * paired(x, y, (0.42, 0.02), (0.2, 0.17)) - 0.06 * paired(x, y, (0.25, 0.12), (0.08, 0.12))
    along, height = layout.eye_frame(x, y)
    inside = np.clip(1.0 - along**2 - (height / 0.19) ** 2, 0.0, None)
    z += 0.07 * np.sqrt(inside)
    z += 0.05 * paired(x, y, (0.45, -0.32), (0.25, 0.12))
    bridge = np.interp(y, (-0.5, -0.1, 0.2, 0.45, 0.58, 0.7, 0.85), (0.0, 0.06, 0.14, 0.24, 0.26, 0.1, 0.0))
    half = np.interp(y, (-0.3, 0.2, 0.45, 0.7), (0.26, 0.15, 0.15, 0.13))
    z += bridge * np.exp(-((np.abs(x) / half) ** 2))
    z += 0.36 * bump(x, y, (0, 0.78), (0.36, 0.2)) + 0.1 * paired(x, y, (0.19, 0.8), (0.13, 0.11))
    z += 0.33 * bump(x, y, (0, 1.04), (0.24, 0.11))
    z -= 0.05 * np.exp(-(((y - layout.slit_height(x)) / 0.03) ** 2)) * ramp(np.abs(x), 0.36, 0.28)
    z -= 0.04 * bump(x, y, (0, 0.72), (0.025, 0.05))
    z -= 0.07 * paired(x, y, (0.5, 0.5), (0.12, 0.2))
    return np.asarray(z, dtype=np.float32)


def _head() -> FloatArray:
    """(SIDE, SIDE, 3) vertices."""
    line = np.linspace(-1.0, 1.0, _SIDE)
    q, p = np.meshgrid(line, line, indexing="ij")
    u, v = p * np.sqrt(1 - q**2 / 2), q * np.sqrt(1 - p**2 / 2)
    rho = np.hypot(u, v)
    angle = _REACH * (0.55 * rho + 0.45 * rho**3)
    out = np.sin(angle) / np.maximum(rho, 1e-6)
    # The grid's centre lies below the eyes, where most is to be seen.
    tilt = 0.4
    across = u * out
    down = v * out * np.cos(tilt) + np.cos(angle) * np.sin(tilt)
    ahead = np.cos(angle) * np.cos(tilt) - v * out * np.sin(tilt)
    y = np.where(down < 0, _RISE, _DROP) * down
    knots, widths = (-1.2, -0.7, -0.2, 0.35, 0.7, 1.2), (0.84, 0.89, 0.95, 1.04, 1.02, 0.86)
    x = _HALF_WIDTH * across * PchipInterpolator(knots, widths)(y)
    z = np.where(ahead > 0, _FRONT, _BACK) * ahead
    x, y = x.astype(np.float32), y.astype(np.float32)
    z = z + _relief(x, y) * ramp(ahead.astype(np.float32), -0.05, 0.3)
    return np.stack([x, y, z], -1).astype(np.float32)


def _ear() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Front and back (R, C, 3) of the left ear, how far up (R, C) and how far across (R, C)."""
    up, across = np.meshgrid(
        np.concatenate([np.linspace(1.0, 0.9, 4), np.linspace(0.82, 0.0, _EAR_ROWS - 6), (-0.15, -0.3)]),
        np.concatenate([(-1.0,), np.linspace(-0.92, 0.92, _EAR_COLUMNS - 2), (1.0,)]),
        indexing="ij",
    )
    outer, tip, inner = (np.asarray(p) for p in (layout.EAR_OUTER, layout.EAR_TIP, layout.EAR_INNER))
    axis = tip - (outer + inner) / 2
    half = (inner - outer) / 2
    behind = np.cross(half, axis)
    behind /= -np.linalg.norm(behind) * np.sign(behind[2])
    narrow = (np.clip(1.0 - up, 0, None) ** 0.82)[..., None]
    bow = (1.0 - across**2)[..., None]
    middle = (outer + inner) / 2 + up[..., None] * axis
    # The outer edge runs straight up, then leans in; the inner one is a gentle arc.
    arc = 0.09 * np.sin(np.pi * np.clip(up, 0, 1))[..., None] * half / np.linalg.norm(half)
    front = middle + across[..., None] * (narrow * half + arc * (0.4 + 0.6 * (across[..., None] > 0)))
    front = front + bow * narrow * _EAR_DEPTH * behind
    thick = _EAR_THICKNESS * (np.sqrt(bow) * narrow**0.5)
    return (
        front.astype(np.float32),
        (front + thick * behind).astype(np.float32),
        up.astype(np.float32),
        across.astype(np.float32),
    )


def _in_front(
    vertices: FloatArray, triangles: IntArray, point: tuple[float, float]
) -> tuple[IntArray, FloatArray]:
    """The vertices of the foremost triangle that holds a point in the frontal view, and its weights there."""
    corners = vertices[triangles].astype(np.float64)
    edges = (corners[:, 1:, :2] - corners[:, :1, :2]).transpose(0, 2, 1)
    sound = np.flatnonzero(np.linalg.det(edges) > 1e-9)
    rest = np.linalg.solve(edges[sound], (np.asarray(point) - corners[sound, 0, :2])[..., None])[..., 0]
    weights = np.concatenate([1.0 - rest.sum(1, keepdims=True), rest], axis=1)
    depth = np.where(weights.min(1) >= -1e-9, (weights * corners[sound, :, 2]).sum(1), -np.inf)
    best = int(np.argmax(depth))
    return triangles[sound[best]], weights[best].astype(np.float32)


@cache
def template() -> Template:
    """The one template, built once per process."""
    skin = _head().reshape(-1, 3)
    front, back, up, across = _ear()
    head = Sheet(0, _SIDE, _SIDE)
    count = _EAR_ROWS * _EAR_COLUMNS
    mirror = np.array([-1.0, 1.0, 1.0], dtype=np.float32)
    sheets, parts = [], [skin]
    for i, (grid, side, flip) in enumerate(
        [(front, -1, False), (back, -1, True), (front, 1, False), (back, 1, True)]
    ):
        sheets.append(Sheet(len(skin) + i * count, _EAR_ROWS, _EAR_COLUMNS, flip))
        parts.append((grid if side < 0 else grid[:, ::-1] * mirror).reshape(-1, 3))
    vertices = np.concatenate(parts)
    none = np.zeros(len(skin), dtype=np.float32)
    ups, acrosses = up.reshape(-1), across.reshape(-1)
    mirrored = across[:, ::-1].reshape(-1)

    # An ear's ends and tip are vertices of its front, a little inside its edge.
    foot, tip = int(np.argmin(np.abs(up[:, 0] - _FOOT))), 1
    marked = ((foot, 1), (tip, _EAR_COLUMNS // 2), (foot, _EAR_COLUMNS - 2))
    on_ears = [sheets[i].start + row * _EAR_COLUMNS + column for i in (0, 2) for row, column in marked]
    x, y = layout.EYE
    on_head = [_in_front(skin, head.triangles, point) for point in ((-x, y), (x, y), layout.MOUTH)]
    corners = np.stack([c for c, _ in on_head] + [np.full(3, v) for v in on_ears])
    weights = np.stack([w for _, w in on_head] + [np.array([1.0, 0.0, 0.0])] * 6).astype(np.float32)
    return Template(
        vertices=vertices,
        up_ear=np.concatenate([none, ups, ups, ups, ups]),
        across_ear=np.concatenate([none, acrosses, acrosses, mirrored, mirrored]),
        side=np.concatenate([none, np.full(2 * count, -1), np.full(2 * count, 1)]).astype(np.float32),
        head=head,
        ears=tuple(sheets),
        landmark_vertices=corners.astype(np.int64),
        landmark_weights=weights,
    )
