"""Hands: a palm, four fingers and a thumb that bend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.synthetic_bodies.skeleton import cross, unit
from datasets.synthetic_bodies.tubes import Mesh, grid_mesh, joined, swept

# Shapes of a hand: how far index, middle, ring and little finger and thumb are bent (0 straight, 1 closed), and how
# far the fingers are spread.
SHAPES: dict[str, tuple[float, float, float, float, float, float]] = {
    "flat": (0.05, 0.05, 0.05, 0.08, 0.3, 0.1),
    "spread": (0.05, 0.05, 0.05, 0.05, 0.0, 1.0),
    "relaxed": (0.25, 0.3, 0.36, 0.42, 0.35, 0.3),
    "fist": (0.95, 1.0, 1.0, 1.0, 0.9, 0.0),
    "point": (0.05, 1.0, 1.0, 1.0, 0.9, 0.0),
    "vee": (0.05, 0.05, 1.0, 1.0, 0.9, 0.9),
    "claw": (0.5, 0.5, 0.5, 0.5, 0.3, 0.8),
    "ring": (0.62, 0.15, 0.1, 0.08, 0.6, 0.5),
    "horn": (0.05, 1.0, 1.0, 0.05, 0.9, 0.4),
    "thumb": (1.0, 1.0, 1.0, 1.0, 0.0, 0.0),
}

# Fingers from the index to the little one: offset towards the thumb, where they start, length, radius (decimetres).
_FINGERS = (
    (0.3, 0.93, 0.74, 0.095),
    (0.1, 0.97, 0.82, 0.097),
    (-0.1, 0.94, 0.76, 0.092),
    (-0.29, 0.86, 0.6, 0.08),
)
_BONES = np.array([0.0, 0.46, 0.76, 1.0])  # joints of a finger as shares of its length
_CLOSED = np.radians([80.0, 95.0, 60.0])
_PALM_ALONG = (-0.16, 0.0, 0.12, 0.35, 0.65, 0.88, 0.99, 1.02)
_PALM_WIDE = (0.24, 0.26, 0.3, 0.38, 0.41, 0.41, 0.36, 0.04)
_PALM_THICK = (0.17, 0.18, 0.18, 0.18, 0.15, 0.13, 0.1, 0.02)
PALM, FINGER = 0.0, 1.0  # what a spot of a hand belongs to: the third coordinate of its place


@dataclass(frozen=True, eq=False)
class HandPose:
    """Bending of five fingers and their spread, as in ``SHAPES``, and the wrist's.

    Attributes:
        shape: (6,). flexion: radians by which the hand is bent towards its palm. aside: radians towards the thumb.
    """

    shape: FloatArray
    flexion: float = 0.0
    aside: float = 0.0


# The template's fingers are apart, so that neighbours differ in their coordinates.
REST = HandPose(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))


def _tube(path: FloatArray, palm: FloatArray, radius: FloatArray, angles: FloatArray) -> FloatArray:
    """A round tube along a path (R, 3) in the frame of the hand, where its ring starts on the side ``palm``."""
    ahead = unit(np.gradient(path, axis=0))
    first = unit(palm - ahead * (ahead @ palm)[:, None])
    wide = np.broadcast_to(radius[:, None, None], (len(path), len(angles), 2))
    return swept(path, first, cross(ahead, first), wide, angles)


def _rounded(joints: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    """A finger's axis from its joints (4, 3): points and radii; the tip is round."""
    at = np.array([-0.1, 0.0, 0.25, 0.42, 0.5, 0.7, 0.8, 0.92, 0.97, 1.0])
    path = np.stack([np.interp(at, _BONES, joints[:, i]) for i in range(3)], -1)
    path[0] = joints[0] - 0.1 * (joints[1] - joints[0])
    return path, radius * np.interp(at, (0.0, 0.6, 0.9, 0.97, 1.0), (1.0, 0.95, 0.82, 0.55, 0.05))


def _finger(number: int, bend: float, spread: float) -> tuple[FloatArray, FloatArray]:
    aside, start, length, radius = _FINGERS[number]
    fan = (0.02 + 0.2 * spread) * aside / 0.3
    angle = np.cumsum(bend * _CLOSED)
    along, down = np.cumsum(np.diff(_BONES) * np.cos(angle)), np.cumsum(np.diff(_BONES) * np.sin(angle))
    joints = np.zeros((4, 3))
    joints[:, 0], joints[:, 1] = start, aside
    joints[1:, 0] += length * along * np.cos(fan)
    joints[1:, 1] += length * along * np.sin(fan)
    joints[1:, 2] += length * down
    return _rounded(joints, radius)


def _thumb(bend: float, spread: float) -> tuple[FloatArray, FloatArray]:
    out = np.radians(48.0 + 18.0 * spread - 42.0 * bend)
    inwards = np.radians(25.0 + 40.0 * bend)
    first = np.array(
        [np.cos(out), np.sin(out) * np.cos(inwards), np.sin(out) * np.sin(inwards) + 0.25 * bend]
    )
    second = np.array([np.cos(0.5 * out), np.sin(0.5 * out) - 0.9 * bend, 0.35 * bend])
    joints = np.zeros((4, 3))
    joints[0] = (0.12, 0.22, 0.06)
    joints[1] = joints[0] + 0.42 * unit(first)
    joints[2] = joints[1] + 0.3 * unit(0.6 * first + 0.4 * second)
    joints[3] = joints[2] + 0.26 * unit(second)
    return _rounded(joints, 0.115)


def _grids(pose: HandPose) -> list[FloatArray]:
    """Palm, fingers and thumb (R, C, 3) in the frame of the hand: along, towards the thumb, out of the palm."""
    angles = np.linspace(0, 2 * np.pi, 13)
    at = np.asarray(_PALM_ALONG)
    centres = np.stack([at, np.zeros_like(at), np.zeros_like(at)], -1)
    wide = np.broadcast_to(np.stack([_PALM_THICK, _PALM_WIDE], -1)[:, None], (len(at), 13, 2))
    out = np.broadcast_to([0.0, 0.0, 1.0], centres.shape)
    thumbwards = np.broadcast_to([0.0, -1.0, 0.0], centres.shape)
    grids = [swept(centres, out, thumbwards, wide, angles)]
    few = np.linspace(0, 2 * np.pi, 8)
    palm = np.array([0.0, 0.0, 1.0])
    bends, spread = pose.shape[:4], float(pose.shape[5])
    fingers = [_finger(i, float(bend), spread) for i, bend in enumerate(bends)]
    for path, radius in [*fingers, _thumb(float(pose.shape[4]), spread)]:
        grids.append(_tube(path, palm, radius, few))
    return grids


@cache
def _rest_grids() -> list[FloatArray]:
    return _grids(REST)


def _placed(grids: list[FloatArray], frame: FloatArray, wrist: FloatArray, size: float) -> list[FloatArray]:
    return [wrist + size * grid @ frame for grid in grids]


def hand_mesh(
    frame: FloatArray, wrist: FloatArray, pose: HandPose, size: float, rest: tuple[FloatArray, FloatArray]
) -> Mesh:
    """A hand.

    Its place is (along, towards the thumb, ``PALM`` or ``FINGER``).

    Args:
        frame: (3, 3) rows as of ``arms.wrist_frame``. wrist: (3,).
        rest: Frame and wrist of the template.
    """
    mirrored = float(np.linalg.det(frame)) < 0
    ahead, thumb, palm = frame
    ahead, thumb = (
        np.cos(pose.aside) * ahead + np.sin(pose.aside) * thumb,
        np.cos(pose.aside) * thumb - np.sin(pose.aside) * ahead,
    )
    ahead, palm = (
        np.cos(pose.flexion) * ahead + np.sin(pose.flexion) * palm,
        np.cos(pose.flexion) * palm - np.sin(pose.flexion) * ahead,
    )
    bent, straight = _grids(pose), _rest_grids()
    posed = _placed(bent, np.stack([ahead, thumb, palm]), wrist, size)
    surface = _placed(straight, rest[0], rest[1], 1.0)
    meshes = []
    for number, (grid, flat, still) in enumerate(zip(posed, surface, straight, strict=True)):
        kind = np.full_like(still[..., :1], PALM if number == 0 else FINGER)
        place = np.concatenate([still[..., :2], kind], -1)
        # The rings of a mirrored hand run the other way.
        step = -1 if mirrored else 1
        meshes.append(grid_mesh(grid[:, ::step], flat[:, ::step], place[:, ::step]))
    return joined(meshes)
