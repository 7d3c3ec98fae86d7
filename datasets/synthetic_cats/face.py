"""What is painted on the head's fur: eyes, nose, mouth, pads of the whiskers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import bump, paired, ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_cats import layout
from datasets.synthetic_cats.cat import Cat
from datasets.synthetic_cats.coat import Painted, head_coat
from datasets.synthetic_cats.deformation import eye_squeeze


@dataclass(frozen=True)
class Face:
    """What a face does in one picture.

    Attributes:
        shut: How far the left and the right eye are closed.
        jaw: How far the jaw is open.
        gaze: Shift of the pupils. pupil: their half-width, from a slit to nearly the iris.
    """

    shut: tuple[float, float]
    jaw: float
    gaze: tuple[float, float]
    pupil: float


def paint_head(spot: FloatArray, cat: Cat, face: Face) -> Painted:
    """(F, 3) albedo and (F,) gloss of the head at (F, 3) positions on the template."""
    colour = head_coat(spot, cat)
    gloss = np.full(len(spot), 0.03, dtype=np.float32)
    front = spot[:, 2] > 0.2
    x, y = spot[:, 0], spot[:, 1]
    lower = np.flatnonzero(front & (y > 0.38) & (np.abs(x) < 0.55))
    colour[lower], gloss[lower] = _muzzle(spot[lower], colour[lower], gloss[lower], cat, face)
    eyes = np.flatnonzero(front & (np.abs(y) < 0.36) & (np.abs(x) > 0.12) & (np.abs(x) < 0.95))
    colour[eyes], gloss[eyes] = _eyes(spot[eyes], colour[eyes], gloss[eyes], cat, face)
    return colour, gloss


def _muzzle(spot: FloatArray, colour: FloatArray, gloss: FloatArray, cat: Cat, face: Face) -> Painted:
    x, y = spot[:, 0], spot[:, 1]
    side = np.abs(x)
    dots = ramp(np.cos((side - 0.1) * 42) * np.cos((y - 0.74 - 0.2 * side) * 48), 0.55, 0.9)
    dots *= paired(x, y, (0.24, 0.76), (0.09, 0.06))
    dark = 0.35 * dots + 0.5 * np.exp(-((side / 0.014) ** 2)) * ramp(y, 0.64, 0.68) * ramp(y, 0.82, 0.79)
    line = np.abs(y - layout.slit_height(x))
    ends = ramp(side, layout.MOUTH_HALF_WIDTH + 0.03, layout.MOUTH_HALF_WIDTH - 0.06)
    dark += 0.75 * ends * ramp(line, 0.032, 0.012)
    dark += 0.2 * bump(x, y, (0, 0.97), (0.3, 0.05))
    colour = colour * (1.0 - np.clip(dark, 0, 0.9))[:, None]
    # The leather of the nose: a rounded triangle with two nostrils.
    t = np.clip((y - layout.NOSE_TOP) / (layout.NOSE_BOTTOM - layout.NOSE_TOP), 0, 1)
    half = layout.NOSE_HALF_WIDTH * np.clip(1.0 - t**1.7, 0, 1) ** 0.7
    top = layout.NOSE_TOP + 0.03 * np.cos(np.minimum(side / layout.NOSE_HALF_WIDTH, 1) * np.pi)
    nose = ramp(half - side, -0.015, 0.02) * ramp(y - top, -0.012, 0.012) * ramp(y, 0.68, 0.66)
    nostril = np.exp(-(((side - 0.075 - 0.15 * (y - 0.56)) / 0.03) ** 2) - ((y - 0.575) / 0.022) ** 2)
    leather = cat.leather * (1.0 + 0.08 * look_up("grain", x * 2, y * 2))[:, None]
    colour = mix(colour, leather * (1.0 - 0.85 * nostril)[:, None], nose)
    gloss = gloss + 0.4 * nose
    if face.jaw > 0.04:
        inside = np.flatnonzero((line < layout.SLIT_HALF_HEIGHT) & (side < layout.MOUTH_HALF_WIDTH - 0.03))
        colour[inside] = _open_mouth(x[inside], y[inside], face)
        gloss[inside] = 0.3
    return colour, gloss


def _open_mouth(x: FloatArray, y: FloatArray, face: Face) -> FloatArray:
    """Tongue, throat and teeth over the stretched slit between the lips."""
    depth = 0.5 + 0.5 * (y - layout.slit_height(x)) / layout.SLIT_HALF_HEIGHT
    tongue = ramp(depth, 0.45, 0.75) * ramp(np.abs(x), 0.2, 0.12)
    colour = mix(np.repeat(linear((86, 30, 30))[None], len(x), 0), linear((214, 122, 118)), tongue)
    long = 0.16 / max(face.jaw, 0.25)
    fangs = ramp(long * 1.6 - depth, 0.0, 0.06) * ramp(np.abs(np.abs(x) - 0.12), 0.022, 0.012)
    fangs = np.maximum(fangs, ramp(long * 0.5 - depth, 0.0, 0.05) * ramp(np.abs(x), 0.11, 0.09))
    fangs = np.maximum(fangs, ramp(depth - 1 + long, 0, 0.06) * ramp(np.abs(np.abs(x) - 0.1), 0.02, 0.01))
    return mix(colour, linear((236, 230, 214)), fangs * np.float32(min(1.0, 4 * face.jaw)))


def _eyes(spot: FloatArray, colour: FloatArray, gloss: FloatArray, cat: Cat, face: Face) -> Painted:
    x, y = np.ascontiguousarray(spot[:, 0]), np.ascontiguousarray(spot[:, 1])
    along, height = layout.eye_frame(x, y)
    top, bottom = layout.lid(along, layout.EYE_RISE), layout.lid(along, layout.EYE_DROP)
    outside = np.maximum(-height - top, height - bottom) + 0.1 * np.clip(np.abs(along) - 1.0, 0, None)
    rim = np.exp(-((np.clip(outside, 0, None) / 0.024) ** 2)) * ramp(np.abs(along), 1.22, 0.95)
    inner_corner = np.exp(-(((along + 1.12) / 0.14) ** 2) - ((height - 0.015) / 0.03) ** 2)
    dark = linear((26, 20, 20))
    colour = mix(colour, dark[None], np.clip(0.9 * rim + 0.85 * inner_corner, 0, 0.95))
    which = (x > 0).astype(np.int64)
    shut = np.asarray(face.shut, dtype=np.float32)[which]
    ball = _eyeball(x, y + shut * eye_squeeze(x, y), cat.iris[which], face)
    # The upper lid shades the eye.
    ball *= (0.6 + 0.4 * ramp(height + top, 0.0, 0.07))[:, None] * (1.0 - 0.45 * shut)[:, None]
    inside = ramp(outside, 0.006, -0.01)
    return mix(colour, ball, inside), np.where(inside > 0.5, np.float32(0.75), gloss)


def _eyeball(x: FloatArray, y: FloatArray, iris: FloatArray, face: Face) -> FloatArray:
    """Iris, pupil and a spark at (F,) places in the frame of the eyes, with the lids' movement applied."""
    sign = np.where(x > 0, np.float32(1), np.float32(-1))
    dx, dy = x - sign * layout.EYE[0] - face.gaze[0], y - layout.EYE[1] - face.gaze[1]
    distance = np.hypot(dx, dy)
    spokes = 1.0 + 0.12 * look_up("grain", distance * 2.0, np.arctan2(dy, dx) * 0.6)
    colour = iris * (spokes * (0.8 + 0.5 * ramp(dy, -0.12, 0.14)))[:, None]
    colour = colour * (1.0 - 0.6 * ramp(distance, 0.15, 0.22))[:, None]
    half = face.pupil * np.clip(1.0 - (dy / 0.165) ** 2, 0, None) ** 0.6
    pupil = ramp(half - np.abs(dx), -0.012, 0.012) * (half > 0)
    colour = colour * (1.0 - 0.97 * pupil)[:, None]
    spark = np.hypot(dx - 0.055 + 0.5 * face.gaze[0], dy + 0.07 + 0.5 * face.gaze[1])
    return np.asarray(colour + (0.9 * ramp(spark, 0.04, 0.022))[:, None], dtype=np.float32)
