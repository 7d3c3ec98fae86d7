"""What is joined to the head: the sitting or lying body, a collar, whiskers.

Bodies are in the frame of a head that looks straight ahead; seen from outside, the rows of their grids run down and
the columns to the right.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import ramp, unit_length

_ROUND = 17


def limb(
    path: list[tuple[float, float, float]], radii: list[float], steps: int, wide: float = 1.0
) -> FloatArray:
    """(R, C, 3) grid of a tube through points (x, y, z) with rounded ends; rows run along it, columns around it.

    Args:
        radii: One per point, across x; ``wide`` times that along z.
    """
    knots = np.linspace(0.0, 1.0, len(path))
    # Closer rows at both ends, where the tube rounds off.
    t = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, steps))
    centre = np.stack([np.interp(t, knots, column) for column in np.asarray(path).T], -1)
    length = float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())
    radius = np.interp(t, knots, radii)
    for end, r in ((t, radii[0]), (1.0 - t, radii[-1])):
        reach = np.clip(end * length / max(r, 1e-3), 0.0, 1.0)
        radius = radius * np.sqrt(np.clip(1.0 - (1.0 - reach) ** 2, 0.0, None))
    ahead = np.gradient(centre, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    right = unit_length(np.cross(ahead, (0.0, 0.0, 1.0)) + np.array([1e-3, 0.0, 0.0]))
    front = np.cross(right, ahead)
    angle = np.linspace(-np.pi, np.pi, _ROUND)[None, :, None]
    ring = np.sin(angle) * right[:, None] + wide * np.cos(angle) * front[:, None]
    return np.asarray(centre[:, None] + radius[:, None, None] * ring, dtype=np.float32)


@cache
def sitting() -> tuple[FloatArray, ...]:
    """Upright on straight forelegs."""
    limbs = [
        limb(
            [(0, 0.2, -0.5), (0, 1.6, -0.7), (0, 3.2, -1.0), (0, 4.7, -1.4)], [0.9, 1.05, 1.4, 1.5], 22, 1.05
        ),
        limb(
            [(1.5, 4.6, -2.2), (2.3, 4.95, -1.4), (2.2, 4.9, 0.0), (1.4, 4.95, 0.6)],
            [0.22, 0.24, 0.24, 0.2],
            16,
        ),
    ]
    for side in (-1.0, 1.0):
        limbs.append(
            limb(
                [(0.55 * side, 1.9, -0.35), (0.55 * side, 3.2, 0.0), (0.5 * side, 4.75, 0.1)],
                [0.5, 0.4, 0.32],
                14,
            )
        )
        limbs.append(limb([(0.52 * side, 4.85, -0.1), (0.55 * side, 4.9, 0.55)], [0.36, 0.4], 9))
        limbs.append(limb([(1.1 * side, 3.7, -1.0), (1.35 * side, 4.6, -0.3)], [0.75, 0.6], 10))
    return tuple(limbs)


@cache
def lying() -> tuple[FloatArray, ...]:
    """On the belly, forelegs stretched out ahead."""
    limbs = [
        limb(
            [(0, 0.1, -0.5), (0, 1.2, -0.9), (0.3, 1.5, -2.4), (0.9, 1.5, -4.6)],
            [0.85, 1.2, 1.35, 1.2],
            22,
            0.95,
        ),
        limb(
            [(1.2, 1.9, -4.8), (2.6, 2.3, -4.0), (2.7, 2.4, -2.4), (2.2, 2.4, -1.6)],
            [0.22, 0.24, 0.24, 0.2],
            16,
        ),
    ]
    for side in (-1.0, 1.0):
        limbs.append(limb([(0.6 * side, 1.7, -0.8), (0.65 * side, 2.2, 0.7)], [0.42, 0.34], 12))
        limbs.append(limb([(0.8 + 1.1 * side, 1.7, -3.8), (0.9 + 1.2 * side, 2.1, -2.8)], [0.75, 0.6], 10))
    return tuple(limbs)


@cache
def collar() -> FloatArray:
    """A band around the neck."""
    phi, up = np.meshgrid(np.linspace(-np.pi, np.pi, 33), np.linspace(0.0, 1.0, 4), indexing="ij")
    y = 1.12 + 0.2 * up.T + 0.1 * np.cos(phi.T)
    grid = np.stack([1.03 * np.sin(phi.T), y, -0.58 + 1.08 * np.cos(phi.T)], -1)
    return grid.astype(np.float32)


def whiskers(anchors: FloatArray, sides: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(N, P, 3) paths of whiskers in the frame of the head, from anchors (N, 3) on the image's left or right (N,)."""
    t = np.linspace(0.0, 1.0, 9)[:, None]
    length = rng.uniform(0.9, 1.5, (len(anchors), 1, 1))
    out = np.stack([sides, rng.uniform(-0.25, 0.3, len(sides)), rng.uniform(0.05, 0.4, len(sides))], -1)[
        :, None
    ]
    sag = np.array([0.0, 1.0, -0.3]) * rng.uniform(0.05, 0.35, (len(anchors), 1, 1))
    return np.asarray(anchors[:, None] + length * (out * t + sag * t**2), dtype=np.float32)


def ribbon(path: FloatArray, width: float) -> FloatArray:
    """(2, P, 3) grid of a thin strip along a path (P, 3) in the view, turned towards the viewer and tapering."""
    ahead = np.gradient(path, axis=0)[:, :2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-6
    half = 0.5 * width * ramp(np.linspace(0, 1, len(path)), 1.4, 0.2)[:, None]
    across = np.concatenate([-ahead[:, 1:], ahead[:, :1], np.zeros((len(path), 1))], 1) * half
    return np.stack([path - across, path + across]).astype(np.float32)
