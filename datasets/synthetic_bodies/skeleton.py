"""Proportions of an upper body and where its joints go.

Frame of the body: x to the image's right, y down, z towards the viewer; the origin lies midway between the shoulder
joints, the unit is a decimetre. "right" and "left" are the person's own; the right side is at the image's left and
comes first, wherever there are two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray

SIDES = (-1.0, 1.0)  # sign of x on the right and on the left side


@dataclass(frozen=True)
class Build:
    """Proportions; the defaults are the template's.

    Attributes:
        shoulder: Half the distance between the shoulder joints. upper_arm, forearm: lengths between joints.
        hand, girth, breadth, depth, waist, hips: Factors of the template's size.
        bust: How far the chest stands out. head: factor of the head's size. neck: how far the head is raised.
    """

    shoulder: float = 1.72
    upper_arm: float = 2.85
    forearm: float = 2.5
    hand: float = 1.0
    girth: float = 1.0
    breadth: float = 1.0
    depth: float = 1.0
    waist: float = 1.0
    hips: float = 1.0
    bust: float = 0.0
    head: float = 1.0
    neck: float = 0.0


@dataclass(frozen=True, eq=False)
class Arm:
    """Joints of one arm.

    Shapes:
        shoulder, elbow, wrist: (3,). hinge: (3,), unit, the elbow's axis: right-handed from upper arm to forearm.

    Attributes:
        side: -1 for the right, 1 for the left arm. turn: rotation of the wrist about the forearm in radians;
            positive turns the palm towards the inner side of the elbow.
    """

    side: float
    shoulder: FloatArray
    elbow: FloatArray
    wrist: FloatArray
    hinge: FloatArray
    turn: float


def unit(vector: FloatArray) -> FloatArray:
    """Vectors along the last axis scaled to length 1."""
    return np.asarray(vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9))


def cross(p: FloatArray, q: FloatArray) -> FloatArray:
    """Cross products along the last axis; several times faster than NumPy's for few vectors."""
    (a, b, c), (d, e, f) = np.moveaxis(p, -1, 0), np.moveaxis(q, -1, 0)
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)


def about(axis: FloatArray, vector: FloatArray, angle: FloatArray) -> FloatArray:
    """(N, 3) vectors perpendicular to unit axes (N, 3), turned about them by (N,) radians."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    return np.asarray(cos * vector + sin * cross(axis, vector))


def shoulder_joint(build: Build, side: float, raised: float) -> FloatArray:
    """The joint of a shoulder that is raised by a share (0 to 1) of what it can be."""
    return np.array([side * (build.shoulder - 0.15 * raised), 0.05 - 0.35 * raised, 0.1 * raised])


def bent_arm(build: Build, side: float, target: FloatArray, swivel: float, turn: float) -> Arm:
    """The arm whose wrist is at ``target``, or as near as the arm reaches.

    Args:
        swivel: Where the elbow is on its circle about the line from shoulder to wrist: 0 hangs down and a little
            outwards, positive radians lift it outwards.
    """
    rest = shoulder_joint(build, side, 0.0)
    raised = float(np.clip((1.0 - target[1] + rest[1]) / 4.0, 0.0, 1.0))
    shoulder = shoulder_joint(build, side, raised)
    upper, fore = build.upper_arm, build.forearm
    away = target - shoulder
    ahead = unit(away)
    reach = float(np.clip(np.linalg.norm(away), abs(upper - fore) + 0.9, 0.995 * (upper + fore)))
    along = (upper**2 + reach**2 - fore**2) / (2 * upper * reach)
    pole = np.array([0.25 * side, 1.0, -0.35])
    down = unit(pole - ahead * float(pole @ ahead))
    # Seen along the arm, lifting outwards is clockwise on one side and counter-clockwise on the other.
    outwards = cross(ahead, down) * -side
    across = np.cos(swivel) * down + np.sin(swivel) * outwards
    elbow = shoulder + upper * (along * ahead + np.sqrt(max(1.0 - along**2, 0.0)) * across)
    wrist = shoulder + reach * ahead
    return Arm(side, shoulder, elbow, wrist, unit(cross(across, ahead)), turn)


def rest_arm(build: Build, side: float) -> Arm:
    """The arm of the template: stretched out sideways, palm down."""
    out = np.array([side, 0.0, 0.0])
    shoulder = shoulder_joint(build, side, 0.0)
    elbow = shoulder + build.upper_arm * out
    return Arm(side, shoulder, elbow, elbow + build.forearm * out, np.array([0.0, -side, 0.0]), 0.0)
