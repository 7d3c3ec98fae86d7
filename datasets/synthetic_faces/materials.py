"""Colour and gloss of what is not the skin of the head: ears, hair, hats, clothes."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_faces.identity import Identity

Painted = tuple[FloatArray, FloatArray]  # (F, 3) linear albedo, (F,) gloss


def paint_ear(surface: FloatArray, person: Identity) -> Painted:
    """Skin, a little redder."""
    grain = look_up("grain", surface[:, 0], surface[:, 1])
    red = np.array([1.0, 0.84, 0.84], dtype=np.float32)
    return np.asarray((person.skin * red)[None] * (1 + 0.04 * grain)[:, None]), np.full(
        len(surface), 0.12, np.float32
    )


def paint_frame(surface: FloatArray, person: Identity) -> Painted:
    """Glasses: dark plastic or light metal, by the seed of their design."""
    design = np.random.Generator(np.random.PCG64(person.glasses))
    tone = np.clip(design.uniform(0.0, 0.12, 3) + (0.3 if design.random() < 0.3 else 0.0), 0.005, 1)
    count = len(surface)
    return np.repeat(tone[None].astype(np.float32), count, 0), np.full(count, 0.8, np.float32)


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
    return np.asarray(colour[None] * (1 + ribs)[:, None], dtype=np.float32), np.full(
        len(surface), 0.02, np.float32
    )


def paint_cloth(surface: FloatArray, cloth: FloatArray, pattern: int) -> Painted:
    """Plain, striped, checked, or a jacket over a shirt."""
    x, y, _ = surface.T
    colour = np.repeat(cloth[None], len(surface), 0)
    other = np.clip(cloth[[1, 2, 0]] * 0.5 + 0.3 * (cloth.mean() < 0.3), 0.01, 0.9)
    if pattern == 1:
        colour = mix(colour, other[None], (np.sin(y * 28) > 0.3).astype(np.float32))
    elif pattern == 2:
        colour = mix(
            colour, other[None], 0.6 * ((np.sin(x * 24) > 0.6) | (np.sin(y * 24) > 0.6)).astype(np.float32)
        )
    elif pattern >= 4:
        opening = np.abs(x) < 0.14 + 0.3 * np.clip(2.6 - y, 0, 2)
        colour = mix(colour, linear((225, 225, 230))[None], opening.astype(np.float32))
        if pattern == 5:
            colour = mix(colour, other[None] * 0.6, (np.abs(x) < 0.08 + 0.02 * y).astype(np.float32))
    folds = 1.0 + 0.12 * look_up("cloud", x * 0.3, y * 0.25) + 0.06 * look_up("grain", x * 0.6, y * 0.6)
    return np.asarray(colour * folds[:, None], dtype=np.float32), np.full(len(surface), 0.04, np.float32)
