"""Arms: one tube from inside the shoulder to the wrist, bent at the elbow, with or without a sleeve."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from datasets.procedural.arrays import FloatArray
from datasets.synthetic_bodies.skeleton import Arm, Build, about, cross, rest_arm, unit
from datasets.synthetic_bodies.tubes import Mesh, grid_mesh, swept

# Along an arm: -1 the end inside the body, 0 the shoulder joint, 1 the elbow, 2 the wrist.
SHOULDER_END, WRIST = -1.0, 2.0

_ALONG = (-1.0, 0.0, 0.25, 0.6, 0.9, 1.0, 1.25, 1.55, 1.85, 2.0)
_ACROSS = (0.44, 0.47, 0.52, 0.49, 0.43, 0.42, 0.44, 0.36, 0.28, 0.27)  # radius along the elbow's axis
_THICK = (0.44, 0.47, 0.52, 0.47, 0.4, 0.42, 0.44, 0.34, 0.24, 0.21)
_BEND = 0.2  # the share of upper arm and forearm over which the elbow bends
_ANGLES = np.linspace(0, 2 * np.pi, 17)


@cache
def _radii() -> PchipInterpolator:
    """(R,) along -> (R, 2) radii."""
    return PchipInterpolator(_ALONG, np.stack([_ACROSS, _THICK], -1))


def _rings(sleeve: float) -> FloatArray:
    """(R,) where along the arm the rings are; the end of the sleeve is sharp."""
    base = np.concatenate(
        [
            np.linspace(-1, 0, 6),
            np.linspace(0.06, 0.75, 12),
            np.linspace(0.8, 1.2, 9),
            np.linspace(1.26, 2, 13),
        ]
    )
    apart = base[np.abs(base - sleeve) > 0.025]
    return np.sort(np.concatenate([apart, [sleeve - 0.02, sleeve, sleeve + 0.004]]))


def _path(arm: Arm, along: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(R, 3) points of the arm's axis, and its unit direction there."""
    up, fore = arm.elbow - arm.shoulder, arm.wrist - arm.elbow
    upper, lower = np.clip(along, 0, 1)[:, None], np.clip(along - 1, 0, 1)[:, None]
    centres = arm.shoulder + upper * up + lower * fore
    k = np.clip((along - 1 + _BEND) / (2 * _BEND), 0, 1)[:, None]
    ahead = unit((1 - k) * up + k * fore)
    start, end = arm.elbow - _BEND * up, arm.elbow + _BEND * fore
    curve = (1 - k) ** 2 * start + 2 * k * (1 - k) * arm.elbow + k**2 * end
    centres = np.where((k > 0) & (k < 1), curve, centres)
    return centres, ahead


def _tube(arm: Arm, girth: float, along: FloatArray, extra: FloatArray) -> FloatArray:
    """(R, C, 3) vertices; ``extra`` (R, C) is the thickness of the cloth."""
    centres, ahead = _path(arm, along)
    twist = arm.side * arm.turn * np.clip(along - 1, 0, 1)
    first = about(ahead, np.broadcast_to(arm.hinge, ahead.shape), twist)
    radii = girth * _radii()(along)
    cap = np.clip(-along, 0, 1) * np.pi / 2
    centres = centres - ahead * (np.sin(cap) * radii[:, 0])[:, None]
    wide = radii[:, None] + extra[..., None]
    wide = wide * np.maximum(np.cos(cap), 0.02)[:, None, None]
    return swept(centres, first, cross(ahead, first), wide, _ANGLES)


def arm_mesh(arm: Arm, build: Build, sleeve: float, loose: float, folds: float) -> Mesh:
    """An arm.

    Its place is (along, angle, side), see ``SHOULDER_END``.

    Args:
        sleeve: Where the sleeve ends. loose: how far it stands off. folds: phase of its creases.
    """
    along = _rings(sleeve)
    cloth = loose * (along <= sleeve) * (0.7 + 0.3 * np.clip(along, 0, 2))
    crease = 1.0 + 0.3 * np.sin(17 * along[:, None] + 2.2 * np.sin(_ANGLES + folds) + folds)
    extra = cloth[:, None] * crease
    posed = _tube(arm, build.girth, along, extra)
    surface = _tube(rest_arm(Build(), arm.side), 1.0, along, np.zeros_like(extra))
    place = np.stack(np.broadcast_arrays(along[:, None], _ANGLES[None], np.float64(arm.side)), -1)
    return grid_mesh(posed, surface, place)


def wrist_frame(arm: Arm) -> FloatArray:
    """(3, 3) rows: along the forearm, towards the thumb, out of the palm."""
    ahead = unit(arm.wrist - arm.elbow)
    first = about(ahead[None], arm.hinge[None], np.array([arm.side * arm.turn]))[0]
    return np.stack([ahead, -cross(ahead, first), -arm.side * first])
