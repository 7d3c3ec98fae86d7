"""Surface coordinates of a rendered picture, with their slopes: exact at each pixel's centre."""

from __future__ import annotations

import numpy as np

from bench.surfaces import SurfaceMap
from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.category import Shot
from datasets.procedural.rasteriser import Fragments
from datasets.procedural.scene import join


def shot_surface(shot: Shot, size: int) -> SurfaceMap:
    """Template positions in the pixels that show the subject's surface."""
    scene = join(shot)
    fragments, screen = scene.rasterised(shot, size)
    piece = scene.piece_of_triangle[fragments.triangle]
    own = piece < scene.own
    if shot.foreground is not None:
        own &= shot.foreground(size)[1].reshape(-1)[fragments.sample] < 0.5
    return surface_map(fragments.take(own), screen, scene.triangles, scene.surface, size)


def surface_map(
    fragments: Fragments, screen: FloatArray, triangles: IntArray, surface: FloatArray, size: int
) -> SurfaceMap:
    """The map of fragments at one sample a pixel.

    Shapes:
        screen: (V, 3), vertices in pixels. surface: (V, D), NaN where a vertex has no coordinates: pixels whose
            triangle has such a vertex are left out.
    """
    corners = triangles[fragments.triangle]
    known = np.asarray(np.isfinite(surface).all(-1))[corners].all(-1)
    corners, weights = corners[known], fragments.weights[known].astype(np.float64)
    values, places = surface[corners].astype(np.float64), screen[corners, :2].astype(np.float64)
    edges = places[:, 1:] - places[:, :1]  # (P, 2, 2): two edges from the first corner, in pixels
    rises = values[:, 1:] - values[:, :1]  # (P, 2, D): the change of the coordinates along them
    slope = np.linalg.solve(edges, rises).astype(np.float64)
    return SurfaceMap(
        size=size,
        pixel=fragments.sample[known].astype(np.int64),
        coordinates=np.einsum("pc,pcd->pd", weights, values),
        slope=slope.transpose(0, 2, 1),
    )
