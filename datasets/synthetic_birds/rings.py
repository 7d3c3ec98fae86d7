"""Closed tubes made of rings: what a bird is built from.

A tube is a grid (R, C, 3): R rings along it, C points around each, the last point of a ring equal to the first;
several equal ones are a grid (..., R, C, 3).
Around a ring, the angle runs from -pi to pi; 0 points along ``up`` and pi/2 along ``side``. With ``up`` x ``side``
along the tube, normals point outwards and triangles are clockwise on the screen.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray


def angles(columns: int) -> FloatArray:
    """(C,) angles around a ring."""
    return np.linspace(-np.pi, np.pi, columns, dtype=np.float32)


def tube(centres: FloatArray, up: FloatArray, side: FloatArray, columns: int) -> FloatArray:
    """(..., R, C, 3) grids of elliptic rings.

    Args:
        centres: (..., R, 3). up, side: (..., R, 3), the half axes of each ring.
    """
    around = angles(columns)[:, None]
    ring = np.cos(around) * up[..., None, :] + np.sin(around) * side[..., None, :]
    return np.asarray(centres[..., None, :] + ring)


def rod(path: FloatArray, radii: FloatArray, columns: int) -> FloatArray:
    """(..., R, C, 3) grids of round rings of radii (R,) around paths (..., R, 3)."""
    ahead = unit(np.gradient(path, axis=-2))
    up = unit(cross(np.array((0.31, 0.17, 0.93)), ahead))
    radius = radii[:, None]
    return tube(path, up * radius, cross(ahead, up) * radius, columns)


def tube_normals(grid: FloatArray) -> FloatArray:
    """(V, 3) outward unit normals of grids (..., R, C, 3); smooth across the seam."""
    around, along = np.empty_like(grid), np.empty_like(grid)
    around[..., 1:-1, :] = grid[..., 2:, :] - grid[..., :-2, :]
    around[..., 0, :] = around[..., -1, :] = grid[..., 1, :] - grid[..., -2, :]
    along[..., 1:-1, :, :] = grid[..., 2:, :, :] - grid[..., :-2, :, :]
    along[..., 0, :, :] = grid[..., 1, :, :] - grid[..., 0, :, :]
    along[..., -1, :, :] = grid[..., -1, :, :] - grid[..., -2, :, :]
    return unit(cross(around, along)).reshape(-1, 3)


@cache
def tube_triangles(shape: tuple[int, ...]) -> IntArray:
    """(T, 3) two triangles for each cell of grids of a shape (..., R, C)."""
    index = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    a, b = index[..., :-1, :-1], index[..., :-1, 1:]
    c, d = index[..., 1:, 1:], index[..., 1:, :-1]
    pairs = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    triangles = pairs.reshape(-1, 3)
    triangles.flags.writeable = False  # shared by everything that has the same grid
    return triangles


def cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cross products along the last axis; several times faster than ``numpy.cross`` on small arrays."""
    a, b, c = first[..., 0], first[..., 1], first[..., 2]
    x, y, z = second[..., 0], second[..., 1], second[..., 2]
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors along the last axis scaled to length 1; zero stays zero."""
    length = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    return np.asarray(vectors / np.maximum(length, 1e-12))
