"""All pieces of a shot as one mesh, in the view and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.category import Piece, Shot
from datasets.procedural.rasteriser import Fragments, rasterise

NORMAL, POSITION, PLACE, CAVITY = slice(0, 3), slice(3, 6), slice(6, 9), 9


@dataclass(frozen=True, eq=False)
class Scene:
    """The joined mesh.

    Shapes:
        triangles: (T, 3). piece_of_triangle: (T,). attributes: (V, 10): normal, position, place and cavity, in the
            columns that the constants of this module name. surface: (V, 3).

    Attributes:
        own: How many of the pieces, counted from the first, are the subject's.
    """

    pieces: Sequence[Piece]
    own: int
    triangles: IntArray
    piece_of_triangle: IntArray
    attributes: FloatArray
    surface: FloatArray

    @property
    def figures(self) -> BoolArray:
        """Which pieces are part of the annotated object."""
        return np.array([i < self.own and piece.figure for i, piece in enumerate(self.pieces)])

    def rasterised(self, shot: Shot, side: int) -> tuple[Fragments, FloatArray]:
        """The visible fragments at ``side`` samples a side, and the screen's vertices (V, 3)."""
        screen = on_screen(self.attributes[:, POSITION], shot, side)
        porous = any(piece.present is not None for piece in self.pieces)
        return rasterise(screen, self.triangles, side, self.present if porous else None), screen

    def present(self, fragments: Fragments) -> BoolArray:
        """Which of the fragments exist, see ``Piece.present``."""
        piece_of = self.piece_of_triangle[fragments.triangle]
        keep = np.ones(len(piece_of), dtype=np.bool_)
        for i, piece in enumerate(self.pieces):
            if piece.present is None:
                continue
            mine = np.flatnonzero(piece_of == i)
            if len(mine):
                place = fragments.take(mine).interpolate(self.attributes[:, PLACE], self.triangles)
                keep[mine] = piece.present(place)
        return keep


def on_screen(points: FloatArray, shot: Shot, side: int) -> FloatArray:
    """(N, 3) points of the view -> x and y in samples of a picture of that side, depth in the same length."""
    screen = points * np.float32(shot.scale * side)
    screen[:, :2] += np.asarray(shot.centre, dtype=np.float32) * side
    return np.asarray(screen, dtype=np.float32)


def join(shot: Shot) -> Scene:
    """The subject's pieces first, then all others."""
    pieces = [*shot.subject.pieces, *shot.others]
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)], dtype=np.int32)
    columns = [
        np.concatenate([piece.normals for piece in pieces]),
        np.concatenate([piece.vertices for piece in pieces]),
        np.concatenate([piece.place for piece in pieces]),
        np.concatenate([_cavity(piece) for piece in pieces])[:, None],
    ]
    return Scene(
        pieces=pieces,
        own=len(shot.subject.pieces),
        triangles=np.concatenate([p.triangles + start for p, start in zip(pieces, starts, strict=False)]),
        piece_of_triangle=np.concatenate([np.full(len(p.triangles), i) for i, p in enumerate(pieces)]),
        attributes=np.concatenate(columns, axis=1).astype(np.float32),
        surface=np.concatenate([piece.surface for piece in pieces]).astype(np.float32),
    )


def _cavity(piece: Piece) -> FloatArray:
    return np.ones(len(piece.vertices), dtype=np.float32) if piece.cavity is None else piece.cavity
