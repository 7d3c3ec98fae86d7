"""The trunk from the neck to the hips, the collar, and legs."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import paired, ramp
from datasets.synthetic_bodies.skeleton import SIDES, Build
from datasets.synthetic_bodies.tubes import Mesh, grid_mesh, joined, swept

_HEIGHTS = (-0.95, -0.72, -0.5, -0.25, 0.1, 0.6, 1.2, 2.0, 3.0, 3.9, 4.8, 5.7)
_WIDTH = (0.6, 0.84, 1.3, 1.72, 1.84, 1.76, 1.66, 1.56, 1.42, 1.52, 1.7, 1.72)
_DEPTH = (0.56, 0.68, 0.76, 0.84, 0.97, 1.1, 1.16, 1.1, 1.0, 1.02, 1.08, 1.05)
_MIDDLE = (-0.05, -0.1, -0.15, -0.15, -0.1, 0.0, 0.05, 0.06, 0.06, 0.05, 0.0, 0.0)
_POWER = 2.5
_COLUMNS = 45
LOWEST = 12.6  # height of the soles

_LEVELS = np.concatenate([np.linspace(-0.95, 0.0, 11), np.linspace(0.15, 2.4, 13), np.linspace(2.7, 5.7, 9)])


@cache
def _profile() -> FloatArray:
    """(3, R, 1) half width, half depth and middle's depth at each level."""
    values = PchipInterpolator(_HEIGHTS, np.stack([_WIDTH, _DEPTH, _MIDDLE], -1))(_LEVELS)
    return np.asarray(values.T[..., None])


@cache
def _template() -> FloatArray:
    return _trunk(Build(), 0.0, 0.0)


def _trunk(build: Build, loose: float, folds: float) -> FloatArray:
    """(R, C, 3) vertices."""
    y, angle = np.meshgrid(_LEVELS, np.linspace(-np.pi, np.pi, _COLUMNS), indexing="ij")
    width, depth, middle = _profile()
    shoulders = build.shoulder / Build().shoulder
    waist = np.exp(-(((y - 3.0) / 1.1) ** 2))
    hips = ramp(y, 3.3, 4.8)
    chest = ramp(y, 3.0, 0.3)
    factor = 1.0 + (shoulders - 1.0) * chest * ramp(y, -0.9, -0.2) + (build.breadth - 1.0) * ramp(y, 0.1, 0.8)
    factor = factor * (1.0 + (build.waist - 1.0) * waist + (build.hips - 1.0) * hips)
    cloth = loose * ramp(y, -0.7, 0.4)
    wide = width * factor + cloth
    deep = depth * (1.0 + (build.depth - 1.0) * ramp(y, -0.5, 0.5)) + cloth
    deep = deep * (1.0 + 0.5 * (build.waist - 1.0) * waist)
    sin, cos = np.sin(angle), np.cos(angle)
    x = wide * np.sign(sin) * np.abs(sin) ** (2 / _POWER)
    z = middle + deep * np.sign(cos) * np.abs(cos) ** (2 / _POWER)
    front = ramp(cos, 0.0, 0.4)
    z = z + front * build.bust * paired(x, y, (0.72, 1.3), (0.42, 0.42))
    z = z + front * (0.06 * paired(x, y, (0.7, 0.9), (0.5, 0.4)) - 0.05 * ramp(np.abs(x), 0.2, 0.0) * chest)
    # Cloth hangs from the chest and creases at the waist and towards the armpits.
    crease = np.sin(5.5 * y + 3 * np.abs(x) + folds) * waist + np.sin(7 * np.abs(x) - 5 * y + folds) * ramp(
        np.abs(x), 0.6, 1.5
    ) * ramp(y, 2.4, 0.8) * ramp(y, 0.0, 0.8)
    z = z + np.sign(cos) * 0.35 * cloth * crease
    return np.stack([x, y, z], -1)


def trunk_mesh(build: Build, loose: float, folds: float) -> Mesh:
    """Neck base to hips; its place is the spot on the template.

    Args:
        loose: How far the cloth stands off. folds: phase of its creases.
    """
    return grid_mesh(_trunk(build, loose, folds), _template(), _template())


def collar_mesh(open_front: float) -> Mesh:
    """A turned-down collar; its place is (angle, height from 0 at the fold to 1 at the edge, 0)."""
    level, angle = np.meshgrid(np.linspace(-0.5, 1, 7), np.linspace(-np.pi, np.pi, 33), indexing="ij")
    front = np.clip(np.cos(angle), 0, 1) ** 2
    outer = np.clip(level, 0, 1)
    radius = 0.6 + 0.3 * outer
    # Inside the fold the cloth runs down again, towards the skin; in front it hangs in two points.
    points = 0.3 * np.exp(-(((np.abs(angle) - 0.35 - 0.3 * open_front) / 0.25) ** 2)) * outer
    y = -1.02 + 0.26 * np.abs(level) + 0.28 * (0.5 + 0.5 * np.cos(angle)) + points
    x = np.sin(angle) * radius
    z = -0.05 + np.cos(angle) * radius * (0.97 + 0.1 * front) + 0.12 * front * outer
    grid = np.stack([x, y, z], -1)
    place = np.stack([angle, level, np.zeros_like(angle)], -1)
    return grid_mesh(grid, np.full_like(grid, np.nan), place)


def legs_mesh(build: Build, skirt: float, stride: float) -> Mesh:
    """Legs and shoes, or a skirt that ends at a share of the legs' length; place: (x, height, 0 cloth or 1 shoe).

    Args:
        skirt: 0 for trousers. stride: how far the feet are apart, 0 to 1.
    """
    angles = np.linspace(0, 2 * np.pi, 17)
    levels = np.linspace(5.0, LOWEST, 15)
    meshes = []
    hips = build.breadth * build.hips
    for side in SIDES:
        down = (levels - levels[0]) / (levels[-1] - levels[0])
        x = side * (0.82 * hips + (0.1 + 0.5 * stride) * down)
        centres = np.stack([x, levels, -0.05 - 0.15 * down], -1)
        radius = np.interp(down, (0, 0.2, 0.5, 0.62, 0.95, 1), (0.92, 0.88, 0.62, 0.62, 0.48, 0.5)) * hips
        meshes.append(_pillar(centres, np.stack([radius, radius], -1), angles, 0.0))
        heel = np.array([x[-1] + side * 0.1, LOWEST + 0.05, 0.35])
        steps = np.linspace(-0.35, 0.45, 6)
        shoe = np.stack([np.full(6, heel[0]), heel[1] + steps, np.full(6, heel[2])], -1)
        round_ = np.sqrt(np.clip(1 - (steps / 0.5) ** 2, 0.05, 1))
        meshes.append(_pillar(shoe, np.stack([0.5 * round_, 1.15 * round_], -1), angles, 1.0))
    if skirt > 0:
        levels = np.linspace(5.0, 5.0 + skirt * (LOWEST - 5.0), 10)
        centres = np.stack([np.zeros(10), levels, np.zeros(10)], -1)
        wide = np.interp(levels, (5.0, 12.0), (1.98, 2.6)) * hips
        meshes.append(_pillar(centres, np.stack([wide, 0.75 * wide], -1), np.linspace(0, 2 * np.pi, 33), 2.0))
    return joined(meshes)


def _pillar(centres: FloatArray, radius: FloatArray, angles: FloatArray, kind: float) -> Mesh:
    """A tube that runs down."""
    right = np.broadcast_to([1.0, 0.0, 0.0], centres.shape)
    back = np.broadcast_to([0.0, 0.0, -1.0], centres.shape)
    wide = np.broadcast_to(radius[:, None], (len(centres), len(angles), 2))
    grid = swept(centres, right, back, wide, angles)
    place = np.concatenate([grid[..., :2], np.full_like(grid[..., :1], kind)], -1)
    return grid_mesh(grid, np.full_like(grid, np.nan), place)
