"""Painters of a bird's parts.

Place coordinates: along the part from 0 to 1 and the angle around it (0 dorsal); for wings and tail, along, across
and upper or lower face (see ``limbs``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Paint
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_birds.dresses import Dress, Rgb

Painted = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Coat:
    """An individual's plumage: a dress, its tints, and where in the noise its feathers lie.

    Attributes:
        tint: (3,) factor of all colours. dull: share of brownish grey in the feathers, as of many females.
    """

    dress: Dress
    tint: FloatArray
    dull: float
    offset: tuple[float, float]

    def colour(self, rgb: Rgb | None) -> FloatArray:
        """(3,) linear; None gives that of the back."""
        plain = linear(self.dress.back if rgb is None else rgb) * self.tint
        grey = np.float32(plain.mean()) * np.array([1.12, 0.98, 0.82], dtype=np.float32)
        return np.asarray(
            np.clip(plain + (grey - plain) * np.float32(self.dull), 0.004, 0.9), dtype=np.float32
        )


def painter(name: str, coat: Coat) -> Paint:
    """The painter of a part."""
    if name == "trunk":
        return partial(_trunk, coat=coat)
    if name.endswith("wing"):
        return partial(_wing, coat=coat)
    if name == "tail":
        return partial(_tail, coat=coat)
    if name.endswith("eye"):
        return partial(_eye, iris=linear(coat.dress.iris))
    if name.endswith("beak"):
        return partial(_horn, colour=linear(coat.dress.beak), gloss=0.4)
    return partial(_leg, skin=linear(coat.dress.legs), feathers=coat.colour(coat.dress.belly))


class _Canvas:
    """Colours of fragments that marks are painted over."""

    def __init__(self, count: int, coat: Coat) -> None:
        self.coat, self.colour = coat, np.empty((count, 3), dtype=np.float32)

    def cover(self, rgb: Rgb | None, amount: FloatArray) -> None:
        self.colour = mix(self.colour, self.coat.colour(rgb), np.clip(amount, 0, 1).astype(np.float32))


def _within(value: FloatArray, low: float, high: float, soft: float) -> FloatArray:
    """1 between two limits, 0 outside, with soft borders."""
    return ramp(value, low - soft, low + soft) * ramp(value, high + soft, high - soft)


def _trunk(place: FloatArray, coat: Coat) -> Painted:
    dress, (du, dv) = coat.dress, coat.offset
    s, angle = place[:, 0], place[:, 1]
    # Noise differs between left and right; the marks do not.
    grain, strand = (
        look_up("grain", angle * 0.12 + du, s * 0.5 + dv),
        look_up("strand", angle * 0.16 + du, s * 0.35),
    )
    a = np.abs(angle) + 0.06 * grain
    t = s + 0.012 * grain
    canvas = _Canvas(len(s), coat)
    canvas.colour[:] = coat.colour(dress.belly)
    canvas.cover(dress.breast, _within(t, 0.4, 0.64, 0.03) * ramp(a, 1.2, 1.6))
    if dress.flank:
        canvas.cover(dress.flank, _within(a, 1.5, 2.35, 0.2) * ramp(t, 0.55, 0.62))
    canvas.cover(dress.back, ramp(a, 1.75, 1.5) * ramp(t, 0.36, 0.42))
    canvas.cover(dress.tail, ramp(t, 0.9, 0.96) * ramp(a, 1.9, 1.5))
    canvas.cover(dress.head or dress.back, ramp(t, 0.44, 0.4) * ramp(a, 2.5, 2.2))
    canvas.cover(dress.throat or dress.breast, ramp(t, 0.44, 0.4) * ramp(a, 2.2, 2.5))
    if dress.hood:
        canvas.cover(dress.head, ramp(t, 0.47, 0.45) * dress.hood)
        canvas.cover(dress.brow_colour, 0.9 * _within(t, 0.475, 0.5, 0.008))
    _head_marks(canvas, dress, t, a)
    canvas.cover(dress.mark, dress.band * _within(t, 0.47, 0.53, 0.012) * ramp(a, 1.5, 1.8))
    below = ramp(a, 1.5, 1.9) * ramp(t, 0.4, 0.46)
    if dress.streaks:
        canvas.cover(dress.mark, dress.streaks * 0.75 * below * ramp(strand, 0.55, 1.1) * ramp(t, 0.82, 0.7))
    if dress.spots:
        dots = ramp(look_up("curl", angle * 0.14 + dv, s * 0.42 + du), 0.75, 1.15)
        canvas.cover(dress.mark, dress.spots * 0.8 * below * dots * ramp(t, 0.8, 0.68))
    if dress.bars:
        canvas.cover(dress.mark, dress.bars * below * ramp(np.sin(s * 150), 0.2, 0.7))
    dark = dress.mantle * ramp(a, 1.7, 1.4) * ramp(t, 0.38, 0.5) * ramp(strand, 0.1, 0.9)
    canvas.colour *= (1.0 - 0.6 * dark)[:, None]
    canvas.colour *= (1.0 + 0.07 * grain + 0.06 * strand)[:, None]
    # A shadow where the eye is set in.
    socket = np.exp(-(((s - 0.227) / 0.032) ** 2) - ((np.abs(angle) - 1.18) / 0.3) ** 2)
    canvas.colour *= (1.0 - 0.25 * socket)[:, None]
    gloss = np.full(len(s), 0.06, dtype=np.float32) + 0.3 * dress.sheen * ramp(
        canvas.colour.mean(-1), 0.2, 0.05
    )
    return canvas.colour, gloss.astype(np.float32)


def _head_marks(canvas: _Canvas, dress: Dress, t: FloatArray, a: FloatArray) -> None:
    """Cap, nape, cheek, eye line, brow, mask, bib; the eye is at (0.227, 1.18)."""
    if dress.cap:
        amount = _within(t, 0.05, 0.42, 0.02) * ramp(a, 0.98, 0.82)
        canvas.cover(dress.cap_colour or dress.mark, dress.cap * amount)
    if dress.nape:
        canvas.cover(dress.mark, dress.nape * _within(t, 0.36, 0.47, 0.02) * ramp(a, 1.3, 1.0))
    if dress.cheek:
        canvas.cover(
            dress.bar_colour, dress.cheek * _within(t, 0.17, 0.39, 0.02) * _within(a, 1.45, 2.1, 0.1)
        )
    if dress.line:
        canvas.cover(dress.mark, dress.line * _within(t, 0.06, 0.4, 0.02) * _within(a, 1.1, 1.32, 0.06))
    if dress.brow:
        canvas.cover(
            dress.brow_colour, dress.brow * _within(t, 0.09, 0.41, 0.02) * _within(a, 0.8, 1.0, 0.05)
        )
    if dress.mask:
        canvas.cover(dress.mark, dress.mask * ramp(t, 0.25, 0.21) * _within(a, 0.95, 2.6, 0.12))
    if dress.bib:
        canvas.cover(dress.mark, dress.bib * _within(t, 0.04, 0.47, 0.015) * ramp(a, 2.15, 2.35))


def _wing(place: FloatArray, coat: Coat) -> Painted:
    dress, (du, dv) = coat.dress, coat.offset
    u, v, face = place.T
    canvas = _Canvas(len(u), coat)
    canvas.colour[:] = coat.colour(dress.flight)
    # Flight feathers radiate from the wrist.
    feather = np.arctan2(v + 0.12, u - 0.12 + 0.02 * v) * 9.0
    vane = np.abs(feather - np.floor(feather) - 0.5) * 2.0
    canvas.cover(dress.wing, 0.55 * ramp(vane, 0.75, 0.3))
    row = v + 0.75 * u + 0.02 * look_up("grain", u * 0.4 + du, v * 0.3 + dv)
    canvas.cover(dress.wing, ramp(row, 0.72, 0.66))
    canvas.cover(dress.back, ramp(row, 0.34, 0.28) + ramp(v, 0.8, 0.92) * ramp(u, 0.42, 0.3))
    scales = ramp(np.sin(u * 55 + 2.0 * np.sin(v * 24)), 0.4, 0.9) * ramp(row, 0.72, 0.6)
    canvas.colour *= (1.0 - (0.12 + 0.25 * dress.mantle) * scales)[:, None]
    for centre in (0.44, 0.69):
        canvas.cover(
            dress.bar_colour, dress.wing_bars * _within(row, centre - 0.02, centre + 0.022, 0.018) * 0.9
        )
    edges = 0.55 * ramp(vane, 0.82, 0.95) * ramp(row, 0.7, 0.8) * (0.25 + 0.75 * dress.wing_bars)
    canvas.cover(dress.bar_colour, edges * (1.0 - 0.8 * ramp(u, 0.6, 0.9)))
    canvas.colour *= (1.0 - 0.35 * ramp(vane, 0.1, 0.0) * ramp(row, 0.68, 0.8))[:, None]
    # The lower face is paler, and most of all the lining.
    under = ramp(face, 0.0, -0.25)
    canvas.cover(dress.flank or dress.belly, under * (0.25 + 0.5 * ramp(v, 0.6, 0.3)))
    canvas.colour *= (1.0 + 0.07 * look_up("grain", u * 0.5 + du, v * 0.5))[:, None]
    return canvas.colour, np.full(len(u), 0.08 + 0.25 * dress.sheen, dtype=np.float32)


def _tail(place: FloatArray, coat: Coat) -> Painted:
    dress = coat.dress
    u, across, face = place.T
    canvas = _Canvas(len(u), coat)
    canvas.colour[:] = coat.colour(dress.tail)
    feather = across * 3.0 + 0.5
    vane = np.abs(feather - np.floor(feather) - 0.5) * 2.0
    canvas.colour *= (1.0 - 0.3 * ramp(vane, 0.8, 1.0) * ramp(u, 0.1, 0.3))[:, None]
    canvas.cover(dress.mark, dress.tail_bars * 0.8 * ramp(np.sin(u * 48), 0.1, 0.6))
    canvas.cover(dress.bar_colour, dress.tail_edge * ramp(np.abs(across), 0.78, 0.86) * ramp(u, 0.2, 0.4))
    canvas.cover(dress.back, 0.9 * ramp(u, 0.25, 0.1) * ramp(face, -0.2, 0.2))
    canvas.cover(dress.belly, ramp(face, 0.1, -0.3) * (0.25 + 0.6 * ramp(u, 0.45, 0.2)))
    canvas.colour *= (1.0 + 0.06 * look_up("strand", across * 0.3 + coat.offset[0], u * 0.4))[:, None]
    return canvas.colour, np.full(len(u), 0.08 + 0.2 * dress.sheen, dtype=np.float32)


def _eye(place: FloatArray, iris: FloatArray) -> Painted:
    """Pupil, iris and the ring of bare skin around the eye."""
    out, angle = place[:, 0], place[:, 1]
    colour = np.repeat(iris[None], len(out), 0)
    colour = mix(colour, np.full(3, 0.006, dtype=np.float32), ramp(out, 0.42, 0.36))
    colour = mix(colour, np.full(3, 0.03, dtype=np.float32), ramp(out, 0.74, 0.82))
    # The sky in the eye.
    spark = np.exp(-(((out - 0.3) / 0.14) ** 2) - ((np.abs(angle) - 1.5) / 0.5) ** 2) * (angle < 0)
    colour = colour + (0.55 * spark)[:, None]
    return np.asarray(colour, dtype=np.float32), np.full(len(out), 0.9, dtype=np.float32)


def _horn(place: FloatArray, colour: FloatArray, gloss: float) -> Painted:
    """A beak, darker along the tip."""
    shade = 0.72 + 0.28 * ramp(place[:, 0], 0.0, 0.45)
    return np.asarray(colour[None] * shade[:, None], dtype=np.float32), np.full(len(place), gloss, np.float32)


def _leg(place: FloatArray, skin: FloatArray, feathers: FloatArray) -> Painted:
    """Feathers on the thigh, scales below; toes are bare, their place runs from 0 as well."""
    along = place[:, 0]
    scales = 1.0 + 0.12 * np.sin(along * 90)
    bare = np.repeat(skin[None], len(along), 0) * scales[:, None]
    # Third coordinate: 1 for legs, 0 for toes.
    amount = ramp(along, 0.46, 0.4) * place[:, 2]
    return mix(bare.astype(np.float32), feathers, amount.astype(np.float32)), np.full(
        len(along), 0.15, np.float32
    )
