"""Kinds of birds: proportions, habits, and which plumages they wear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datasets.synthetic_birds import dresses
from datasets.synthetic_birds.dresses import Dress

Setting = Literal["perch", "ground", "water", "flight"]


@dataclass(frozen=True)
class Shape:
    """Proportions; 1 (or 0 for curve, fork, crest) is the template, a songbird.

    Attributes:
        depth, width: Of the trunk. beak_curve: positive bends the tip down. beak_flat: width over depth.
        tail_fork: Positive for forked tails, negative for rounded and graduated ones.
        tail_cock: Degrees that the tail is raised over the line of the back.
        span: Length of the wing. chord: breadth of the wing. crest: height of the crest.
    """

    head: float = 1.0
    neck: float = 0.0
    length: float = 1.0
    depth: float = 1.0
    width: float = 1.0
    beak_length: float = 1.0
    beak_depth: float = 1.0
    beak_flat: float = 1.0
    beak_curve: float = 0.0
    tail_length: float = 1.0
    tail_width: float = 1.0
    tail_fork: float = 0.0
    tail_cock: float = 0.0
    span: float = 1.0
    chord: float = 1.0
    leg: float = 1.0
    crest: float = 0.0
    eye: float = 1.0


@dataclass(frozen=True)
class Species:
    """What the individuals of a kind share.

    Attributes:
        pitch: Mean slope of the trunk in degrees against the template; positive is more upright.
        settings: Shares of perch, ground, water and flight.
    """

    name: str
    shape: Shape
    dresses: tuple[Dress, ...]
    pitch: float = 0.0
    settings: tuple[float, float, float, float] = (0.7, 0.18, 0.0, 0.12)
    variation: float = 0.06


SETTINGS: tuple[Setting, ...] = ("perch", "ground", "water", "flight")

SPECIES: tuple[Species, ...] = (
    Species(
        "sparrow",
        Shape(),
        (dresses.SPARROW, dresses.STREAKED, dresses.HOUSE_SPARROW),
        0,
        (0.6, 0.33, 0.0, 0.07),
    ),
    Species(
        "finch",
        Shape(head=1.04, depth=1.05, beak_length=0.95, beak_depth=1.2, tail_length=0.85, tail_fork=0.15),
        (dresses.GOLDFINCH, dresses.ROSEFINCH, dresses.BUNTING),
        8,
    ),
    Species(
        "warbler",
        Shape(head=0.95, depth=0.9, width=0.92, beak_length=1.05, beak_depth=0.55, leg=1.1),
        (dresses.YELLOW_WARBLER, dresses.GREY_WARBLER, dresses.PIED_WARBLER),
        -8,
        (0.85, 0.08, 0.0, 0.07),
    ),
    Species(
        "wren",
        Shape(
            head=1.08,
            depth=1.15,
            width=1.1,
            length=0.85,
            beak_length=1.35,
            beak_depth=0.5,
            beak_curve=0.5,
            tail_length=0.65,
            tail_fork=-0.3,
            tail_cock=62,
            leg=1.1,
        ),
        (dresses.WREN,),
        -12,
        (0.75, 0.23, 0.0, 0.02),
    ),
    Species(
        "thrush",
        Shape(head=0.9, depth=1.08, width=1.05, length=1.08, beak_length=1.1, beak_depth=0.7, leg=1.3),
        (dresses.ROBIN, dresses.THRUSH, dresses.BLUEBIRD, dresses.BLACKBIRD),
        10,
        (0.5, 0.45, 0.0, 0.05),
    ),
    Species(
        "cardinal",
        Shape(crest=1.0, beak_length=1.0, beak_depth=1.35, tail_length=1.3, tail_fork=-0.15, depth=1.05),
        (dresses.CARDINAL, dresses.PYRRHULOXIA, dresses.WAXWING),
        10,
        (0.8, 0.15, 0.0, 0.05),
    ),
    Species(
        "jay",
        Shape(
            crest=0.7, length=1.1, beak_length=1.3, beak_depth=0.9, tail_length=1.5, tail_fork=-0.2, leg=1.15
        ),
        (dresses.JAY,),
        5,
        (0.7, 0.22, 0.0, 0.08),
    ),
    Species(
        "crow",
        Shape(
            head=0.92,
            length=1.15,
            beak_length=1.7,
            beak_depth=1.05,
            beak_curve=0.15,
            tail_length=1.2,
            tail_fork=-0.2,
            span=1.2,
            leg=1.4,
            eye=0.8,
        ),
        (dresses.CROW, dresses.GRACKLE),
        0,
        (0.45, 0.37, 0.0, 0.18),
    ),
    Species(
        "swallow",
        Shape(
            head=0.92,
            depth=0.85,
            width=0.9,
            beak_length=0.5,
            beak_depth=0.45,
            beak_flat=1.5,
            tail_length=1.35,
            tail_fork=0.75,
            span=1.45,
            chord=0.75,
            leg=0.45,
        ),
        (dresses.SWALLOW,),
        5,
        (0.5, 0.0, 0.0, 0.5),
    ),
    Species(
        "gull",
        Shape(
            head=0.85,
            neck=0.1,
            length=1.15,
            depth=0.95,
            beak_length=1.5,
            beak_depth=0.7,
            beak_curve=0.15,
            tail_length=0.9,
            tail_cock=14,
            span=1.55,
            chord=0.85,
            leg=1.2,
            eye=0.75,
        ),
        (dresses.TERN, dresses.GULL),
        -20,
        (0.12, 0.38, 0.15, 0.35),
    ),
    Species(
        "kingfisher",
        Shape(
            head=1.35,
            crest=0.6,
            depth=1.05,
            length=0.95,
            beak_length=2.4,
            beak_depth=1.0,
            tail_length=0.7,
            leg=0.45,
        ),
        (dresses.KINGFISHER,),
        10,
        (0.9, 0.0, 0.0, 0.1),
    ),
    Species(
        "woodpecker",
        Shape(
            head=1.05,
            depth=0.9,
            width=0.95,
            beak_length=1.7,
            beak_depth=0.7,
            tail_length=0.9,
            tail_fork=-0.35,
            leg=0.5,
        ),
        (dresses.WOODPECKER,),
        30,
        (0.95, 0.0, 0.0, 0.05),
    ),
    Species(
        "duck",
        Shape(
            head=0.9,
            neck=0.3,
            length=1.35,
            depth=1.0,
            width=1.25,
            beak_length=1.45,
            beak_depth=0.75,
            beak_flat=1.7,
            beak_curve=-0.15,
            tail_length=0.5,
            tail_width=1.3,
            tail_fork=-0.4,
            leg=0.6,
            eye=0.7,
            span=0.95,
        ),
        (dresses.MALLARD, dresses.DUCK),
        -26,
        (0.0, 0.35, 0.57, 0.08),
    ),
    Species(
        "hummingbird",
        Shape(
            head=1.05,
            depth=0.85,
            width=0.85,
            length=0.85,
            beak_length=3.0,
            beak_depth=0.28,
            tail_length=0.75,
            span=0.95,
            chord=0.6,
            leg=0.3,
            eye=1.05,
        ),
        (dresses.HUMMINGBIRD,),
        12,
        (0.45, 0.0, 0.0, 0.55),
    ),
)
