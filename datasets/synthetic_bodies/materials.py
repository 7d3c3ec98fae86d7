"""Colour and gloss of skin and clothes below the head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.category import Paint
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_bodies.hands import PALM
from datasets.synthetic_bodies.signer import Outfit, Signer

Painted = tuple[FloatArray, FloatArray]  # (F, 3) linear albedo, (F,) gloss

_SKIN_GLOSS, _CLOTH_GLOSS = 0.14, 0.03


def _skin(signer: Signer, u: FloatArray, v: FloatArray) -> FloatArray:
    """(F, 3): the grain of the face's skin."""
    texture = signer.face.texture
    blotch, grain = look_up("cloud", u * 0.35 + texture[0], v * 0.35), look_up("grain", u * 0.7, v * 0.7)
    return np.asarray(signer.face.skin * (1.0 + 0.05 * blotch + 0.035 * grain)[:, None])


def _cloth(outfit: Outfit, u: FloatArray, v: FloatArray) -> FloatArray:
    """(F, 3) colour with pattern and folds; ``u`` runs around, ``v`` down, in decimetres."""
    colour = np.repeat(outfit.cloth[None], len(u), 0)
    if outfit.pattern == 1:
        colour = mix(colour, outfit.second, ramp(np.sin(v * 9.0), 0.1, 0.4))
    elif outfit.pattern == 2:
        lines = ramp(np.maximum(np.sin(u * 10.0), np.sin(v * 10.0)), 0.75, 0.95)
        colour = mix(colour, outfit.second, 0.6 * lines)
    elif outfit.pattern == 3:
        colour = mix(colour, outfit.second, 0.5 * ramp(np.sin(u * 16.0), 0.8, 0.95))
    knit = 0.16 if outfit.garment in ("jumper", "cardigan") else 0.07
    folds = (
        1.0
        + 0.1 * look_up("cloud", u * 0.16 + outfit.folds, v * 0.11)
        + knit * 0.5 * look_up("grain", u * 0.5, v * 0.5)
    )
    return np.asarray(colour * np.clip(folds, 0.5, 1.6)[:, None])


def _neckline(outfit: Outfit, x: FloatArray, y: FloatArray, front: FloatArray) -> FloatArray:
    """How far inside the neck's opening a spot is, decimetres."""
    depth = -0.62 + outfit.neckline * front
    if outfit.v_neck:
        return np.asarray(np.minimum(depth + 0.25 - y - 1.1 * np.abs(x) * (0.4 + outfit.neckline), 1.0))
    return np.asarray(depth - y - 0.35 * x**2)


def paint_trunk(signer: Signer, outfit: Outfit) -> Paint:
    """Cloth with an opening at the neck; place is the spot on the template."""

    def paint(spot: FloatArray) -> Painted:
        x, y, z = spot.T
        around = np.where(z > 0, x, 3.4 * np.sign(x) - x)
        front = ramp(z, -0.1, 0.35)
        colour = _cloth(outfit, around, y)
        if outfit.garment in ("jacket", "cardigan"):
            colour = _opened(colour, outfit, x, y, front)
        elif outfit.garment == "shirt":
            placket = ramp(np.abs(np.abs(x) - 0.16), 0.03, 0.0) * 0.3 + ramp(np.abs(x), 0.015, 0.0) * 0.3
            button = ramp(np.hypot(x, (y % 0.8) - 0.4), 0.07, 0.04)
            colour = colour * (1.0 - placket * front)[:, None]
            colour = mix(colour, linear((230, 228, 220)), 0.8 * button * front)
        inside = _neckline(outfit, x, y, front)
        hem = ramp(np.abs(inside + 0.06), 0.05, 0.02)
        colour = colour * (1.0 - 0.25 * hem)[:, None]
        bare = ramp(inside, -0.015, 0.015)
        colour = mix(colour, _skin(signer, x, y), bare)
        trousers = ramp(y, 4.6, 4.65) * float(outfit.garment in ("shirt", "blouse", "vest"))
        colour = mix(colour, outfit.trousers, trousers)
        return colour.astype(np.float32), (_CLOTH_GLOSS + (_SKIN_GLOSS - _CLOTH_GLOSS) * bare).astype(
            np.float32
        )

    return paint


def _opened(
    colour: FloatArray, outfit: Outfit, x: FloatArray, y: FloatArray, front: FloatArray
) -> FloatArray:
    """A jacket's lapels over a shirt with or without a tie; a cardigan over a top."""
    side = np.abs(x)
    ends = 2.3 if outfit.garment == "jacket" else 3.6
    half = np.clip(ends - y, 0, None) * (0.34 if outfit.garment == "jacket" else 0.14)
    inside = (half - side) * (y > -0.95)
    under = np.repeat(outfit.second[None], len(x), 0)
    if outfit.tie and outfit.garment == "jacket":
        tie = ramp(side - 0.04 * np.clip(y, 0, 2), 0.16, 0.13) * ramp(y, -0.5, -0.45)
        colour_of_tie = np.clip(outfit.cloth[[2, 0, 1]] * 1.5 + 0.03, 0.01, 0.6)
        under = mix(under, colour_of_tie, tie)
    lapel = ramp(np.abs(inside + 0.42 * np.clip(half, 0, 1)), 0.05, 0.01) * ramp(inside, 0.02, -0.02)
    edge = ramp(np.abs(inside), 0.06, 0.02)
    shaded = colour * (1.0 - (0.45 * lapel + 0.5 * edge) * front)[:, None]
    seam = ramp(side, 0.03, 0.0) * ramp(y, ends, ends + 0.1)
    shaded = shaded * (1.0 - 0.5 * seam * front)[:, None]
    return mix(shaded, under, ramp(inside, 0.0, 0.03) * front)


def paint_arm(signer: Signer, outfit: Outfit) -> Paint:
    """Sleeve and skin; place is (along, angle, side), see ``arms.arm_mesh``."""

    def paint(spot: FloatArray) -> Painted:
        along, angle, side = spot.T
        around, down = 0.45 * angle + side, 2.7 * along
        skin = _skin(signer, around, down)
        elbow = ramp(np.abs(along - 1.0), 0.12, 0.0)
        skin = skin * (1.0 - elbow[:, None] * np.array([0.04, 0.1, 0.1], dtype=np.float32))
        covered = ramp(outfit.sleeve - along, 0.0, 0.008)
        cloth = _cloth(outfit, around, down)
        cuff = ramp(np.abs(outfit.sleeve - 0.07 - along), 0.012, 0.004)
        cloth = cloth * (1.0 - 0.3 * cuff)[:, None]
        if outfit.garment == "jacket":
            cloth = mix(cloth, outfit.second, ramp(along, outfit.sleeve - 0.03, outfit.sleeve - 0.025))
        gloss = _SKIN_GLOSS + (_CLOTH_GLOSS - _SKIN_GLOSS) * covered
        return mix(skin, cloth, covered), gloss.astype(np.float32)

    return paint


def paint_hand(signer: Signer) -> Paint:
    """Skin, paler in the palm, redder at knuckles and tips; place as of ``hands.hand_mesh``."""
    fair = signer.face.skin * 0.75 + linear((226, 176, 150)) * 0.25

    def paint(spot: FloatArray) -> Painted:
        along, across, kind = spot.T
        skin = _skin(signer, along, across)
        skin = mix(skin, fair, 0.3 * (kind == PALM).astype(np.float32))
        red = 0.6 * ramp(along, 1.35, 1.7) + 0.5 * ramp(np.abs(along - 0.95), 0.12, 0.02)
        skin = skin * (1.0 - red[:, None] * np.array([0.02, 0.14, 0.13], dtype=np.float32))
        return skin.astype(np.float32), np.full(len(spot), _SKIN_GLOSS, np.float32)

    return paint


def paint_collar(outfit: Outfit) -> Paint:
    """The shirt's colour, darker at its edge."""
    shirt = outfit.second if outfit.garment == "jacket" else outfit.cloth

    def paint(spot: FloatArray) -> Painted:
        angle, level, _ = spot.T
        edge = 1.0 - 0.35 * ramp(level, 0.86, 0.95) - 0.3 * ramp(level, 0.1, -0.3)
        folds = 1.0 + 0.06 * look_up("grain", angle, level)
        return (shirt * (edge * folds)[:, None]).astype(np.float32), np.full(
            len(spot), _CLOTH_GLOSS, np.float32
        )

    return paint


def collar_present(open_front: float) -> Callable[[FloatArray], BoolArray]:
    """The gap in front of a collar, wider towards its edge and where the neck is open."""

    def present(spot: FloatArray) -> BoolArray:
        angle, level, _ = spot.T
        return np.asarray(np.abs(angle) > 0.05 + (0.1 + 0.16 * open_front) * np.clip(level + 0.5, 0, 1.5))

    return present


def paint_legs(outfit: Outfit) -> Paint:
    """Trousers or skirt, and shoes; place as of ``torso.legs_mesh``."""

    def paint(spot: FloatArray) -> Painted:
        x, y, kind = spot.T
        folds = 1.0 + 0.12 * look_up("cloud", x * 0.2 + outfit.folds, y * 0.1)
        colour = outfit.trousers * folds[:, None]
        shoe = np.abs(kind - 1.0) < 0.5
        colour[shoe] = outfit.shoes
        return colour.astype(np.float32), np.where(shoe, 0.3, _CLOTH_GLOSS).astype(np.float32)

    return paint
