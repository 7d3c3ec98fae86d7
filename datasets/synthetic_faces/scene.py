"""One picture of a person: pose, expression, light, clothes, things in the way, camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.synthetic_faces.arrays import FloatArray
from datasets.synthetic_faces.identity import linear

OccluderKind = Literal["hand", "microphone", "bar", "card", "blob"]

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
        yaw, pitch, roll = np.radians((self.yaw * share, self.pitch * share, self.roll * share))
        cy, sy, cp, sp, cr, sr = (
            np.cos(yaw),
            np.sin(yaw),
            np.cos(pitch),
            np.sin(pitch),
            np.cos(roll),
            np.sin(roll),
        )
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return np.asarray(about_z @ about_x @ about_y, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Light:
    """Illumination, linear RGB.

    Shapes:
        direction, rim_direction: (3,), unit, towards the light. key, sky, ground, rim: (3,).
    """

    direction: FloatArray
    key: FloatArray
    sky: FloatArray
    ground: FloatArray
    rim_direction: FloatArray
    rim: FloatArray
    softness: float


@dataclass(frozen=True, eq=False)
class Camera:
    """What happens between the scene and the file."""

    exposure: float
    contrast: float
    saturation: float
    tint: FloatArray
    blur: float
    motion: tuple[float, float]
    noise: float
    quality: float
    shrink: float


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


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def draw_pose(rng: np.random.Generator) -> Pose:
    """Half of the heads are near frontal, the others turn up to the limits."""
    yaw = rng.normal(0, 14) if rng.random() < 0.5 else rng.uniform(-MAX_YAW, MAX_YAW)
    return Pose(
        yaw=float(np.clip(yaw, -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(rng.normal(2, 9), -MAX_PITCH, MAX_PITCH)),
        roll=float(np.clip(rng.normal(0, 8), -MAX_ROLL, MAX_ROLL)),
        turn=_between(rng, 0.1, 0.7),
    )


def draw_expression(rng: np.random.Generator) -> dict[str, float]:
    """Coefficients of ``deformation.movements``."""
    moves: dict[str, float] = {"blink": float(np.clip(rng.normal(0.02, 0.18), -0.3, 0.6))}
    if rng.random() < 0.08:
        moves["blink"] = 1.0
    mood = rng.random()
    if mood < 0.38:
        smile, lean = _between(rng, 0.2, 1.1), _between(rng, -0.2, 0.2)
        moves |= {"smile_right": smile + lean, "smile_left": smile - lean, "squint": 0.5 * smile}
        moves["lips_part"] = _between(rng, 0.0, 1.3) * smile
        moves["jaw_open"] = max(0.0, float(rng.normal(0.0, 0.12)))
    elif mood < 0.5:
        moves |= {"corners_down": _between(rng, 0.2, 1.0), "brows_frown": _between(rng, 0.0, 1.0)}
    elif mood < 0.72:
        moves |= {"jaw_open": _between(rng, 0.05, 0.9), "brows_up": _between(rng, -0.2, 1.0)}
        moves["lips_part"] = _between(rng, 0.0, 0.8)
    elif mood < 0.8:
        moves["pucker"] = _between(rng, 0.3, 1.0)
    else:
        moves["lips_part"] = max(0.0, float(rng.normal(0.0, 0.3)))
    moves["brows_up"] = moves.get("brows_up", 0.0) + float(rng.normal(0, 0.25))
    moves["brows_frown"] = moves.get("brows_frown", 0.0) + max(0.0, float(rng.normal(0, 0.3)))
    moves["jaw_side"] = float(rng.normal(0, 0.35))
    return moves


def _direction(azimuth: float, elevation: float) -> FloatArray:
    a, e = np.radians((azimuth, elevation))
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], dtype=np.float32)


def draw_light(rng: np.random.Generator) -> Light:
    """From flat studio light to a single hard lamp at the side."""
    warmth = rng.normal(0, 1)
    warm = np.array([1 + 0.08 * warmth, 1.0, 1 - 0.1 * warmth], dtype=np.float32)
    hard = _between(rng, 0.0, 1.0)
    if rng.random() < 0.06:
        warm = warm * np.asarray(rng.uniform(0.35, 1.2, 3), dtype=np.float32)
    strength = _between(rng, 0.55, 1.15) * (0.6 + 0.7 * hard)
    ambient = (0.62 - 0.45 * hard) * _between(rng, 0.6, 1.2)
    cool = 2.0 - warm
    rim = _between(rng, 0.3, 1.1) if rng.random() < 0.3 else 0.0
    return Light(
        direction=_direction(float(np.clip(rng.normal(0, 38), -85, 85)), _between(rng, -12, 62)),
        key=warm * np.float32(strength),
        sky=cool * np.float32(ambient),
        ground=warm * np.float32(ambient * _between(rng, 0.25, 0.9)),
        rim_direction=_direction(float(rng.choice([-1, 1])) * _between(rng, 100, 140), _between(rng, 0, 40)),
        rim=np.asarray(rng.uniform(0.6, 1.0, 3), dtype=np.float32) * np.float32(rim),
        softness=_between(rng, 0.04, 0.2),
    )


def draw_camera(rng: np.random.Generator) -> Camera:
    moving = rng.random() < 0.12
    return Camera(
        exposure=float(np.exp(rng.normal(0.05, 0.2))),
        contrast=_between(rng, 0.85, 1.25),
        saturation=0.0 if rng.random() < 0.05 else _between(rng, 0.6, 1.25),
        tint=np.asarray(rng.normal(1.0, 0.05, 3), dtype=np.float32),
        blur=_between(rng, 0.25, 0.7) if rng.random() < 0.8 else _between(rng, 0.7, 1.5),
        motion=(float(rng.normal(0, 1.6)), float(rng.normal(0, 1.0))) if moving else (0.0, 0.0),
        noise=float(rng.exponential(0.008)),
        quality=_between(rng, 0.0, 1.0),
        shrink=_between(rng, 0.4, 0.8) if rng.random() < 0.15 else 1.0,
    )


def draw_capture(rng: np.random.Generator, wild: bool) -> Capture:
    """A picture; in the wild the head is small and anywhere in the scene."""
    pose = draw_pose(rng)
    saturated = rng.random() < 0.4
    cloth = rng.uniform(10, 240, 3) if saturated else np.full(3, rng.uniform(15, 235)) + rng.normal(0, 14, 3)
    kinds: tuple[OccluderKind, ...] = ("hand", "microphone", "bar", "card", "blob")
    share = (0.3, 0.27, 0.15, 0.13, 0.15)
    scale = _between(rng, 0.33, 0.405)
    centre = (0.5 + float(rng.normal(0, 0.025)), 0.555 + float(rng.normal(0, 0.025)))
    if wild:
        scale, centre = _between(rng, 0.1, 0.24), (_between(rng, 0.15, 0.85), _between(rng, 0.2, 0.7))
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
        hair_mess=_between(rng, 0.4, 1.6),
        cloth=linear(np.clip(cloth, 4, 250).astype(np.float32)),
        cloth_pattern=int(rng.integers(6)),
        collar=_between(rng, -0.3, 1.0),
        breadth=_between(rng, 1.5, 2.1),
        occluder=kinds[int(rng.choice(5, p=share))] if rng.random() < 0.2 else None,
        background_seed=int(rng.integers(1 << 31)),
        occluder_seed=int(rng.integers(1 << 31)),
        parts_seed=int(rng.integers(1 << 31)),
    )
