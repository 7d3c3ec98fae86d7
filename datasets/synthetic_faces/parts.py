"""What is joined to the head: ears, hair, hat, glasses, shoulders.

Every part is a mesh in the frame of the head (see ``head``) with per-vertex attributes for the shader.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.mesh import grid_normals, grid_triangles, ramp
from datasets.synthetic_faces.head import AXIS_Z


class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    EAR = 1
    HAIR = 2
    HAT = 3
    FRAME = 4
    CLOTH = 5


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh.

    Shapes:
        vertices, normals: (V, 3). triangles: (T, 3).
        surface: (V, 3), coordinates that textures live in; for skin (template x, height, longitude), for hair
            (how far inside the hairline, height, longitude), else two texture coordinates and 0.
        place: (V, 2), x and y in the frame of the deformed head before the pose. cavity: (V,).
    """

    material: Material
    vertices: FloatArray
    normals: FloatArray
    triangles: IntArray
    surface: FloatArray
    place: FloatArray
    cavity: FloatArray


def part_from_grid(
    material: Material,
    grid: FloatArray,
    surface: FloatArray,
    cavity: FloatArray | None = None,
    flip: bool = False,
) -> Part:
    """A part from a grid (R, C, 3) of vertices; ``flip`` for grids whose columns run to the left."""
    rows, columns = grid.shape[:2]
    vertices = grid.reshape(-1, 3).astype(np.float32)
    normals = grid_normals(vertices, rows, columns)
    triangles = grid_triangles(rows, columns)
    if flip:
        normals, triangles = -normals, triangles[:, ::-1]
    shade = np.ones(len(vertices), dtype=np.float32) if cavity is None else cavity.reshape(-1)
    return Part(
        material,
        vertices,
        normals,
        triangles,
        surface.reshape(-1, 3).astype(np.float32),
        vertices[:, :2],
        shade,
    )


@cache
def _ear_template() -> tuple[FloatArray, FloatArray]:
    """Grid (R, C, 3) of (backward, down, outward) and its cavity."""
    rho, phi = np.meshgrid(np.linspace(0, 1, 14), np.linspace(0, 2 * np.pi, 27), indexing="ij")
    down = -np.cos(phi) * rho * 0.33
    narrow = 1.0 - 0.38 * ramp(down.astype(np.float32), 0.0, 0.33)
    back = np.sin(phi) * rho * 0.2 * narrow
    rim = np.exp(-(((rho - 0.86) / 0.1) ** 2)) * (
        0.35 + 0.65 * ramp(np.sin(phi).astype(np.float32), -0.7, 0.2)
    )
    inner = np.exp(-(((rho - 0.55) / 0.1) ** 2)) * ramp(np.sin(phi).astype(np.float32), -0.1, 0.6)
    bowl = np.exp(-(((back + 0.03) / 0.075) ** 2) - (((down - 0.04) / 0.11) ** 2))
    out = 0.04 + 0.055 * rim + 0.035 * inner - 0.075 * bowl - 0.05 * ramp(rho.astype(np.float32), 0.9, 1.0)
    cavity = np.clip(0.75 + 0.4 * rim + 0.25 * inner - 0.6 * bowl, 0.3, 1.0)
    return np.stack([back, down, out], -1).astype(np.float32), cavity.astype(np.float32)


def ears(anchors: tuple[FloatArray, FloatArray], size: float) -> list[Part]:
    """The subject's right and left ear, hung on the head at two points."""
    template, cavity = _ear_template()
    parts = []
    for side, anchor in zip((-1.0, 1.0), anchors, strict=True):
        back, out = np.asarray((side * 0.34, 0.0, -0.94)), np.asarray((side * 0.94, 0.0, 0.34))
        down = np.asarray((-side * 0.08, 1.0, 0.12))
        axes = np.stack([back, down, out]) * size
        grid = template @ axes + anchor + 0.14 * size * back
        surface = np.concatenate([template[..., :2], np.full_like(template[..., :1], side)], -1)
        parts.append(part_from_grid(Material.EAR, grid, surface, cavity, flip=side > 0))
    return parts


def tube(path: FloatArray, thickness: float, flat: float = 1.0) -> FloatArray:
    """A grid (len(path), 7, 3) around a path; ``flat`` stretches it vertically."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True) + 1e-9
    first = np.cross(ahead, np.asarray((0.13, 0.21, 0.97)))
    first /= np.linalg.norm(first, axis=-1, keepdims=True) + 1e-9
    second = np.cross(ahead, first)
    angle = np.linspace(0, 2 * np.pi, 7)[None, :, None]
    ring = np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None]
    ring[..., 1] *= flat
    return np.asarray(path[:, None] + thickness * ring, dtype=np.float32)


def _joined(tubes: list[FloatArray]) -> Part:
    """One part from several tubes."""
    pieces = [part_from_grid(Material.FRAME, grid, np.zeros_like(grid)) for grid in tubes]
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)], dtype=np.int32)
    vertices = np.concatenate([piece.vertices for piece in pieces])
    return Part(
        Material.FRAME,
        vertices,
        np.concatenate([piece.normals for piece in pieces]),
        np.concatenate([piece.triangles + start for piece, start in zip(pieces, starts, strict=False)]),
        np.zeros_like(vertices),
        vertices[:, :2],
        np.ones(len(vertices), dtype=np.float32),
    )


def glasses(
    eyes: FloatArray, temples: FloatArray, rng: np.random.Generator
) -> tuple[Part, list[FloatArray], bool]:
    """A frame in front of the eyes.

    Args:
        eyes: (2, 3), the eye centres. temples: (2, 3), where the arms meet the ears.

    Returns:
        The frame; the outline (n, 3) of each lens; whether they are sunglasses.
    """
    width, height = rng.uniform(0.25, 0.31), rng.uniform(0.17, 0.25)
    power = rng.uniform(2.0, 4.5)
    thickness = rng.uniform(0.011, 0.03)
    dark = bool(rng.random() < 0.22)
    phi = np.linspace(0, 2 * np.pi, 37)
    circle = np.stack([np.cos(phi), np.sin(phi)], -1)
    shape = np.sign(circle) * np.abs(circle) ** (2 / power)
    tubes, lenses, hinges = [], [], []
    front = float(eyes[:, 2].mean()) + 0.17
    centres = eyes.copy()
    centres[:, 0] *= max(1.0, (width + 0.05) / abs(float(eyes[1, 0])))

    for side, centre in zip((-1.0, 1.0), centres, strict=True):
        rim = np.zeros((len(phi), 3), dtype=np.float32)
        rim[:, 0] = centre[0] + width * shape[:, 0]
        rim[:, 1] = centre[1] + 0.025 + height * shape[:, 1]
        rim[:, 2] = front - 0.35 * np.clip(np.abs(rim[:, 0]) - 0.3, 0, None) ** 2
        tubes.append(tube(rim, thickness))
        lenses.append(rim)
        hinges.append(rim[np.argmax(side * rim[:, 0])])
    half = float(centres[1, 0]) - width
    t = np.linspace(-1, 1, 7)
    bridge_y = float(centres[:, 1].mean()) - 0.05
    bridge = np.stack([half * t, bridge_y + 0.03 * t**2, front + 0.05 * (1 - t**2)], -1)
    tubes.append(tube(bridge, thickness))
    for hinge, temple in zip(hinges, temples, strict=True):
        t = np.linspace(0, 1, 8)[:, None]
        arm = hinge + (temple - hinge) * t
        arm[:, 0] += np.sign(hinge[0]) * 0.12 * np.sin(np.pi * t[:, 0])
        tubes.append(tube(arm, thickness, 1.4))
    return _joined(tubes), lenses, dark


def shoulders(neck_width: float, breadth: float, collar: float) -> Part:
    """Torso and clothing from the collar down."""
    levels = np.concatenate([np.linspace(0, 1, 19), (1.5, 2.5, 7.0)])
    slope, angle = np.meshgrid(levels, np.linspace(-np.pi, np.pi, 49), indexing="ij")
    y = 1.5 + collar * 0.2 + 1.9 * slope**1.15
    widen = 1.0 - np.exp(-3.6 * slope)
    half = neck_width + 0.06 + (breadth - neck_width) * widen
    depth = 0.62 + 0.35 * widen
    drop = 0.28 * np.cos(angle) * (np.cos(angle) > 0) * np.exp(-3 * slope)
    x = np.sin(angle) * half
    z = -0.35 + np.cos(angle) * depth
    grid = np.stack([x, y + drop, z], -1).astype(np.float32)
    surface = np.stack([x, grid[..., 1], angle], -1)
    return part_from_grid(Material.CLOTH, grid, surface.astype(np.float32))


def axis_distance(vertices: FloatArray) -> FloatArray:
    """Distance from the head's vertical axis."""
    return np.asarray(np.hypot(vertices[..., 0], vertices[..., 2] - AXIS_Z))
