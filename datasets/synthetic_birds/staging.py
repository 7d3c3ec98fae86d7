"""One picture of a bird: where it is, what it does, what is around it.

World frame: x to the image's right, y down, z towards the viewer, the ground level; ``Stage.view`` slopes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Piece
from datasets.procedural.draws import between
from datasets.procedural.rotation import rotation
from datasets.synthetic_birds import props
from datasets.synthetic_birds.bird import Body, Posture, build
from datasets.synthetic_birds.individual import Individual, draw_individual, pieces
from datasets.synthetic_birds.species import SETTINGS, Setting


@dataclass(frozen=True, eq=False)
class Stage:
    """A bird at its place.

    Shapes:
        turn: (3, 3), from the bird's frame to the world. view: (3, 3), from the world to the view.
    """

    setting: Setting
    posture: Posture
    body: Body
    turn: FloatArray
    view: FloatArray

    @property
    def frame(self) -> FloatArray:
        """(3, 3) from the bird's frame to the view."""
        return self.view @ self.turn


def draw_stage(rng: np.random.Generator, bird: Individual) -> Stage:
    """A setting, and the bird in it."""
    setting = SETTINGS[int(rng.choice(len(SETTINGS), p=bird.species.settings))]
    posture = draw_posture(rng, bird, setting)
    # Most are seen from the side, a few from anywhere.
    heading = 180.0 * int(rng.integers(2)) + float(rng.normal(0, 30))
    if rng.random() < 0.2:
        heading = between(rng, 0, 360)
    slope = {
        "perch": float(np.clip(rng.normal(-4, 11), -32, 28)),
        "ground": between(rng, 7, 30),
        "water": between(rng, 7, 26),
        "flight": between(rng, -55, 25),
    }[setting]
    roll = float(rng.normal(0, 16 if setting == "flight" else 3))
    body = build(bird.shape, posture)
    return Stage(setting, posture, body, rotation(heading, 0, 0), rotation(0, slope, roll))


def draw_posture(rng: np.random.Generator, bird: Individual, setting: Setting) -> Posture:
    """What the bird does with trunk, head, wings and tail."""
    far = rng.random() < 0.3
    turn = float(np.clip(rng.normal(0, 0.95 if far else 0.25), -1.8, 1.8))
    look = (turn, float(rng.normal(0, 0.14)), float(rng.normal(0, 0.12)))
    pitch = bird.species.pitch + float(np.clip(rng.normal(0, 8), -16, 16))
    gape = between(rng, 0.3, 0.9) if rng.random() < 0.12 else 0.0
    crest = between(rng, 0.35, 1.1)
    if setting == "flight":
        hovering = bird.species.name == "hummingbird"
        return Posture(
            pitch=np.radians(float(rng.normal(12 if hovering else -26, 9))),
            look=(0.4 * look[0], look[1], look[2]),
            gape=gape,
            crest=0.4 * crest,
            flying=True,
            stroke=between(rng, -0.55, 1.15),
            bend=between(rng, -0.2, 0.7),
            cock=float(rng.normal(0.1, 0.1)),
            fan=between(rng, 0.1, 1.0),
        )
    if setting == "perch":
        clinging = bird.species.name == "woodpecker" and rng.random() < 0.75
        side = float(rng.choice((-1.0, 1.0)))
        stride = 0.04 * side if clinging else side * between(rng, 0.02, 0.2)
    else:
        clinging, stride = False, float(rng.normal(0, 0.08))
    return Posture(
        pitch=np.radians(pitch + (8.0 if clinging else 0.0)),
        look=look,
        gape=gape,
        crest=crest,
        droop=float(np.clip(rng.exponential(0.25), 0, 1.2)),
        cock=float(rng.normal(0.0, 0.12)),
        fan=float(np.clip(rng.exponential(0.12), 0, 0.8)),
        stride=stride,
        grip=1.0 if setting == "perch" else 0.0,
        clinging=clinging,
    )


def surroundings(rng: np.random.Generator, stage: Stage, companions: int, bird: Individual) -> list[Piece]:
    """Everything else in the view: props first, then other birds."""
    feet = stage.body.feet @ stage.turn.T
    if stage.setting == "perch":
        staged, along = _perch(rng, stage, feet)
    elif stage.setting == "flight":
        staged, along = [], np.array([1.0, 0.0, 0.0])
    else:
        staged, along = _plane(rng, stage, feet), np.array([1.0, 0.0, 0.0])
    view = [props.turned(piece, stage.view) for piece in staged]
    for _ in range(companions):
        view += _companion(rng, stage, bird, feet.mean(0), along)
    return view


def _perch(rng: np.random.Generator, stage: Stage, feet: FloatArray) -> tuple[list[Piece], FloatArray]:
    """A branch below the feet, or a trunk before them, with twigs and leaves; and its direction."""
    middle = feet.mean(0)
    ahead = stage.turn[:, 0]
    if stage.posture.clinging:
        radius = between(rng, 0.18, 0.6)
        along = np.array([float(rng.normal(0, 0.08)), 1.0, float(rng.normal(0, 0.08))])
        middle = middle + (radius + 0.02) * ahead
        path = middle + np.linspace(-5, 5, 25)[:, None] * along
        return [props.branch(rng, path, radius, 1.0)], along
    radius = between(rng, 0.03, 0.13)
    along = feet[0] - feet[1]
    along = along / np.linalg.norm(along)
    along[1] += float(np.clip(rng.normal(0, 0.12), -0.3, 0.3))
    along *= -1.0 if along[2] > 0 else 1.0
    # What comes towards the viewer ends soon.
    t = np.linspace(-6.0 if along[2] > -0.5 else -between(rng, 0.3, 0.9), 6.0, 31)[:, None]
    path = middle + np.array([0.0, 0.85 * radius, 0.0]) + t * along
    path += 0.035 * np.clip(np.abs(t) - 0.25, 0, None) * rng.normal(0, 1, 3) * np.sin(2.5 * t)
    staged = [props.branch(rng, path, radius)]
    stems = []
    for _ in range(int(rng.integers(0, 5))):
        start = path[int(rng.integers(len(path)))] + rng.normal(0, 0.02, 3)
        way = rng.normal(0, 1, 3) * (1.0, 0.8, 0.7)
        twig = start + np.linspace(0, 1, 8)[:, None] * way + 0.08 * rng.normal(0, 1, (8, 3)).cumsum(0) * 0.4
        staged.append(props.branch(rng, twig, 0.4 * radius + 0.008, 0.4))
        stems.append(twig[2:])
    if stems and rng.random() < 0.65:
        roots = np.repeat(np.concatenate(stems), 2, axis=0)
        staged.append(props.leaves(rng, roots, between(rng, 0.2, 0.5)))
    if rng.random() < 0.15:
        # Foliage between the bird and the viewer.
        at = middle + np.array([between(rng, -0.9, 0.9), between(rng, -0.9, 0.5), 1.2])
        staged.append(props.leaves(rng, at + 0.35 * rng.normal(0, 1, (14, 3)) * (1, 1, 0.2), 0.45))
    return staged, along


def _plane(rng: np.random.Generator, stage: Stage, feet: FloatArray) -> list[Piece]:
    """The ground with some grass, or water up to the flanks."""
    if stage.setting == "water":
        lowest = float((stage.body.parts["trunk"].vertices[:, 1]).max())
        return [props.ground(rng, lowest - between(rng, 0.1, 0.18), water=True)]
    level = float(feet[:, 1].max()) + 0.015
    staged = [props.ground(rng, level, water=False)]
    if rng.random() < 0.55:
        count = int(rng.integers(20, 160))
        roots = np.stack(
            [rng.uniform(-2.2, 2.2, count), np.full(count, level), rng.uniform(-1.5, 1.3, count)], -1
        )
        staged.append(props.grass(rng, roots, between(rng, 0.1, 0.5)))
    return staged


def _companion(
    rng: np.random.Generator, stage: Stage, bird: Individual, feet: FloatArray, along: FloatArray
) -> list[Piece]:
    """Another bird nearby, of the same kind more often than not; ``feet`` (3,) and ``along`` (3,) in the world."""
    other = draw_individual(rng, bird.species if rng.random() < 0.65 else None)
    posture = draw_posture(rng, other, stage.setting)
    body = build(other.shape, posture)
    turn = rotation(between(rng, 0, 360), 0, 0)
    side = float(rng.choice((-1.0, 1.0)))
    if stage.setting == "flight":
        shift = np.array([side * between(rng, 1.0, 2.6), between(rng, -1.4, 1.4), between(rng, -2, 1)])
    elif stage.setting == "perch" and not stage.posture.clinging:
        shift = side * between(rng, 0.8, 1.7) * along + feet - (body.feet @ turn.T).mean(0)
    elif stage.setting == "perch":
        shift = np.array([side * between(rng, 0.9, 1.9), between(rng, -1.2, 1.2), between(rng, -0.6, 0.2)])
    else:
        shift = np.array([side * between(rng, 0.8, 2.2), 0.0, between(rng, -2.5, 0.7)])
        low, other_low = float(stage.body.feet[:, 1].max()), float(body.feet[:, 1].max())
        shift[1] = low - other_low
        if stage.setting == "water":
            trunks = (b.parts["trunk"].vertices[:, 1].max() for b in (stage.body, body))
            shift[1] = float(np.subtract(*trunks))
    return pieces(other, body, stage.view @ turn, stage.view @ shift)
