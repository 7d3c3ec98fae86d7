"""Several frames' meshes as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.procedural.arrays import Array, IntArray
from datasets.procedural.backend import HOST, Backend
from datasets.procedural.frame import Frame
from datasets.procedural.rasteriser import Fragments, rasterise
from datasets.procedural.scene import PLACE, presence


class Batch:
    """The meshes of frames of one size, one after another, in samples ``fineness`` a pixel along each axis."""

    def __init__(self, frames: Sequence[Frame], fineness: int, on: Backend = HOST) -> None:
        scenes = [frame.scene for frame in frames]
        self.frames, self.fineness, self.on = frames, fineness, on
        self.side = frames[0].size * fineness
        self.pieces = [piece for scene in scenes for piece in scene.pieces]
        self.first_piece = np.cumsum([0, *(len(scene.pieces) for scene in scenes)])
        vertices = np.cumsum([0, *(len(scene.attributes) for scene in scenes)], dtype=np.int32)
        self.screen = on.array(joined([f.on_screen(f.scene.vertices, fineness) for f in frames]))
        self.attributes = on.array(joined([scene.attributes for scene in scenes]))
        self.triangles = on.array(joined([s.triangles + v for s, v in zip(scenes, vertices, strict=False)]))
        pieces = joined([s.piece_of_triangle + p for s, p in zip(scenes, self.first_piece, strict=False)])
        self.piece_of_triangle = on.array(pieces)
        self.picture_of_triangle = on.array(numbered([len(scene.triangles) for scene in scenes]))
        porous = joined([scene.porous for scene in scenes])
        self._any_porous, self._porous = bool(porous.any()), on.array(porous)

    def rasterised(self) -> Fragments:
        """What shows."""
        return rasterise(
            self.screen,
            self.triangles,
            self.side,
            self._present if self._any_porous else None,
            picture=self.picture_of_triangle,
            pictures=len(self.frames),
            on=self.on,
        )

    def _present(self, fragments: Fragments) -> Array:
        """Which of the fragments exist: their descriptions know, on the host."""
        on = self.on
        piece = self.piece_of_triangle[fragments.triangle]
        porous = self._porous[piece]
        asked = on.indices(porous)
        place = fragments.take(asked).interpolate(self.attributes[:, PLACE], self.triangles)
        keep = ~porous
        keep[asked] = on.array(presence(self.pieces, on.host(piece[asked]), on.host(place)))
        return keep


def joined(arrays: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def numbered(counts: Sequence[int]) -> IntArray:
    """0 as often as the first count says, 1 as often as the second, ..."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)
