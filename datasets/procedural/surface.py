"""Surface coordinates of a rendered picture, with their slopes: exact at each pixel's centre."""

from __future__ import annotations

import numpy as np

from bench.surfaces import SurfaceMap
from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.batch import Batch
from datasets.procedural.category import Shot
from datasets.procedural.drawing import glazed
from datasets.procedural.frame import Frame, frame
from datasets.procedural.rasteriser import Fragments


def shot_surface(shot: Shot, size: int) -> SurfaceMap:
    """Template positions in the pixels that show the subject's surface."""
    return frame_surface(frame(shot, size))


def frame_surface(frame: Frame) -> SurfaceMap:
    """The same of a shot at the size of its picture."""
    scene, batch = frame.scene, Batch([frame], fineness=1)
    fragments = batch.rasterised()
    hidden = frame.covered.reshape(-1)
    if frame.panes:
        depth = np.full(len(hidden), -np.inf, dtype=np.float32)
        depth[fragments.sample] = fragments.interpolate(scene.vertices[:, 2:], scene.triangles)[:, 0]
        hidden = hidden | glazed(frame, np.zeros((len(hidden), 4), dtype=np.float32), depth).reshape(-1)
    own = (scene.piece_of_triangle[fragments.triangle] < scene.own) & ~hidden[fragments.sample]
    return surface_map(
        fragments.take(np.flatnonzero(own)), batch.screen, scene.triangles, scene.surface, frame.size
    )


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
