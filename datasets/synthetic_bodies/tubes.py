"""Meshes from swept rings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.mesh import grid_normals, grid_triangles


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices in the frame of the body, and what is known about each.

    Shapes:
        vertices, normals: (V, 3). triangles: (T, 3).
        surface: (V, 3), the same spot on the template at rest. place: (V, 3), what the painters look at.
    """

    vertices: FloatArray
    normals: FloatArray
    triangles: IntArray
    surface: FloatArray
    place: FloatArray


def swept(
    centres: FloatArray, first: FloatArray, second: FloatArray, wide: FloatArray, angles: FloatArray
) -> FloatArray:
    """(R, C, 3) rings around a path; columns run so that the outside is the front where first x second = ahead.

    Shapes:
        centres, first, second: (R, 3). wide: (R, C, 2), radius along ``first`` and ``second``. angles: (C,).
    """
    a, b = wide[..., 0] * np.cos(angles), wide[..., 1] * np.sin(angles)
    return np.asarray(centres[:, None] + a[..., None] * first[:, None] + b[..., None] * second[:, None])


def grid_mesh(grid: FloatArray, surface: FloatArray, place: FloatArray) -> Mesh:
    """A mesh from grids (R, C, 3) whose rings are closed: the last column repeats the first."""
    rows, columns = grid.shape[:2]
    vertices = grid.reshape(-1, 3).astype(np.float32)
    normals = grid_normals(vertices, rows, columns).reshape(rows, columns, 3)
    seam = normals[:, 0] + normals[:, -1]
    seam /= np.linalg.norm(seam, axis=-1, keepdims=True) + np.float32(1e-9)
    normals[:, 0] = normals[:, -1] = seam
    return Mesh(
        vertices,
        normals.reshape(-1, 3),
        grid_triangles(rows, columns),
        surface.reshape(-1, 3).astype(np.float32),
        place.reshape(-1, 3).astype(np.float32),
    )


def joined(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([m.triangles + start for m, start in zip(meshes, starts, strict=False)]).astype(
            np.int32
        ),
        np.concatenate([mesh.surface for mesh in meshes]),
        np.concatenate([mesh.place for mesh in meshes]),
    )
