"""Panes of glass: flat, tinted, with a streak of glare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import Array, FloatArray
from datasets.procedural.backend import Backend
from datasets.procedural.rasteriser import Fragments, rasterise


@dataclass(frozen=True, eq=False)
class Pane:
    """A convex pane.

    Shapes:
        outline: (N, 3), in the view; its middle first, then around it, clockwise on the screen.
        veil: (3,), linear colour of the glare at its strongest.

    Attributes:
        keep: Share of the light that comes through.
        glare: Strength of the streak.
        opaque: Whether what lies behind counts as hidden.
    """

    outline: FloatArray
    veil: FloatArray
    keep: float
    glare: float
    opaque: bool

    def seen(self, screen: FloatArray, side: int, depth: Array, on: Backend) -> tuple[Array, Array]:
        """Where the pane is the nearest surface.

        Args:
            screen: (N, 3), the outline in samples.
            depth: (side * side,), in the view, of what is drawn so far.

        Returns:
            (F,) samples, and (F, 2) positions in the view.
        """
        last = np.arange(1, len(screen) - 1)
        fan = on.array(np.stack([np.zeros_like(last), last, last + 1], -1))
        fragments: Fragments = rasterise(on.array(screen), fan, side, on=on)
        across = fragments.interpolate(on.array(self.outline), fan)
        nearest = on.indices(across[:, 2] > depth[fragments.sample])
        return fragments.sample[nearest], across[nearest, :2]

    def tinted(self, behind: Array, across: Array, on: Backend) -> Array:
        """(F, 3) colour through the pane of what is behind it, (F, 4) with its coverage, at (F, 2) positions."""
        middle = float(self.outline[0, :2].sum())
        streak = 0.1 + 0.25 * on.xp.exp(-(((across.sum(1) - middle + 0.1) / 0.1) ** 2))
        through = behind[:, :3] * self.keep + (streak * self.glare)[:, None] * on.array(self.veil)
        return on.xp.where(behind[:, 3:] > 0, through, behind[:, :3])
