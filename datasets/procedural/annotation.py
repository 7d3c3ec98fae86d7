"""What is known about a rendered picture: which landmarks are hidden, and the subject's bounds."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.category import Piece, Shot, Subject
from datasets.procedural.frame import Frame
from datasets.procedural.rasteriser import Fragments
from datasets.procedural.scene import Scene


def hidden_landmarks(scene: Scene, subject: Subject) -> BoolArray:
    """(K,) whether something is nearer to the viewer than a landmark, on the ray through it.

    Tested against the triangles, not the samples of the picture: visibility does not depend on the picture's size.
    What counts as nearer: see ``category.Subject``.
    """
    x, y, z = (
        np.ascontiguousarray(column[scene.triangles].T) for column in scene.vertices.T
    )  # (3, T) each: by corner and triangle
    west, east, north, south = (bound(line, axis=0) for line in (x, y) for bound in (np.min, np.max))
    hidden = np.zeros(len(subject.landmarks), dtype=np.bool_)
    for k, (at_x, at_y, at_z) in enumerate(subject.landmarks):
        near = np.flatnonzero((west <= at_x) & (east >= at_x) & (north <= at_y) & (south >= at_y))
        weights, inside = _weights(x[:, near] - np.float64(at_x), y[:, near] - np.float64(at_y))
        near, weights = near[inside], weights[:, inside]
        kept = scene.present(Fragments(np.zeros_like(near), near, weights.T.astype(np.float32)))
        near, weights = near[kept], weights[:, kept]
        own = scene.figures[scene.piece_of_triangle[near]]
        allowed = np.where(own, subject.tolerances[k], 0.0)
        hidden[k] = ((weights * z[:, near]).sum(0) > at_z + allowed).any()
    return hidden


def _weights(x: FloatArray, y: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(3, N) barycentric weights of the origin in triangles, and (N,) which front-facing triangles hold it.

    Shapes:
        x, y: (3, N), the corners.
    """
    areas = np.stack([x[i - 2] * y[i - 1] - x[i - 1] * y[i - 2] for i in range(3)])
    total = areas.sum(0)
    return areas / np.where(total > 0, total, 1.0), (total > 0) & (areas >= 0).all(0)


def figure_box(shot: Shot, frame: Frame, points: FloatArray) -> FloatArray:
    """(4,) bounds of the subject's mesh and its landmarks within the picture, hidden parts included."""
    corners = [points]
    for piece in shot.subject.pieces:
        if piece.figure:
            corners.append(frame.on_screen(_existing(piece))[:, :2])
    low, high = (f([f(c, axis=0) for c in corners if len(c)], axis=0) for f in (np.min, np.max))
    return np.asarray(np.clip(np.concatenate([low, high]), 0, frame.size), dtype=np.float32)


def _existing(piece: Piece) -> FloatArray:
    return piece.vertices if piece.present is None else piece.vertices[piece.present(piece.place)]
