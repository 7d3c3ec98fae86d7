"""Fur: ground colour, stripes, patches and white, in coordinates of the template."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import bump, paired, ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_cats import layout
from datasets.synthetic_cats.cat import Cat

_WHITE = linear((240, 237, 230))
Painted = tuple[FloatArray, FloatArray]  # (F, 3) linear albedo, (F,) gloss


def head_coat(spot: FloatArray, cat: Cat) -> FloatArray:
    """(F, 3) albedo of the head's fur at (F, 3) positions on the template."""
    x, y, z = (np.ascontiguousarray(column) for column in spot.T)
    blotch = look_up("cloud", x * 0.22 + cat.texture[0], y * 0.22 + cat.texture[1])
    colour = np.repeat(cat.ground[None], len(spot), 0)
    front = ramp(z, -0.1, 0.4)
    if cat.pattern == "tabby":
        pale = (
            0.5 * front * (bump(x, y, (0, 0.95), (0.36, 0.22)) + 0.9 * paired(x, y, (0.5, 0.1), (0.3, 0.24)))
        )
        colour = mix(colour, np.minimum(colour * 1.6 + 0.1, 0.85), np.clip(pale, 0, 1))
        colour = mix(colour, cat.marking, cat.contrast * _stripes(x, y, z, cat, blotch))
    elif cat.pattern == "points":
        mask = bump(x, y, (0, 0.5), (0.42, 0.52)) * front
        colour = mix(colour, cat.marking, np.clip(1.25 * mask + 0.06 * blotch, 0, 0.95))
    elif cat.pattern == "tortoiseshell":
        patches = look_up("cloud", x * 0.4 + cat.texture[1], y * 0.4 + cat.texture[0])
        colour = mix(colour, cat.marking, ramp(patches + 0.5 * np.sign(x) * np.sign(cat.lopsided), 0.1, 0.35))
    if cat.white > 0:
        colour = mix(colour, _WHITE, _white_on_face(x, y, z, cat, blotch))
    return colour * (1.0 + 0.06 * blotch)[:, None] * _strands(x, y, z, cat)[:, None]


def _strands(x: FloatArray, y: FloatArray, z: FloatArray, cat: Cat) -> FloatArray:
    """Brightness of single hairs, which run away from the nose."""
    across, down = x, y - 0.55
    turn = np.arctan2(across, -down) * np.float32(0.5 / np.pi)
    away = np.hypot(across, down) + 0.6 * np.clip(0.6 - z, 0, None)
    fine = look_up("strand", turn * 4.0 + cat.texture[0], away * (0.42 - 0.15 * cat.fluff))
    coarse = look_up("strand", turn * 2.0 + cat.texture[1], away * 0.25)
    calm = ramp(away, 0.1, 0.7)
    return np.asarray(np.clip(1.0 + calm * (0.13 * fine + (0.06 + 0.08 * cat.fluff) * coarse), 0.4, 1.6))


def _stripes(x: FloatArray, y: FloatArray, z: FloatArray, cat: Cat, blotch: FloatArray) -> FloatArray:
    """The tabby's M on the brow, lines from the eyes over the cheeks, spectacles."""
    side = np.abs(x)
    wander = x + 0.035 * blotch
    # Lines over the brow run up and fan out; above the eyes they bend into the M.
    fan = wander / (0.85 - 0.25 * np.clip(y + 0.9, -0.4, 0.8))
    brow = ramp(np.cos(fan * 19.0 * cat.stripes), 0.05, 0.6) * ramp(y, -0.3, -0.46) * ramp(side, 0.62, 0.5)
    bend = np.exp(-(((y + 0.36 - 0.25 * np.abs(side - 0.42)) / 0.045) ** 2)) * ramp(
        np.abs(side - 0.4), 0.3, 0.2
    )
    cheek_line = y - 0.02 - 0.22 * (side - 0.72) - 0.02 * blotch
    outward = ramp(side, 0.7, 0.82)
    cheek = (
        ramp(np.cos(cheek_line * 17.0 * cat.stripes), 0.35, 0.8)
        * outward
        * ramp(y, -0.2, -0.05)
        * ramp(y, 0.85, 0.65)
    )
    tear = np.exp(-(((side - 0.24 + 0.16 * (y - 0.1)) / 0.035) ** 2)) * ramp(y, 0.02, 0.1) * ramp(y, 0.5, 0.3)
    back = ramp(np.cos(fan * 13.0), 0.0, 0.5) * ramp(z, 0.3, -0.2) * ramp(y, 0.2, -0.2)
    lines = np.maximum.reduce([brow, 0.9 * bend, 0.85 * cheek, 0.5 * tear, back])
    return np.asarray(lines * np.clip(0.85 + 0.2 * blotch, 0, 1), dtype=np.float32)


def _white_on_face(x: FloatArray, y: FloatArray, z: FloatArray, cat: Cat, blotch: FloatArray) -> FloatArray:
    """A bib, muzzle and blaze: below a line that rises to the middle of the face."""
    middle = np.abs(x - cat.lopsided * np.clip(0.6 - y, 0, 1.5))
    edge = 0.75 - 0.95 * cat.white + 0.9 * middle + 0.05 * blotch
    below = ramp(y - edge, -0.025, 0.035)
    blaze = ramp(cat.blaze * np.clip(0.9 + 0.6 * y, 0.2, 1.0) + 0.02 * blotch - middle, -0.02, 0.02) * ramp(
        y, -1.15, -0.9
    )
    return np.asarray(np.maximum(below, blaze) * ramp(z, -0.5, -0.3), dtype=np.float32)


def ear_coat(spot: FloatArray, cat: Cat, inside: bool) -> Painted:
    """Albedo and gloss of an ear; the inside is bare skin with long pale hairs along the inner edge."""
    x, y = np.abs(spot[:, 0]), np.abs(spot[:, 1])
    up = np.clip((y - 0.75) / 0.9, 0, 1)
    colour = np.repeat((cat.marking if cat.pattern == "points" else cat.ground)[None], len(spot), 0)
    if cat.pattern == "tortoiseshell":
        colour = mix(colour, cat.marking, ramp(look_up("cloud", spot[:, 0] * 0.5, y * 0.5), 0.1, 0.35))
    elif cat.pattern == "tabby":
        colour = mix(colour, cat.marking, 0.55 * ramp(up, 0.1, 0.8))
    grain = look_up("strand", x * 1.3 + cat.texture[0], y * 0.4)
    colour = colour * np.clip(1.0 + 0.12 * grain, 0.5, 1.5)[:, None]
    if not inside:
        return colour, np.full(len(spot), 0.03, dtype=np.float32)
    outer, tip, inner = (np.abs(np.asarray(p)) for p in (layout.EAR_OUTER, layout.EAR_TIP, layout.EAR_INNER))
    from_inner = _distance(x, y, inner, tip)
    from_outer = _distance(x, y, outer, tip)
    bare = ramp(from_inner, 0.05, 0.16) * ramp(from_outer, 0.03, 0.1)
    pink = (
        linear((222, 160, 148))
        * np.float32(0.55 + 0.45 * cat.ear_pink)
        * (0.35 + 0.65 * cat.ground.mean() ** 0.3)
    )
    shade = 0.62 + 0.38 * ramp(from_inner, 0.5, 0.1)
    colour = mix(colour, pink[None] * shade[:, None], bare)
    hairs = ramp(look_up("strand", (x + 0.45 * y) * 1.5, (y - x) * 0.3), 0.0, 0.9) * ramp(
        from_inner, 0.5, 0.12
    )
    pale = np.clip(0.5 * cat.ground + 0.42, 0, 0.85)
    return mix(colour, pale[None], 0.75 * hairs * ramp(up, 0.75, 0.3)), np.full(
        len(spot), 0.05, dtype=np.float32
    )


def _distance(x: FloatArray, y: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    """Distance from the line through two points, in the frontal view."""
    along = (end - start)[:2] / np.linalg.norm((end - start)[:2])
    return np.asarray(np.abs((x - start[0]) * along[1] - (y - start[1]) * along[0]), dtype=np.float32)


def body_coat(spot: FloatArray, cat: Cat) -> Painted:
    """The rest of the cat at (F, 3) positions on its resting body."""
    x, y, z = (np.ascontiguousarray(column) for column in spot.T)
    blotch = look_up("cloud", x * 0.15 + z * 0.11 + cat.texture[1], y * 0.15 + cat.texture[0])
    colour = np.repeat(cat.ground[None], len(spot), 0)
    if cat.pattern == "tabby":
        rings = ramp(np.cos((y + 0.6 * z) * 6.0 * cat.stripes + 1.5 * blotch), 0.1, 0.7)
        colour = mix(colour, cat.marking, 0.8 * cat.contrast * rings * ramp(np.abs(x) - 0.5 * z, 0.3, 0.9))
    elif cat.pattern == "tortoiseshell":
        colour = mix(colour, cat.marking, ramp(look_up("cloud", x * 0.3, y * 0.3 + z * 0.2), 0.1, 0.35))
    elif cat.pattern == "points":
        colour = mix(colour, cat.marking, 0.9 * ramp(y, 3.2, 4.2))
    if cat.white > 0:
        bib = ramp(z - 0.5 * np.abs(x) + 0.2 * blotch + 0.3 * y * cat.white, 0.35, 0.5)
        colour = mix(colour, _WHITE, bib)
    hair = look_up("strand", (x + 0.7 * z) * 0.8 + cat.texture[0], y * 0.45)
    return colour * np.clip(1.0 + 0.11 * hair + 0.07 * blotch, 0.4, 1.6)[:, None], np.full(
        len(spot), 0.03, dtype=np.float32
    )
