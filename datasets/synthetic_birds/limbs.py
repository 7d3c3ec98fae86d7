"""What grows out of a bird's trunk: beak, eyes, wings, tail, legs. Frame as in ``body``."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import ramp
from datasets.synthetic_birds.body import Spine
from datasets.synthetic_birds.rings import angles, cross, rod, tube, unit
from datasets.synthetic_birds.species import Shape

BEAK_GRID = (12, 11)
EYE_GRID = (8, 13)
WING_GRID = (26, 17)
TAIL_GRID = (12, 17)
LEG_GRID = (12, 7)
TOE_GRID = (5, 5)
EYE_RADIUS = 0.055

_SHOULDER_ROW, _TAIL_ROW = 25, 40
_Z = np.array([0.0, 0.0, 1.0])


def mandible(line: Spine, shape: Shape, upper: bool, gape: float) -> FloatArray:
    """(12, 11, 3) one half of the beak, from the tip to the base.

    Args:
        gape: Angle of the open beak in radians.
    """
    u = np.linspace(1.0, 0.0, BEAK_GRID[0]) ** 0.8
    length = 0.21 * shape.beak_length * (1.0 if upper else 0.93)
    deep = 0.062 * min(shape.beak_depth, 1.5) * shape.head
    wide = min(0.055 * shape.beak_flat * shape.beak_depth**0.5, 0.075) * shape.head
    root = line.centres[1] + np.array([-0.02, 0.01, 0.0])
    blunt = 0.75 if shape.beak_flat < 1.4 else 0.35
    taper = np.clip(1.0 - u, 0.0, 1.0) ** blunt + 0.04
    sign = -1.0 if upper else 1.0
    x = u * (length + 0.05)
    y = 0.22 * shape.beak_curve * length * u**2 + sign * deep * 0.4 * taper * (1 - 0.3 * u)
    if upper:
        # The culmen bends over the tip.
        y = y + 0.02 * u**4 * shape.beak_depth
    angle = (0.3 if upper else -0.7) * gape
    centres = np.stack(
        [x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle), 0 * x], -1
    )
    up = np.zeros_like(centres)
    up[:, 1] = -deep * (0.75 if upper else 0.55) * taper
    side = np.zeros_like(centres)
    side[:, 2] = wide * taper
    return tube(root + centres, up, side, BEAK_GRID[1])


def eye(socket: FloatArray, outward: FloatArray, size: float) -> FloatArray:
    """(8, 13, 3) the half of an eyeball that shows, from its outermost point to its rim.

    Args:
        socket: (3,) where it sits. outward: (3,), unit.
    """
    polar = np.linspace(0.02, 1.75, EYE_GRID[0])
    forward = unit(cross(outward, np.array((0.0, 1.0, 0.0))))
    # forward x side runs along the tube, that is inwards.
    side = cross(-outward, forward)
    radius = EYE_RADIUS * size
    rim = radius * np.sin(polar)[:, None]
    centres = socket + radius * (np.cos(polar)[:, None] - 0.45) * outward
    return tube(centres, rim * forward, rim * side, EYE_GRID[1])


def wing_place() -> FloatArray:
    """(R * C, 3): along the wing, from its leading to its trailing edge, upper (1) to lower (-1) face."""
    u, around = np.meshgrid(np.linspace(0, 1, WING_GRID[0]), angles(WING_GRID[1]), indexing="ij")
    return np.stack([u, 0.5 + 0.5 * np.cos(around), np.sin(around)], -1).reshape(-1, 3).astype(np.float32)


def folded_wing(line: Spine, shape: Shape, droop: float) -> FloatArray:
    """(26, 17, 3) the right wing at the flank, from the bend at the shoulder to the tips.

    Args:
        droop: How far the tips hang, 0 to 1.
    """
    u, around = np.linspace(0, 1, WING_GRID[0]), angles(WING_GRID[1])
    v = 0.5 + 0.5 * np.cos(around)
    back, up = line.back[_SHOULDER_ROW + 5, :2], line.up[_SHOULDER_ROW + 5, :2]
    shoulder = line.centres[_SHOULDER_ROW, :2] + 0.03 * up * shape.depth
    length = 0.42 + 0.58 * shape.length * shape.span**0.5
    along = -0.1 + length * u
    spots = (0.0, 0.06, 0.2, 0.4, 0.6, 0.8, 1.0)
    low = np.interp(u, spots, (0.02, -0.07, -0.135, -0.15, -0.1, -0.03, 0.03))
    high = np.interp(u, spots, (0.05, 0.1, 0.135, 0.145, 0.13, 0.09, 0.04))
    size = shape.depth * shape.chord**0.5
    height = (low[:, None] + (high - low)[:, None] * v) * size - 0.16 * droop * u[:, None] ** 2
    place = shoulder + along[:, None, None] * back + height[..., None] * up
    reach = line.half_width(place.reshape(-1, 2)).reshape(height.shape)
    # Feathers are stiff: they bridge hollows and leave the trunk behind.
    reach = np.hypot(reach, 0.05)
    reach[1:-1] = (reach[:-2] + 2 * reach[1:-1] + reach[2:]) / 4
    thickness = 0.016 * np.sin(around) * ramp(u, 1.02, 0.7)[:, None] + 0.022 * ramp(u, 0.0, 0.1)[:, None]
    return np.concatenate([place, (reach + thickness)[..., None]], -1)


def open_wing(line: Spine, shape: Shape, stroke: float, bend: float) -> FloatArray:
    """(26, 17, 3) the right wing in flight, from the shoulder to the tip.

    Args:
        stroke: Angle over the horizontal in radians. bend: by how much the hand hangs below the arm.
    """
    u, around = np.linspace(0, 1, WING_GRID[0]), angles(WING_GRID[1])
    v = 0.5 + 0.5 * np.cos(around)
    back, up = line.back[_SHOULDER_ROW + 5], line.up[_SHOULDER_ROW + 5]
    shoulder = line.centres[_SHOULDER_ROW] + 0.08 * up + 0.6 * line.lateral[_SHOULDER_ROW] * _Z
    angle = stroke - bend * ramp(u, 0.25, 0.8)
    outward = np.cos(angle)[:, None] * _Z + np.sin(angle)[:, None] * up
    step = 1.25 * shape.span / (len(u) - 1)
    spar = shoulder + step * np.concatenate(
        [np.zeros((1, 3)), np.cumsum((outward[1:] + outward[:-1]) / 2, 0)]
    )
    spots = (0.0, 0.2, 0.4, 0.6, 0.8, 0.93, 1.0)
    lead = np.interp(u, spots, (0.0, -0.1, -0.17, -0.1, 0.08, 0.24, 0.36)) * shape.chord
    trail = np.interp(u, spots, (0.5, 0.47, 0.42, 0.43, 0.46, 0.47, 0.45)) * shape.chord
    # The tips of the feathers stand apart.
    trail = trail - 0.022 * np.abs(np.sin(u * 9 * np.pi)) * ramp(u, 0.15, 0.5)
    chord = lead[:, None] + (trail - lead)[:, None] * v
    upper = cross(outward, back)
    camber = 0.05 * np.sin(np.pi * np.clip(v, 0, 1)) + 0.016 * np.sin(around)
    lift = camber[None] * ramp(u, 1.1, 0.5)[:, None]
    return np.asarray(spar[:, None] + chord[..., None] * back + lift[..., None] * upper[:, None])


def tail_place() -> FloatArray:
    """(R * C, 3): along the tail, from its left to its right edge (-1 to 1), upper (1) to lower (-1) face."""
    u, around = np.meshgrid(np.linspace(0, 1, TAIL_GRID[0]), angles(TAIL_GRID[1]), indexing="ij")
    return np.stack([u, -np.cos(around), np.sin(around)], -1).reshape(-1, 3).astype(np.float32)


def tail(line: Spine, shape: Shape, cock: float, fan: float) -> FloatArray:
    """(12, 17, 3) the tail from its root to its end.

    Args:
        cock: Angle over the line of the back in radians. fan: 0 shut, 1 spread.
    """
    u, around = np.linspace(0, 1, TAIL_GRID[0]), angles(TAIL_GRID[1])
    across = -np.cos(around)
    back = np.cos(cock) * line.back[_TAIL_ROW] + np.sin(cock) * line.up[_TAIL_ROW]
    up = cross(_Z, back)
    root = line.centres[_TAIL_ROW] - 0.1 * line.back[_TAIL_ROW] + 0.02 * line.up[_TAIL_ROW]
    edge = np.abs(across)
    reach = 0.62 * shape.tail_length * (1.0 + shape.tail_fork * (edge**1.5 - 0.4) - 0.06 * (edge > 0.97))
    spread = (0.055 + 0.05 * u + 0.3 * fan * u) * shape.tail_width
    along = u[:, None] * reach * np.cos(0.8 * fan * across)
    roof = -0.25 * spread[:, None] * across**2 + 0.012 * np.sin(around) * ramp(u, 1.1, 0.6)[:, None]
    lateral = spread[:, None] * across
    return np.asarray(root + along[..., None] * back + roof[..., None] * up + lateral[..., None] * _Z)


def legs(hips: FloatArray, feet: FloatArray, thickness: float) -> FloatArray:
    """(2, 12, 7, 3) thigh and shank from each hip (2, 3) to its foot (2, 3)."""
    t = np.linspace(0, 1, LEG_GRID[0])[:, None]
    down = feet - hips
    # The joint between them points backwards.
    knee = 1.0 - np.abs(t - 0.45) / np.where(t < 0.45, 0.45, 0.55)
    path = hips[:, None] + t * down[:, None]
    path[..., 0] -= 0.22 * np.linalg.norm(down, axis=1)[:, None] * knee[:, 0]
    radii = np.interp(t[:, 0], (0, 0.18, 0.34, 0.45, 1.0), (0.085, 0.064, 0.03, 0.019, 0.018))
    return rod(path, radii * thickness, LEG_GRID[1])


def toes(feet: FloatArray, backward: bool, thickness: float, grip: float) -> FloatArray:
    """(8, 5, 5, 3) of each foot (2, 3) three toes forward and one back.

    Args:
        backward: Feet drawn up in flight. grip: 1 around a twig, 0 on the ground.
    """
    t = np.linspace(0, 1, TOE_GRID[0])
    angle = np.array([-0.5, 0.0, 0.5, np.pi]) + np.pi * backward
    length = np.array([0.13, 0.15, 0.13, 0.1])
    ahead = np.stack([np.cos(angle), np.zeros(4), np.sin(angle)], -1) * length[:, None]
    path = t[:, None] * ahead[:, None]
    path[..., 1] += 0.5 * grip * length[:, None] * t**2
    paths = (feet[:, None, None] + path).reshape(-1, TOE_GRID[0], 3)
    return rod(paths, thickness * np.interp(t, (0, 1), (0.017, 0.009)), TOE_GRID[1])
