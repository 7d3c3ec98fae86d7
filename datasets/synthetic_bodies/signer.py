"""Who signs, and what the signer wears in one clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.seeds import derive_seed
from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Take
from datasets.procedural.colour import linear
from datasets.procedural.draws import between
from datasets.synthetic_bodies.skeleton import Build
from datasets.synthetic_faces.identity import Identity, draw_identity

NAME = "synthetic-bodies"

Garment = Literal["tee", "jumper", "shirt", "jacket", "blouse", "vest", "cardigan"]

# sRGB; signers on television wear dark, plain clothes so that their hands stand out.
_SOBER = ((22, 22, 26), (34, 38, 52), (28, 32, 66), (58, 30, 36), (52, 54, 58), (36, 52, 44), (70, 56, 46))
_BRIGHT = (
    (150, 38, 44),
    (44, 90, 150),
    (54, 120, 96),
    (190, 180, 168),
    (120, 80, 140),
    (200, 150, 70),
    (220, 222, 226),
)


@dataclass(frozen=True)
class Signer:
    """What stays the same in all pictures of a person.

    Attributes:
        face: A person of the procedural faces. leading: the hand that signs alone, 0 right or 1 left.
        lively: How much head and trunk move. skirts: whether the signer also wears skirts and blouses.
    """

    face: Identity
    build: Build
    leading: int
    lively: float
    skirts: bool


@dataclass(frozen=True, eq=False)
class Outfit:
    """Clothes of one clip.

    Shapes:
        cloth, second, trousers, shoes: (3,), linear RGB; ``second`` is that of stripes, a shirt under a jacket, a tie.

    Attributes:
        sleeve: Where sleeves end, see ``arms.SHOULDER_END``. loose: how far the cloth stands off, decimetres.
        neckline: How deep the neck is cut, decimetres below the base of the neck. v_neck: whether to a point.
        pattern: 0 plain, 1 striped across, 2 checked, 3 striped down. skirt: see ``torso.legs_mesh``.
    """

    garment: Garment
    cloth: FloatArray
    second: FloatArray
    trousers: FloatArray
    shoes: FloatArray
    sleeve: float
    loose: float
    neckline: float
    v_neck: bool
    pattern: int
    tie: bool
    skirt: float
    folds: float
    glasses: bool
    mess: float


def draw_signer(take: Take) -> Signer:
    """The person of a picture."""
    rng = take.individual_generator(NAME, "signer")
    face = draw_identity(derive_seed(take.seed, NAME, "face"), take.pool, take.individual)
    bearded = face.beard != "none"
    slender = not bearded and bool(rng.random() < 0.75)
    frame = float(np.clip(rng.normal(0, 1), -1.8, 1.8))  # from slim to heavy
    size = float(np.clip(rng.normal(-0.35 if slender else 0.35, 0.7), -1.6, 1.6))
    build = Build(
        shoulder=1.72 * (1 + 0.045 * size + 0.015 * frame),
        upper_arm=2.85 * (1 + 0.03 * size + float(rng.normal(0, 0.015))),
        forearm=2.5 * (1 + 0.03 * size + float(rng.normal(0, 0.015))),
        hand=1.0 + 0.04 * size,
        girth=(0.88 if slender else 1.0) * (1 + 0.09 * frame),
        breadth=(0.94 if slender else 1.02) * (1 + 0.08 * frame),
        depth=1 + 0.1 * frame,
        waist=(0.88 if slender else 1.0) * (1 + 0.07 * frame),
        hips=(1.04 if slender else 0.97) * (1 + 0.03 * frame),
        bust=between(rng, 0.2, 0.55) if slender else 0.0,
        head=1.0 + float(rng.normal(0, 0.02)),
        neck=float(np.clip(rng.normal(0.02, 0.07), -0.12, 0.18)),
    )
    return Signer(face, build, int(rng.random() < 0.12), between(rng, 0.6, 1.3), slender)


def _colour(rng: np.random.Generator, bright: float) -> FloatArray:
    palette = _BRIGHT if rng.random() < bright else _SOBER
    base = np.array(palette[int(rng.integers(len(palette)))], dtype=np.float32)
    return linear(np.clip(base * rng.uniform(0.75, 1.25) + rng.normal(0, 6, 3), 4, 245).astype(np.float32))


def draw_outfit(rng: np.random.Generator, signer: Signer) -> Outfit:
    """Clothes that suit the signer."""
    common: tuple[Garment, ...] = ("tee", "jumper", "jumper", "shirt", "jacket")
    kinds = (
        (*common, "blouse", "blouse", "vest", "cardigan") if signer.skirts else (*common, "jacket", "shirt")
    )
    garment = kinds[int(rng.integers(len(kinds)))]
    long = 1.93
    sleeves = {
        "tee": (0.45, 0.75),
        "vest": (-0.3, -0.15),
        "blouse": (0.5, long),
        "jumper": (1.3, long),
        "shirt": (1.1, long),
    }
    low, high = sleeves.get(garment, (long, long))
    rolled = garment in ("shirt", "jumper", "blouse") and rng.random() < 0.6
    cuts = {
        "tee": (0.05, 0.45),
        "jumper": (0.0, 0.4),
        "blouse": (0.3, 1.0),
        "vest": (0.5, 1.0),
        "cardigan": (0.3, 0.7),
    }
    cut = cuts.get(garment, (0.2, 0.6))
    cloth = _colour(rng, 0.4)
    second = (
        _colour(rng, 0.8)
        if garment != "jacket"
        else linear((215, 217, 224)) * np.float32(rng.uniform(0.6, 1.0))
    )
    plain = rng.random() < 0.65 or garment == "jacket"
    return Outfit(
        garment=garment,
        cloth=cloth,
        second=second,
        trousers=_colour(rng, 0.15),
        shoes=linear((30, 26, 24)),
        sleeve=high if rolled or low == high else between(rng, low, high),
        loose={"jacket": 0.16, "shirt": 0.1, "jumper": 0.13, "cardigan": 0.12}.get(garment, 0.07),
        neckline=between(rng, *cut),
        v_neck=bool(rng.random() < 0.4) or garment in ("jacket", "shirt", "cardigan"),
        pattern=0 if plain else int(rng.integers(1, 4)),
        tie=bool(rng.random() < 0.5),
        skirt=between(rng, 0.3, 0.6) if signer.skirts and rng.random() < 0.4 else 0.0,
        folds=between(rng, 0.0, 6.28),
        glasses=bool(rng.random() < 0.9),
        mess=between(rng, 0.4, 1.4),
    )
