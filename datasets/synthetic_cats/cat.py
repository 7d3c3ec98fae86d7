"""Who is shown: everything about a cat that stays the same from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear
from datasets.procedural.draws import between
from datasets.synthetic_cats.deformation import traits

Pattern = Literal["solid", "tabby", "points", "tortoiseshell"]

# Ground colour and marking, sRGB: black, blue, brown tabby, silver, red, cream, chocolate, lilac, white.
_COATS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "black": ((46, 41, 40), (24, 21, 21)),
    "blue": ((122, 126, 134), (82, 86, 96)),
    "brown": ((158, 130, 100), (52, 40, 32)),
    "silver": ((192, 190, 184), (66, 64, 64)),
    "red": ((224, 164, 98), (172, 94, 44)),
    "cream": ((236, 212, 178), (206, 164, 116)),
    "chocolate": ((112, 78, 58), (66, 42, 32)),
    "lilac": ((196, 180, 170), (150, 130, 124)),
    "white": ((242, 240, 235), (232, 230, 226)),
}
_SHARE: dict[Pattern, tuple[tuple[str, ...], float]] = {
    "solid": (("black", "blue", "white", "cream", "red", "chocolate", "lilac"), 0.28),
    "tabby": (("brown", "silver", "red", "cream", "blue"), 0.46),
    "points": (("black", "blue", "chocolate", "red"), 0.13),
    "tortoiseshell": (("black", "blue"), 0.13),
}
_IRIS = ((196, 204, 92), (146, 178, 84), (226, 176, 56), (206, 128, 44), (120, 172, 128))
_BLUE = ((104, 160, 214), (134, 182, 224))
_LEATHER = ((216, 138, 130), (186, 104, 90), (60, 48, 48), (112, 82, 76))


@dataclass(frozen=True, eq=False)
class Cat:
    """A cat.

    Shapes:
        colours: (3,), linear RGB. iris: (2, 3), left and right.

    Attributes:
        shape: Amounts of ``deformation.traits``.
        pattern: How ground colour and marking are laid out; ``white`` is laid over it.
        white: How far white reaches up from the chest: 0 nowhere, 1 to above the eyes; ``blaze`` on the nose's bridge.
        lopsided: How far the white is shifted to one side.
        contrast: Strength of the marking. stripes: their density. fluff: Length of the fur, 0 to 1.
        leather: Of the nose. ear_pink: Brightness of the skin within the ears.
        texture: Where in the noise the coat is looked up.
        collar: Colour of a collar, None for most.
    """

    shape: dict[str, float]
    pattern: Pattern
    ground: FloatArray
    marking: FloatArray
    white: float
    blaze: float
    lopsided: float
    contrast: float
    stripes: float
    fluff: float
    iris: FloatArray
    leather: FloatArray
    ear_pink: float
    texture: tuple[float, float]
    collar: FloatArray | None


def draw_cat(rng: np.random.Generator) -> Cat:
    """A random cat."""
    shape = {name: float(np.clip(rng.normal(0, 0.8), -1.8, 1.8)) for name in traits()}
    fluff = between(rng, 0.0, 1.0) ** 1.6
    if rng.random() < 0.12:  # Persians: flat faces, small ears, much fur
        fluff = between(rng, 0.8, 1.0)
        shape |= {"flat_nose": between(rng, 1.0, 1.9), "ear_length": between(rng, -1.8, -1.0)}
    elif rng.random() < 0.2:  # Orientals: wedges with large ears
        shape |= {"width": between(rng, -1.8, -0.8), "ear_length": between(rng, 0.8, 1.8), "ruff": -1.5}
        shape |= {"muzzle_length": between(rng, 0.5, 1.8), "ear_width": between(rng, 0.3, 1.5)}
        fluff *= 0.3
    elif rng.random() < 0.25:  # kittens: large eyes
        shape |= {"eye_size": between(rng, 1.2, 2.0), "ruff": between(rng, -1.5, -0.3)}
        shape |= {"muzzle_width": between(rng, -1.5, -0.4), "height": between(rng, -1.8, -0.6)}
    shape["ruff"] = float(np.clip(shape["ruff"] + 1.4 * fluff - 0.4, -1.5, 2.0))
    patterns = tuple(_SHARE)
    pattern = patterns[int(rng.choice(len(patterns), p=[_SHARE[p][1] for p in patterns]))]
    names = _SHARE[pattern][0]
    colour = names[int(rng.integers(len(names)))]
    ground, marking = (linear(np.asarray(c, dtype=np.float32)) for c in _COATS[colour])
    if pattern == "points":
        ground, marking = linear((226, 208, 184)), ground * np.float32(0.8)
    elif pattern == "tortoiseshell":
        marking = linear(_COATS["red" if colour == "black" else "cream"][0])
    vary = np.asarray(rng.normal(1.0, (0.06, 0.05, 0.06)), dtype=np.float32) * np.float32(
        between(rng, 0.8, 1.15)
    )
    partly = pattern != "points" and rng.random() < (0.7 if pattern == "tortoiseshell" else 0.4)
    pale = colour == "white" or pattern == "points"
    eyes = _BLUE if pattern == "points" or (colour == "white" and rng.random() < 0.4) else _IRIS
    iris = [linear(eyes[int(rng.integers(len(eyes)))])] * 2
    if pale and rng.random() < 0.15:
        iris[1] = linear(_IRIS[int(rng.integers(3))])
    dark = pattern in ("solid", "tortoiseshell") and colour in ("black", "blue") and not partly
    return Cat(
        shape=shape,
        pattern=pattern,
        ground=np.clip(ground * vary, 0.005, 0.92),
        marking=np.clip(marking * vary, 0.004, 0.9),
        white=between(rng, 0.1, 1.0) if partly else 0.0,
        blaze=between(rng, -0.05, 0.22) if partly else -0.1,
        lopsided=float(rng.normal(0, 0.12)),
        contrast=between(rng, 0.6, 1.0),
        stripes=between(rng, 0.8, 1.3),
        fluff=float(fluff),
        iris=np.stack(iris) * np.float32(between(rng, 0.75, 1.1)),
        leather=linear(_LEATHER[2 + int(rng.integers(2)) if dark else int(rng.integers(4))]),
        ear_pink=between(rng, 0.2, 0.5) if dark else between(rng, 0.5, 1.0),
        texture=(float(rng.random()), float(rng.random())),
        collar=linear(rng.uniform(10, 230, 3).astype(np.float32)) if rng.random() < 0.25 else None,
    )
