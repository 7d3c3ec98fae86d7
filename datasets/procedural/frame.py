"""A shot at the size of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.background import dimmed
from datasets.procedural.camera import Camera
from datasets.procedural.category import Backdrop, Cover, Shot
from datasets.procedural.glass import Pane
from datasets.procedural.light import Light
from datasets.procedural.scene import Scene, join


@dataclass(frozen=True, eq=False)
class Frame:
    """What is drawn: all lengths of the screen are pixels.

    Shapes:
        offset: (2,), float32, where the view's origin goes.

    Attributes:
        unit: Length of the view's unit.
        backdrop, cover, girth: ``background``, ``foreground`` and ``girth`` of ``category.Shot``.
        casters_continue: Whether what casts shadows goes on beyond the vertices that are given as casters. What lies
            beyond them is then shadowed as their border is; else nothing shadows it.
        panes: Glass, drawn over everything but the foreground.
    """

    scene: Scene
    size: int
    unit: float
    offset: FloatArray
    light: Light
    camera: Camera
    backdrop: Backdrop
    cover: Cover | None = None
    girth: float = 1.0
    casters_continue: bool = False
    panes: Sequence[Pane] = ()

    @cached_property
    def background(self) -> FloatArray:
        """(S, S, 3) linear colour behind all, as it is lit."""
        return dimmed(self.backdrop(self.size), self.light)

    @cached_property
    def foreground(self) -> tuple[FloatArray, FloatArray] | None:
        """Linear colour (S, S, 3) and opacity (S, S) of what is in front of all; None: nothing is."""
        return None if self.cover is None else self.cover(self.size)

    @property
    def covered(self) -> BoolArray:
        """(S, S) pixels that the foreground hides."""
        layer = self.foreground
        return np.zeros((self.size, self.size), dtype=np.bool_) if layer is None else layer[1] >= 0.5

    def on_screen(self, points: FloatArray, fineness: int = 1) -> FloatArray:
        """(N, 3) points of the view: x and y in samples, ``fineness`` a pixel along each axis, and as deep."""
        screen = points * np.float32(self.unit * fineness)
        screen[:, :2] += self.offset * fineness
        return np.asarray(screen, dtype=np.float32)


def frame(shot: Shot, size: int) -> Frame:
    """A category's shot as a picture of this size."""
    return Frame(
        scene=join([*shot.subject.pieces, *shot.others], len(shot.subject.pieces)),
        size=size,
        unit=shot.scale * size,
        offset=np.asarray(shot.centre, dtype=np.float32) * size,
        light=shot.light,
        camera=shot.camera,
        backdrop=shot.background,
        cover=shot.foreground,
        girth=shot.girth,
    )
