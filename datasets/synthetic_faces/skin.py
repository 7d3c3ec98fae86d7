"""The skin of a head with all that is painted on it: brows, eyes, lips, mouth, beard, roots of the hair.

Everything is placed in surface coordinates, so that it moves with the face; only irises and teeth, which do not
stretch with lids and lips, are placed in the frame of the deformed head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import bump, paired, ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_faces.hair import inside_hairline
from datasets.synthetic_faces.head import eye_parameter
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.layout import LID_DROP, LID_RISE, lid_height

# Outlines over |x|: lips, the slit between them, brows.
_LIP_X = (0.0, 0.035, 0.066, 0.12, 0.189, 0.25, 0.287)
_LIP_TOP = (0.713, 0.707, 0.702, 0.712, 0.738, 0.77, 0.797)
_LIP_BOTTOM = (0.922, 0.92, 0.915, 0.902, 0.872, 0.83, 0.797)
_SLIT_X = (0.0, 0.084, 0.2, 0.258)
_SLIT_TOP = (0.783, 0.783, 0.788, 0.795)
_SLIT_BOTTOM = (0.804, 0.802, 0.799, 0.795)
_BROW_X = (0.19, 0.318, 0.43, 0.56, 0.67)
_BROW_Y = (-0.2, -0.238, -0.25, -0.232, -0.17)
_BROW_HALF = (0.036, 0.034, 0.027, 0.02, 0.008)


@dataclass(frozen=True, eq=False)
class FaceState:
    """Where moving features are in the frame of the deformed head.

    Shapes:
        eyes: (2, 2), centres of the eyeballs, the subject's right first. pupils: (2, 2), relative to them.

    Attributes:
        upper_lip, lower_lip: Heights of the lips' inner edges.
        openness: Distance between the lids, 1 where no lid has moved.
    """

    eyes: FloatArray
    pupils: FloatArray
    upper_lip: float
    lower_lip: float
    openness: float


@dataclass(eq=False)
class _Skin:
    """Spots of skin; the painters change their colour and gloss.

    Shapes:
        x, y, longitude, front, blotch, grain, gloss: (F,). place: (F, 2). colour: (F, 3), linear.
    """

    x: FloatArray
    y: FloatArray
    longitude: FloatArray
    place: FloatArray
    front: FloatArray
    blotch: FloatArray
    grain: FloatArray
    colour: FloatArray
    gloss: FloatArray

    def tint(self, rgb: tuple[float, float, float], amount: FloatArray) -> None:
        """Take away a share of red, green and blue."""
        self.colour *= 1.0 - amount[:, None] * np.array(rgb, dtype=np.float32)

    def cover(self, other: FloatArray, amount: FloatArray) -> None:
        """Mix with another colour, (3,) or (F, 3)."""
        self.colour = mix(self.colour, other, amount)


def paint_skin(
    surface: FloatArray, place: FloatArray, person: Identity, face: FaceState
) -> tuple[FloatArray, FloatArray]:
    """(F, 3) albedo and (F,) gloss of a head at (F, 3) surface coordinates (template x, height, longitude)."""
    x, y, longitude = (np.ascontiguousarray(column) for column in surface.T)
    u, v = longitude * 0.35 + person.texture[0], y * 0.35 + person.texture[1]
    blotch, grain = look_up("cloud", u, v), look_up("grain", u * 2.1, v * 2.1)
    front = ramp(np.abs(longitude), 1.5, 1.2)
    shine = bump(x, y, (0, 0.3), (0.08, 0.2)) + bump(x, y, (0, -0.5), (0.3, 0.2))
    colour = person.skin[None] * (1.0 + 0.05 * blotch + 0.035 * grain)[:, None]
    skin = _Skin(x, y, longitude, place, front, blotch, grain, colour, 0.14 + 0.13 * shine * front)
    _complexion(skin, person)
    _scalp(skin, person)
    _beard(skin, person)
    _brows(skin, person)
    _lips(skin, person)
    _mouth(skin, face)
    _eyes(skin, person, face)
    return skin.colour, skin.gloss


def _complexion(skin: _Skin, person: Identity) -> None:
    x, y, front = skin.x, skin.y, skin.front
    red = 0.5 * paired(x, y, (0.45, 0.4), (0.17, 0.14)) + 0.6 * bump(x, y, (0, 0.44), (0.12, 0.09))
    red += 0.25 * bump(x, y, (0, 1.15), (0.15, 0.1)) + 0.3 * paired(x, y, (0.36, 0), (0.16, 0.1))
    skin.tint((0.02, 0.2, 0.17), red * front)
    bags = paired(x, y, (0.33, 0.12), (0.11, 0.035)) * front * (0.3 + 0.5 * person.wrinkles)
    skin.tint((0.35, 0.35, 0.35), bags)
    if person.freckles > 0:
        dots = ramp(look_up("grain", skin.longitude * 1.2 + 0.4, y * 1.2), 1.1, 1.8)
        dots *= paired(x, y, (0.3, 0.3), (0.25, 0.15)) * front
        skin.tint((0.5, 0.75, 0.9), 0.6 * person.freckles * dots)
    if person.wrinkles > 0.3:
        lines = np.sin(y * 75 + 3 * skin.blotch) * bump(x, y, (0, -0.45), (0.35, 0.12))
        lines += np.sin(y * 90 + 30 * np.abs(x)) * paired(x, y, (0.62, 0.0), (0.07, 0.1))
        skin.tint((0.22, 0.22, 0.22), person.wrinkles * ramp(lines, 0.25, 0.9) * front)


def _scalp(skin: _Skin, person: Identity) -> None:
    """Cropped hair, or the roots below a shell of hair: it must not end in a line."""
    y, side = skin.y, np.abs(skin.longitude)
    if person.hair_style in ("buzz", "receding", "bald"):
        recede = 0.1 * np.exp(-(((side - 0.6) / 0.22) ** 2))
        crown = ramp(-0.62 - recede - y, -0.04, 0.06)
        sides = ramp(side, 1.25, 1.4) * ramp(y, 0.1, -0.05)
        nape = ramp(side, 1.8, 2.0) * ramp(y, 0.5, 0.4)
        strength = {"buzz": 0.85, "receding": 0.35, "bald": 0.12}[person.hair_style]
        amount = np.maximum(np.maximum(crown, sides), nape) * np.clip(strength + 0.12 * skin.grain, 0, 1)
        skin.cover(person.hair * (1 + 0.25 * skin.grain)[:, None], amount)
        return
    edge = np.flatnonzero((y < 0.6) & ((y < -0.2) | (side > 1.0)))
    inside = inside_hairline(person, skin.longitude[edge], y[edge]) + 0.012 * skin.grain[edge]
    skin.colour[edge] = mix(skin.colour[edge], person.hair * np.float32(0.7), 0.8 * ramp(inside, -0.06, 0.01))


def _beard(skin: _Skin, person: Identity) -> None:
    if person.beard == "none":
        return
    x, y, side = np.abs(skin.x), skin.y, np.abs(skin.longitude)
    if person.beard in ("moustache", "goatee"):
        zone = ramp(y, 0.575, 0.65) * ramp(y, 0.77, 0.73) * ramp(x, 0.4, 0.27)
        if person.beard == "goatee":
            chin = ramp(x, 0.33, 0.2) * ramp(y, 0.9, 1.0) * ramp(y, 1.42, 1.3)
            corners = ramp(np.abs(x - 0.3), 0.08, 0.02) * ramp(y, 0.68, 0.78) * ramp(y, 1.25, 1.05)
            zone = np.maximum(zone, np.maximum(chin, corners))
    else:
        border = np.interp(side, (0.0, 0.3, 0.45, 0.9, 1.3, 1.42), (0.58, 0.58, 0.68, 0.72, 0.3, 0.0))
        zone = ramp(y - border, -0.02, 0.05) * ramp(side, 1.52, 1.42) * ramp(y, 1.42, 1.3)
        philtrum = ramp(x, 0.1, 0.02) * ramp(y, 0.69, 0.66) * ramp(y, 0.58, 0.62)
        zone = zone * (1.0 - 0.9 * philtrum)
    strands = look_up("strand", skin.x * 1.3 + person.texture[1], y * 0.5 + 0.3)
    if person.beard == "stubble":
        amount = np.clip(zone * (0.32 * person.beard_density + 0.1 * skin.grain), 0, 0.6)
    else:
        amount = np.clip(zone * (0.75 + 0.35 * person.beard_density + 0.15 * strands), 0, 0.97)
    skin.cover(person.hair * (0.8 + 0.24 * strands).clip(0.24)[:, None], amount)


def _brows(skin: _Skin, person: Identity) -> None:
    near = np.flatnonzero((skin.y > -0.35) & (skin.y < -0.1) & (skin.front > 0))
    side, y = np.abs(skin.x[near]), skin.y[near]
    half = np.interp(side, _BROW_X, _BROW_HALF) * person.brow_weight
    off = np.abs(y - np.interp(side, _BROW_X, _BROW_Y)) / half
    ends = ramp(side, 0.17, 0.23) * ramp(side, 0.7, 0.64)
    strands = look_up("strand", (side + y) * 1.1, y * 0.6)
    amount = ramp(off, 1.35, 0.55) * ends * np.clip(0.82 + 0.22 * strands, 0, 1) * skin.front[near]
    amount = np.clip(amount * (0.55 + 0.35 * person.brow_weight), 0, 0.95)
    skin.colour[near] = mix(skin.colour[near], person.brow, amount)


def _lips(skin: _Skin, person: Identity) -> None:
    near = np.flatnonzero((skin.y > 0.68) & (skin.y < 0.94) & (np.abs(skin.x) < 0.3) & (skin.front > 0))
    side, y = np.abs(skin.x[near]), skin.y[near]
    above, below = y - np.interp(side, _LIP_X, _LIP_TOP), np.interp(side, _LIP_X, _LIP_BOTTOM) - y
    lips = ramp(above, -0.008, 0.012) * ramp(below, -0.008, 0.014) * ramp(side, 0.292, 0.275)
    grooves = look_up("strand", skin.x[near] * 2.0, y)
    skin.colour[near] = mix(skin.colour[near], person.lips * (1 + 0.06 * grooves)[:, None], 0.85 * lips)
    skin.gloss[near] += 0.35 * lips


def _mouth(skin: _Skin, face: FaceState) -> None:
    near = np.flatnonzero((np.abs(skin.y - 0.793) < 0.02) & (np.abs(skin.x) < _SLIT_X[-1]) & (skin.front > 0))
    side, y = np.abs(skin.x[near]), skin.y[near]
    slit = near[(y > np.interp(side, _SLIT_X, _SLIT_TOP)) & (y < np.interp(side, _SLIT_X, _SLIT_BOTTOM))]
    x, y = np.abs(skin.place[slit, 0]), skin.place[slit, 1]
    gap = face.lower_lip - face.upper_lip
    depth = np.clip((y - face.upper_lip) / max(gap, 1e-3), 0, 1)
    # The tongue lies on the floor of an open mouth; the upper teeth hang from the skull.
    inside = linear((88, 34, 32)) * (0.25 + 0.5 * depth)[:, None]
    gaps = 1.0 - 0.25 * np.exp(-((((x % 0.075) - 0.0375) / 0.008) ** 2))
    white = linear((226, 216, 196)) * (0.35 + 0.65 * ramp(x, 0.3, 0.05) * gaps)[:, None]
    teeth = ramp(face.upper_lip + 0.085 - y, -0.012, 0.012) * ramp(x, 0.25, 0.17)
    skin.colour[slit] = mix(inside, white, teeth * np.float32(np.clip((gap - 0.02) / 0.03, 0, 1)))
    skin.gloss[slit] = 0.3


def _eyes(skin: _Skin, person: Identity, face: FaceState) -> None:
    side = np.abs(skin.x)
    near = np.flatnonzero((np.abs(skin.y) < 0.16) & (skin.front > 0) & (side > 0.15) & (side < 0.58))
    x, y, around = skin.x[near], skin.y[near], skin.colour[near]
    t = eye_parameter(x)
    top, bottom = lid_height(t, LID_RISE), lid_height(t, -LID_DROP)
    inside = (t > 0) & (t < 1) & (y > top) & (y < bottom)
    which = (x > 0).astype(np.int64)
    gaze = face.pupils[which]
    ball = _eyeball(skin.place[near] - face.eyes[which], gaze, t, person)
    ball *= (0.55 + 0.45 * ramp(y - top, 0.0, 0.035))[:, None]
    # Half-closed lids and their lashes shade the eye.
    shade = np.clip(0.2 + 0.9 * face.openness, 0.2, 1.0) * np.clip(0.55 + 0.8 * person.skin.mean(), 0.5, 1.0)
    around = np.where(inside[:, None], ball * np.float32(shade), around)
    ends = ramp(np.minimum(t, 1 - t), -0.08, 0.06)
    lash = np.exp(-(((y - top + 0.006) / 0.013) ** 2)) + 0.35 * np.exp(-(((y - bottom - 0.002) / 0.009) ** 2))
    crease = 0.35 * np.exp(-(((y - top + 0.055) / 0.012) ** 2))
    dark = np.clip((0.92 * person.lash_weight * lash + crease) * ends, 0, 0.95)
    skin.colour[near] = around * (1.0 - dark)[:, None]
    skin.gloss[near] = np.where(inside, 0.5, skin.gloss[near])


def _eyeball(off: FloatArray, gaze: FloatArray, t: FloatArray, person: Identity) -> FloatArray:
    """Sclera, iris, pupil and a spark; ``off`` is the place relative to the centre of the eye."""
    white = linear((216, 208, 202)) * (1.0 - 0.3 * np.abs(t - 0.5))[:, None]
    white = mix(white, linear((190, 120, 110)), 0.7 * ramp(t, 0.14, 0.02))
    distance = np.hypot(*(off - gaze).T)
    spokes = 1.0 + 0.15 * look_up("grain", distance * 2, off[:, 0] * 3)
    iris = person.iris * (0.75 * spokes * (1.2 - 0.95 * ramp(distance, 0.04, 0.07)))[:, None]
    ball = mix(white, iris, ramp(distance, 0.08, 0.07))
    ball *= 1.0 - 0.95 * ramp(distance, 0.038, 0.03)[:, None]
    spark = off - 0.6 * gaze - np.array([0.018, -0.024], dtype=np.float32)
    return np.asarray(ball + (0.7 * ramp(np.hypot(*spark.T), 0.017, 0.008))[:, None])
