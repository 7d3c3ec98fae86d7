"""One picture of a person: pose, expression, light, clothes, things in the way, camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.camera import Camera, draw_camera
from datasets.procedural.colour import linear
from datasets.procedural.draws import between
from datasets.procedural.light import Light, draw_light
from datasets.procedural.occluders import OccluderKind
from datasets.procedural.rotation import rotation

MAX_YAW, MAX_PITCH, MAX_ROLL = 60.0, 25.0, 30.0


@dataclass(frozen=True)
class Pose:
    """Rotation of the head in degrees: first yaw, then pitch, then roll.

    Attributes:
        yaw: Positive turns the face to the image's right. pitch: positive looks down. roll: positive is clockwise.
        turn: Share of the rotation that the shoulders follow.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    turn: float = 0.35

    def matrix(self, share: float = 1.0) -> FloatArray:
        """(3, 3) matrix that maps points of the head (as columns) to the view."""
        return rotation(self.yaw * share, self.pitch * share, self.roll * share)


@dataclass(frozen=True, eq=False)
class Capture:
    """Everything about a picture but the person.

    Attributes:
        scale: Pixels per unit, as a share of the image side (0.37 fills a crop with a face).
        centre: Where the middle of the landmarks goes, as a share of the image side.
        glasses, hat, occluder: Present in this picture (glasses only if the person has some).
        parts_seed, background_seed, occluder_seed: Seeds of what is drawn in detail later.
    """

    pose: Pose
    expression: dict[str, float]
    gaze: tuple[float, float]
    light: Light
    camera: Camera
    scale: float
    centre: tuple[float, float]
    glasses: bool
    hat: bool
    hair_mess: float
    cloth: FloatArray
    cloth_pattern: int
    collar: float
    breadth: float
    occluder: OccluderKind | None
    background_seed: int
    occluder_seed: int
    parts_seed: int


def draw_pose(rng: np.random.Generator) -> Pose:
    """Half of the heads are near frontal, the others turn up to the limits."""
    yaw = rng.normal(0, 14) if rng.random() < 0.5 else rng.uniform(-MAX_YAW, MAX_YAW)
    return Pose(
        yaw=float(np.clip(yaw, -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(rng.normal(2, 9), -MAX_PITCH, MAX_PITCH)),
        roll=float(np.clip(rng.normal(0, 8), -MAX_ROLL, MAX_ROLL)),
        turn=between(rng, 0.1, 0.7),
    )


def draw_expression(rng: np.random.Generator) -> dict[str, float]:
    """Coefficients of ``deformation.movements``."""
    moves: dict[str, float] = {"blink": float(np.clip(rng.normal(0.02, 0.18), -0.3, 0.6))}
    if rng.random() < 0.08:
        moves["blink"] = 1.0
    mood = rng.random()
    if mood < 0.38:
        smile, lean = between(rng, 0.2, 1.1), between(rng, -0.2, 0.2)
        moves |= {"smile_right": smile + lean, "smile_left": smile - lean, "squint": 0.5 * smile}
        moves["lips_part"] = between(rng, 0.0, 1.3) * smile
        moves["jaw_open"] = max(0.0, float(rng.normal(0.0, 0.12)))
    elif mood < 0.5:
        moves |= {"corners_down": between(rng, 0.2, 1.0), "brows_frown": between(rng, 0.0, 1.0)}
    elif mood < 0.72:
        moves |= {"jaw_open": between(rng, 0.05, 0.9), "brows_up": between(rng, -0.2, 1.0)}
        moves["lips_part"] = between(rng, 0.0, 0.8)
    elif mood < 0.8:
        moves["pucker"] = between(rng, 0.3, 1.0)
    else:
        moves["lips_part"] = max(0.0, float(rng.normal(0.0, 0.3)))
    moves["brows_up"] = moves.get("brows_up", 0.0) + float(rng.normal(0, 0.25))
    moves["brows_frown"] = moves.get("brows_frown", 0.0) + max(0.0, float(rng.normal(0, 0.3)))
    moves["jaw_side"] = float(rng.normal(0, 0.35))
    return moves


def draw_capture(rng: np.random.Generator, wild: bool) -> Capture:
    """A picture; in the wild the head is small and anywhere in the scene."""
    pose = draw_pose(rng)
    saturated = rng.random() < 0.4
    cloth = rng.uniform(10, 240, 3) if saturated else np.full(3, rng.uniform(15, 235)) + rng.normal(0, 14, 3)
    kinds: tuple[OccluderKind, ...] = ("hand", "microphone", "bar", "card", "blob")
    share = (0.3, 0.27, 0.15, 0.13, 0.15)
    scale = between(rng, 0.33, 0.405)
    centre = (0.5 + float(rng.normal(0, 0.025)), 0.555 + float(rng.normal(0, 0.025)))
    if wild:
        scale, centre = between(rng, 0.1, 0.24), (between(rng, 0.15, 0.85), between(rng, 0.2, 0.7))
    return Capture(
        pose=pose,
        expression=draw_expression(rng),
        gaze=(float(np.clip(-0.4 * pose.yaw / 60 + rng.normal(0, 0.4), -1, 1)), float(rng.normal(0, 0.35))),
        light=draw_light(rng),
        camera=draw_camera(rng),
        scale=scale,
        centre=centre,
        glasses=bool(rng.random() < 0.8),
        hat=bool(rng.random() < 0.07),
        hair_mess=between(rng, 0.4, 1.6),
        cloth=linear(np.clip(cloth, 4, 250).astype(np.float32)),
        cloth_pattern=int(rng.integers(6)),
        collar=between(rng, -0.3, 1.0),
        breadth=between(rng, 1.5, 2.1),
        occluder=kinds[int(rng.choice(5, p=share))] if rng.random() < 0.2 else None,
        background_seed=int(rng.integers(1 << 31)),
        occluder_seed=int(rng.integers(1 << 31)),
        parts_seed=int(rng.integers(1 << 31)),
    )
