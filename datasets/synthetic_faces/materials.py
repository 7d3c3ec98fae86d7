"""Colour and gloss of every surface, painted in surface coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.synthetic_faces.head import bump, eye_parameter, paired, ramp
from datasets.synthetic_faces.identity import Identity, linear
from datasets.synthetic_faces.layout import LID_DROP, LID_RISE, FloatArray, lid_height
from datasets.synthetic_faces.noise import look_up

Painted = tuple[FloatArray, FloatArray]  # (F, 3) linear albedo, (F,) gloss


@dataclass(frozen=True, eq=False)
class FaceState:
    """Where moving features are in the frame of the deformed head.

    Shapes:
        eyes: (2, 2), centres of the eyeballs, the subject's right first. pupils: (2, 2).
    """

    eyes: FloatArray
    pupils: FloatArray
    upper_lip: float
    lower_lip: float


def _mix(base: FloatArray, other: FloatArray, amount: FloatArray) -> FloatArray:
    return np.asarray(base + (other - base) * amount[:, None], dtype=np.float32)


_LIP_X = (0.0, 0.035, 0.066, 0.12, 0.189, 0.25, 0.287)
_LIP_TOP = (0.713, 0.707, 0.702, 0.712, 0.738, 0.77, 0.797)
_LIP_BOTTOM = (0.922, 0.92, 0.915, 0.902, 0.872, 0.83, 0.797)
_SLIT_X = (0.0, 0.084, 0.2, 0.258)
_SLIT_TOP = (0.783, 0.783, 0.788, 0.795)
_SLIT_BOTTOM = (0.804, 0.802, 0.799, 0.795)
_BROW_X = (0.19, 0.318, 0.43, 0.56, 0.67)
_BROW_Y = (-0.2, -0.238, -0.25, -0.232, -0.17)
_BROW_HALF = (0.036, 0.034, 0.027, 0.02, 0.008)


def paint_skin(surface: FloatArray, place: FloatArray, person: Identity, face: FaceState) -> Painted:
    """The head: skin, brows, eyes, lips, mouth, beard."""
    x, y, longitude = surface.T
    u, v = longitude * 0.35 + person.texture[0], y * 0.35 + person.texture[1]
    front = ramp(np.abs(longitude), 1.5, 1.2)
    blotch = look_up("cloud", u, v)
    grain = look_up("grain", u * 2.1, v * 2.1)
    tone = 1.0 + 0.05 * blotch + 0.035 * grain
    colour = person.skin[None] * tone[:, None]
    red = 0.5 * paired(x, y, 0.45, 0.4, 0.17, 0.14) + 0.6 * bump(x, y, 0, 0.44, 0.12, 0.09)
    red += 0.25 * bump(x, y, 0, 1.15, 0.15, 0.1) + 0.3 * paired(x, y, 0.36, 0, 0.16, 0.1)
    colour *= 1.0 - (red * front)[:, None] * np.array([0.02, 0.2, 0.17], dtype=np.float32)
    bags = paired(x, y, 0.33, 0.12, 0.11, 0.035) * front * (0.3 + 0.5 * person.wrinkles)
    colour *= 1.0 - 0.35 * bags[:, None]
    if person.freckles > 0:
        spots = ramp(look_up("grain", u * 3.3 + 0.4, v * 3.3), 1.1, 1.8) * paired(x, y, 0.3, 0.3, 0.25, 0.15)
        colour *= 1.0 - (0.6 * person.freckles * spots * front)[:, None] * np.array([0.5, 0.75, 0.9], dtype=np.float32)
    if person.wrinkles > 0.3:
        lines = np.sin(y * 75 + 3 * blotch) * bump(x, y, 0, -0.45, 0.35, 0.12)
        lines += np.sin(y * 90 + 30 * np.abs(x)) * paired(x, y, 0.62, 0.0, 0.07, 0.1)
        colour *= 1.0 - 0.22 * person.wrinkles * (ramp(lines, 0.25, 0.9) * front)[:, None]
    gloss = 0.16 + 0.22 * (bump(x, y, 0, 0.3, 0.08, 0.2) + bump(x, y, 0, -0.5, 0.3, 0.2)) * front

    if person.hair_style in ("buzz", "receding", "bald"):
        scalp = ramp(-0.62 - 0.1 * np.exp(-(((np.abs(longitude) - 0.6) / 0.22) ** 2)) - y, -0.04, 0.06)
        sides = ramp(np.abs(longitude), 1.25, 1.4) * ramp(y, 0.1, -0.05)
        back = ramp(np.abs(longitude), 1.8, 2.0) * ramp(y, 0.5, 0.4)
        crop = np.maximum(np.maximum(scalp, sides), back)
        strength = {"buzz": 0.85, "receding": 0.35, "bald": 0.12}[person.hair_style]
        colour = _mix(colour, person.hair[None] * (1 + 0.25 * grain)[:, None], crop * np.clip(strength + 0.12 * grain, 0, 1))

    colour = _beard(colour, x, y, longitude, grain, person)
    colour = _brows(colour, x, y, front, u, v, person)
    colour, gloss = _mouth(colour, gloss, x, y, place, front, person, face)
    return _eyes(colour, gloss, x, y, place, front, person, face)


def _beard(colour: FloatArray, x: FloatArray, y: FloatArray, longitude: FloatArray, grain: FloatArray, person: Identity) -> FloatArray:
    if person.beard == "none":
        return colour
    side = np.abs(longitude)
    border = np.interp(side, (0.0, 0.3, 0.45, 0.9, 1.3, 1.42), (0.58, 0.58, 0.68, 0.72, 0.3, 0.0))
    zone = ramp(y - border, -0.02, 0.05) * ramp(side, 1.52, 1.42) * ramp(y, 1.42, 1.3)
    zone *= 1.0 - 0.9 * ramp(np.abs(x), 0.1, 0.02) * ramp(y, 0.69, 0.66) * ramp(y, 0.58, 0.62)
    moustache = ramp(y, 0.585, 0.62) * ramp(y, 0.76, 0.74) * ramp(np.abs(x), 0.36, 0.29)
    chin = ramp(np.abs(x), 0.3, 0.24) * ramp(y, 0.93, 0.98) * ramp(y, 1.42, 1.3)
    corners = ramp(np.abs(np.abs(x) - 0.32), 0.06, 0.03) * ramp(y, 0.7, 0.76) * ramp(y, 1.3, 1.2)
    zone = {
        "moustache": moustache,
        "goatee": np.maximum(np.maximum(moustache, chin), corners),
    }.get(person.beard, zone)
    strands = look_up("strand", x * 1.3 + person.texture[1], y * 0.5 + 0.3)
    if person.beard == "stubble":
        amount = np.clip(zone * (0.32 * person.beard_density + 0.1 * grain), 0, 0.6)
    else:
        amount = np.clip(zone * (0.75 + 0.35 * person.beard_density + 0.15 * strands), 0, 0.97)
    return _mix(colour, person.hair[None] * 0.8 * (1 + 0.3 * strands)[:, None].clip(0.3), amount)


def _brows(
    colour: FloatArray, x: FloatArray, y: FloatArray, front: FloatArray, u: FloatArray, v: FloatArray, person: Identity
) -> FloatArray:
    side = np.abs(x)
    half = np.interp(side, _BROW_X, _BROW_HALF) * person.brow_weight
    off = np.abs(y - np.interp(side, _BROW_X, _BROW_Y)) / half
    ends = ramp(side, 0.17, 0.23) * ramp(side, 0.7, 0.64)
    strands = look_up("strand", (x * np.sign(x) + y) * 1.1, y * 0.6 + u * 0)
    amount = ramp(off.astype(np.float32), 1.35, 0.55) * ends * np.clip(0.82 + 0.22 * strands, 0, 1) * front
    return _mix(colour, person.brow[None], np.clip(amount * (0.55 + 0.35 * person.brow_weight), 0, 0.95))


def _mouth(
    colour: FloatArray,
    gloss: FloatArray,
    x: FloatArray,
    y: FloatArray,
    place: FloatArray,
    front: FloatArray,
    person: Identity,
    face: FaceState,
) -> Painted:
    side = np.abs(x)
    top, bottom = np.interp(side, _LIP_X, _LIP_TOP), np.interp(side, _LIP_X, _LIP_BOTTOM)
    lips = ramp((y - top).astype(np.float32), -0.008, 0.012) * ramp((bottom - y).astype(np.float32), -0.008, 0.014)
    lips *= ramp(side, 0.292, 0.275) * front
    grooves = look_up("strand", x * 2.0, y)
    colour = _mix(colour, person.lips[None] * (1 + 0.06 * grooves)[:, None], 0.85 * lips)
    gloss = gloss + 0.35 * lips
    slit = (y > np.interp(side, _SLIT_X, _SLIT_TOP)) & (y < np.interp(side, _SLIT_X, _SLIT_BOTTOM)) & (side < 0.258) & (front > 0)
    if not slit.any():
        return colour, gloss
    px, py = place[slit].T
    gap = face.lower_lip - face.upper_lip
    depth = np.clip((py - face.upper_lip) / max(gap, 1e-3), 0, 1)
    inside = linear((88, 34, 32))[None] * (0.25 + 0.5 * depth)[:, None]
    # Upper teeth hang from the skull; the tongue lies on the floor of an open mouth.
    teeth = ramp((face.upper_lip + 0.085 - py).astype(np.float32), -0.012, 0.012) * ramp(np.abs(px).astype(np.float32), 0.25, 0.17)
    gaps = 1.0 - 0.25 * np.exp(-(((np.abs(px) % 0.075) - 0.0375) / 0.008) ** 2)
    white = linear((226, 216, 196))[None] * (0.35 + 0.65 * ramp(np.abs(px), 0.3, 0.05) * gaps)[:, None]
    inside = _mix(inside, white, teeth * ramp(np.full_like(px, gap), 0.02, 0.05))
    colour[slit] = inside
    gloss[slit] = 0.3
    return colour, gloss


def _eyes(
    colour: FloatArray,
    gloss: FloatArray,
    x: FloatArray,
    y: FloatArray,
    place: FloatArray,
    front: FloatArray,
    person: Identity,
    face: FaceState,
) -> Painted:
    near = (np.abs(y) < 0.16) & (front > 0) & (np.abs(x) > 0.15) & (np.abs(x) < 0.58)
    if not near.any():
        return colour, gloss
    x, y, place = x[near], y[near], place[near]
    skin, shine = colour[near], gloss[near]
    t = eye_parameter(x)
    top, bottom = lid_height(t, LID_RISE), lid_height(t, -LID_DROP)
    between = (t > 0) & (t < 1)
    which = (x > 0).astype(np.int64)
    middle = face.eyes[which]
    off = np.hypot(*(place - middle - face.pupils[which]).T)
    inside = between & (y > top) & (y < bottom)
    white = linear((228, 222, 216))[None] * (1.0 - 0.3 * np.abs(t - 0.5) - 0.4 * ramp(y - top, 0.04, 0.0))[:, None]
    corner = ramp(t, 0.14, 0.02)
    white = _mix(white, linear((190, 120, 110))[None], 0.7 * corner)
    spokes = 1.0 + 0.15 * look_up("grain", off * 2, x * 3)
    ring = person.iris[None] * (spokes * (1.3 - 0.9 * ramp(off, 0.04, 0.07)))[:, None]
    ball = _mix(white, ring, ramp(off, 0.074, 0.066))
    ball *= 1.0 - 0.95 * ramp(off, 0.032, 0.026)[:, None]
    ball *= (0.55 + 0.45 * ramp(y - top, 0.0, 0.035))[:, None]
    spark = place - middle - face.pupils[which] * 0.6 - np.array([0.018, -0.024], dtype=np.float32)
    ball += (0.9 * ramp(np.hypot(*spark.T), 0.02, 0.01))[:, None]
    skin = np.where(inside[:, None], ball, skin)
    ends = ramp(np.minimum(t, 1 - t), -0.08, 0.06)
    lash = np.exp(-(((y - top + 0.006) / 0.013) ** 2)) * ends * person.lash_weight
    lash = lash + 0.35 * np.exp(-(((y - bottom - 0.002) / 0.009) ** 2)) * ends * person.lash_weight
    crease = 0.35 * np.exp(-(((y - top + 0.055) / 0.012) ** 2)) * ends
    skin = skin * (1.0 - np.clip(0.92 * lash + crease, 0, 0.95))[:, None]
    colour[near] = skin
    gloss[near] = np.where(inside, 0.5, shine)
    return colour, gloss


def paint_ear(surface: FloatArray, person: Identity) -> Painted:
    """Skin, a little redder."""
    grain = look_up("grain", surface[:, 0], surface[:, 1])
    red = np.array([1.0, 0.84, 0.84], dtype=np.float32)
    return np.asarray((person.skin * red)[None] * (1 + 0.04 * grain)[:, None]), np.full(len(surface), 0.12, np.float32)


def paint_hair(surface: FloatArray, person: Identity) -> Painted:
    """Strands that run down from the crown, darker at the roots and between locks."""
    cut, height, longitude = surface.T
    u, v = longitude * 0.7 + person.texture[0], height * 0.16 + person.texture[1]
    if person.hair_style in ("curly", "afro"):
        locks = look_up("curl", longitude * 0.25, height * 0.3)
        fine = look_up("grain", longitude * 0.5, height * 0.6)
    else:
        bend = 0.06 * person.hair_wave * np.sin(height * 7)
        # Near the crown the columns of the grid converge: strands there are looked up in fewer columns.
        u = u + 0.1 * person.hair_swing * height + bend
        locks = look_up("strand", u * 0.4, v)
        fine = look_up("strand", u * 1.2 + 0.3, v * 1.3)
    shade = np.clip(1.0 + 0.3 * locks + 0.22 * fine, 0.3, 2.0) * (0.7 + 0.3 * ramp(cut, 0.0, 0.15))
    gloss = np.clip(0.3 + 0.15 * locks, 0.05, 0.6).astype(np.float32)
    return np.asarray(person.hair[None] * shade[:, None], dtype=np.float32), gloss


def paint_hat(surface: FloatArray, cloth: FloatArray) -> Painted:
    """Knitted ribs, in the complement of the clothes."""
    _, height, longitude = surface.T
    ribs = np.sin(longitude * 45) * 0.18 + 0.1 * look_up("grain", longitude, height)
    colour = np.clip(cloth[::-1] * 0.8 + 0.02, 0.01, 0.8)
    return np.asarray(colour[None] * (1 + ribs)[:, None], dtype=np.float32), np.full(len(surface), 0.02, np.float32)


def paint_cloth(surface: FloatArray, cloth: FloatArray, pattern: int) -> Painted:
    """Plain, striped, checked, or a jacket over a shirt."""
    x, y, _ = surface.T
    colour = np.repeat(cloth[None], len(surface), 0)
    other = np.clip(cloth[[1, 2, 0]] * 0.5 + 0.3 * (cloth.mean() < 0.3), 0.01, 0.9)
    if pattern == 1:
        colour = _mix(colour, other[None], (np.sin(y * 28) > 0.3).astype(np.float32))
    elif pattern == 2:
        colour = _mix(colour, other[None], 0.6 * ((np.sin(x * 24) > 0.6) | (np.sin(y * 24) > 0.6)).astype(np.float32))
    elif pattern >= 4:
        opening = np.abs(x) < 0.14 + 0.3 * np.clip(2.6 - y, 0, 2)
        colour = _mix(colour, linear((225, 225, 230))[None], opening.astype(np.float32))
        if pattern == 5:
            colour = _mix(colour, other[None] * 0.6, (np.abs(x) < 0.08 + 0.02 * y).astype(np.float32))
    folds = 1.0 + 0.12 * look_up("cloud", x * 0.3, y * 0.25) + 0.06 * look_up("grain", x * 0.6, y * 0.6)
    return np.asarray(colour * folds[:, None], dtype=np.float32), np.full(len(surface), 0.04, np.float32)
