"""All pieces of a shot as one mesh, in the view and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.category import Piece
from datasets.procedural.rasteriser import Fragments

NORMAL, POSITION, CAVITY, PLACE = slice(0, 3), slice(3, 6), 6, slice(7, None)


@dataclass(frozen=True, eq=False)
class Scene:
    """The joined mesh.

    Shapes:
        triangles: (T, 3). piece_of_triangle: (T,), ascending. attributes: (V, 7 + P): normal, position, cavity and
            place, in the columns that the constants of this module name. surface: (V, 3).

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
    def vertices(self) -> FloatArray:
        """(V, 3), in the view."""
        return self.attributes[:, POSITION]

    @property
    def figures(self) -> BoolArray:
        """Which pieces are part of the annotated object."""
        return np.array([i < self.own and piece.figure for i, piece in enumerate(self.pieces)])

    @property
    def porous(self) -> BoolArray:
        """Which pieces have holes, see ``Piece.present``."""
        return np.array([piece.present is not None for piece in self.pieces])

    def casters(self) -> FloatArray:
        """(C, 3) vertices that keep the key light from others, in the view."""
        kept = [piece.vertices[_mask(piece)] for piece in self.pieces]
        return np.concatenate(kept).astype(np.float32)

    def present(self, fragments: Fragments) -> BoolArray:
        """Which of the fragments exist, see ``Piece.present``."""
        piece_of = self.piece_of_triangle[fragments.triangle]
        keep = np.ones(len(piece_of), dtype=np.bool_)
        asked = np.flatnonzero(self.porous[piece_of])
        place = fragments.take(asked).interpolate(self.attributes[:, PLACE], self.triangles)
        keep[asked] = presence(self.pieces, piece_of[asked], place)
        return keep


def presence(pieces: Sequence[Piece], piece_of: IntArray, place: FloatArray) -> BoolArray:
    """Which fragments of porous pieces exist; by number of the piece (F,), ascending, and place (F, P)."""
    keep = np.ones(len(piece_of), dtype=np.bool_)
    edges = np.searchsorted(piece_of, np.arange(len(pieces) + 1)).tolist()
    for piece, (start, stop) in zip(pieces, pairwise(edges), strict=True):
        if piece.present is not None and start < stop:
            keep[start:stop] = piece.present(place[start:stop])
    return keep


def _mask(piece: Piece) -> BoolArray:
    return np.broadcast_to(np.asarray(piece.casts_shadow, dtype=np.bool_), len(piece.vertices))


def join(pieces: Sequence[Piece], own: int) -> Scene:
    """Pieces as one mesh; the first ``own`` are the subject's."""
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)], dtype=np.int32)
    columns = [
        np.concatenate([piece.normals for piece in pieces]),
        np.concatenate([piece.vertices for piece in pieces]),
        np.concatenate([_cavity(piece) for piece in pieces])[:, None],
        np.concatenate([piece.place for piece in pieces]),
    ]
    return Scene(
        pieces=pieces,
        own=own,
        triangles=np.concatenate([p.triangles + start for p, start in zip(pieces, starts, strict=False)]),
        piece_of_triangle=np.concatenate([np.full(len(p.triangles), i) for i, p in enumerate(pieces)]),
        attributes=np.concatenate(columns, axis=1).astype(np.float32),
        surface=np.concatenate([piece.surface for piece in pieces]).astype(np.float32),
    )


def _cavity(piece: Piece) -> FloatArray:
    return np.ones(len(piece.vertices), dtype=np.float32) if piece.cavity is None else piece.cavity
