"""Who is shown: everything about a person that stays the same from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.seeds import numpy_generator
from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear
from datasets.synthetic_faces.deformation import traits

HairStyle = Literal[
    "bald", "buzz", "short", "parted", "fringe", "curly", "afro", "bob", "long", "tied", "receding"
]
BeardStyle = Literal["none", "stubble", "moustache", "goatee", "full"]

# From fair to dark, sRGB; neighbours are mixed.
_SKIN = ((246, 214, 196), (233, 190, 164), (214, 163, 130), (186, 130, 94), (141, 90, 60), (92, 58, 42))
_HAIR = (
    *((26, 20, 18), (40, 28, 22), (66, 44, 30), (98, 66, 40), (140, 98, 58), (186, 146, 92)),
    *((214, 180, 128), (122, 56, 30), (150, 146, 142), (208, 206, 202)),
)
_IRIS = ((62, 40, 26), (86, 58, 34), (112, 92, 52), (92, 112, 84), (96, 124, 148), (120, 134, 142))
_STYLES_SHORT: tuple[HairStyle, ...] = ("bald", "buzz", "short", "parted", "fringe", "curly", "receding")
_STYLES_LONG: tuple[HairStyle, ...] = ("short", "parted", "fringe", "curly", "afro", "bob", "long", "tied")


@dataclass(frozen=True, eq=False)
class Identity:
    """A person.

    Shapes:
        colours: (3,), linear RGB.

    Attributes:
        shape: Coefficients of ``deformation.traits``.
        hair_swing: Signed slant of parting and fringe. hair_body: thickness. hair_length: relative length.
        glasses: Seed of the frame's design, None for people who wear none.
    """

    shape: dict[str, float]
    skin: FloatArray
    lips: FloatArray
    iris: FloatArray
    hair: FloatArray
    brow: FloatArray
    hair_style: HairStyle
    hair_swing: float
    hair_body: float
    hair_length: float
    hair_wave: float
    beard: BeardStyle
    beard_density: float
    brow_weight: float
    lash_weight: float
    freckles: float
    wrinkles: float
    ear_size: float
    glasses: int | None
    texture: tuple[float, float]


def _mixed(palette: tuple[tuple[int, int, int], ...], position: float) -> FloatArray:
    place = float(np.clip(position, 0.0, 1.0)) * (len(palette) - 1)
    low = min(int(place), len(palette) - 2)
    t = np.float32(place - low)
    return linear(palette[low]) * (1 - t) + linear(palette[low + 1]) * t


def draw_identity(seed: int, pool: str, index: int) -> Identity:
    """Person number ``index`` of a pool; depends on nothing else."""
    rng = numpy_generator(seed, "synthetic-faces", "identity", pool, index)
    shape = {name: float(np.clip(rng.normal(0, 1.25), -2.4, 2.4)) for name in traits()}
    tone = float(rng.beta(1.1, 1.3))
    skin = _mixed(_SKIN, tone) * np.asarray(rng.normal(1.0, (0.05, 0.04, 0.06)), dtype=np.float32)
    bearded = rng.random() < 0.5
    old = rng.random() < 0.3
    shades = len(_HAIR) - 2
    if old and rng.random() < 0.6:
        hair = linear(_HAIR[shades + int(rng.integers(2))])
    elif tone > 0.6:
        hair = linear(_HAIR[int(rng.integers(0, 3))])
    else:
        hair = linear(_HAIR[int(rng.integers(0, shades))])
    hair = hair * np.float32(rng.uniform(0.7, 1.25))
    iris = linear(_IRIS[int(rng.integers(0, 2 if tone > 0.55 else len(_IRIS)))])
    rosy = rng.uniform(0.0, 1.0) * (0.4 if bearded else 1.0)
    lips = skin * np.asarray((0.95 - 0.1 * rosy, 0.6 - 0.2 * rosy, 0.62 - 0.15 * rosy), dtype=np.float32)
    styles = _STYLES_SHORT if bearded else _STYLES_LONG
    beards: tuple[BeardStyle, ...] = ("none", "stubble", "stubble", "moustache", "goatee", "full")
    return Identity(
        shape=shape,
        skin=np.clip(skin, 0.01, 0.95),
        lips=lips,
        iris=iris,
        hair=hair,
        brow=hair * np.float32(0.6) if tone > 0.3 else hair * np.float32(0.75),
        hair_style=styles[int(rng.integers(len(styles)))],
        hair_swing=float(rng.uniform(-1, 1)),
        hair_body=float(rng.uniform(0.7, 1.4)),
        hair_length=float(rng.uniform(0.0, 1.0)),
        hair_wave=float(rng.uniform(0.0, 1.0)),
        beard=beards[int(rng.integers(len(beards)))] if bearded else "none",
        beard_density=float(rng.uniform(0.45, 1.0)),
        brow_weight=float(rng.uniform(0.7, 1.3)) * (1.15 if bearded else 0.9),
        lash_weight=float(rng.uniform(0.3, 0.6)) if bearded else float(rng.uniform(0.5, 1.0)),
        freckles=float(max(0.0, rng.normal(-0.2, 0.5))) if tone < 0.45 else 0.0,
        wrinkles=float(rng.uniform(0.5, 1.0)) if old else float(rng.uniform(0.0, 0.3)),
        ear_size=float(rng.uniform(0.85, 1.15)),
        glasses=int(rng.integers(1 << 31)) if rng.random() < 0.28 else None,
        texture=(float(rng.random()), float(rng.random())),
    )
