"""Sculpting: grids of vertices as meshes, and the smooth bumps and steps that shape them."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray

Pair = tuple[float, float]


def bump(x: FloatArray, y: FloatArray, centre: Pair, width: Pair) -> FloatArray:
    """A Gaussian bump of height 1; ``width`` is its standard deviation along x and y."""
    across, down = (x - centre[0]) / width[0], (y - centre[1]) / width[1]
    return np.asarray(np.exp(-0.5 * (across**2 + down**2)), dtype=np.float32)


def paired(x: FloatArray, y: FloatArray, centre: Pair, width: Pair) -> FloatArray:
    """The same bump on both sides of the face."""
    return bump(np.abs(x), y, centre, width)


def ramp(value: FloatArray, low: float, high: float) -> FloatArray:
    """Smooth step from 0 at ``low`` to 1 at ``high`` (falling where ``high`` < ``low``)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def grid_triangles(rows: int, columns: int) -> IntArray:
    """Two triangles per cell of a grid of vertices in row order, all with the same orientation."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    ).astype(np.int32)


def unit_length(vectors: FloatArray) -> FloatArray:
    """(N, 3) vectors scaled to length 1."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors)) + np.float32(1e-12)
    return np.asarray(vectors / length[:, None], dtype=np.float32)


def grid_normals(vertices: FloatArray, rows: int, columns: int) -> FloatArray:
    """(R * C, 3) outward unit normals of a grid whose rows run down and whose columns run to the right."""
    grid = np.ascontiguousarray(vertices.reshape(rows, columns, 3).transpose(2, 0, 1), dtype=np.float32)
    across, down = np.empty_like(grid), np.empty_like(grid)
    across[:, :, 1:-1], down[:, 1:-1] = grid[:, :, 2:] - grid[:, :, :-2], grid[:, 2:] - grid[:, :-2]
    across[:, :, 0], across[:, :, -1] = grid[:, :, 1] - grid[:, :, 0], grid[:, :, -1] - grid[:, :, -2]
    down[:, 0], down[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    normal = np.stack(
        [
            across[1] * down[2] - across[2] * down[1],
            across[2] * down[0] - across[0] * down[2],
            across[0] * down[1] - across[1] * down[0],
        ],
        axis=-1,
    )
    return unit_length(normal.reshape(-1, 3))
