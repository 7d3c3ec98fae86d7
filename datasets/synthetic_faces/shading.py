"""From albedo, normals and light to linear colour."""

from __future__ import annotations

import numpy as np

from datasets.synthetic_faces.layout import FloatArray
from datasets.synthetic_faces.scene import Light

_SHADOW_CELLS = 80


def _light_axes(direction: FloatArray) -> FloatArray:
    up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    first = np.cross(up, direction)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first), direction]).astype(np.float32)


def shadow(casters: FloatArray, receivers: FloatArray, light: Light) -> FloatArray:
    """(F,) share of the key light that reaches the receivers (F, 3), given points on what casts shadows (V, 3).

    A coarse depth map seen from the light; its blur is the softness of the shadow's edge.
    """
    axes = _light_axes(light.direction)
    seen, mine = casters @ axes.T, receivers @ axes.T
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    per_cell = (_SHADOW_CELLS - 1) / np.maximum(high - low, 1e-6)
    cell = ((seen[:, :2] - low) * per_cell).astype(np.int64)
    depth = np.full(_SHADOW_CELLS * _SHADOW_CELLS, -1e3, dtype=np.float32)
    np.maximum.at(depth, cell[:, 1] * _SHADOW_CELLS + cell[:, 0], seen[:, 2])
    blocked = np.zeros(len(mine), dtype=np.float32)
    spread = light.softness
    for dx, dy in ((-spread, -spread), (spread, -spread), (-spread, spread), (spread, spread), (0.0, 0.0)):
        at = (mine[:, :2] + np.array([dx, dy], dtype=np.float32) * 0.35 - low) * per_cell
        column, row = np.clip(at, 0, _SHADOW_CELLS - 1).astype(np.int64).T
        over = depth[row * _SHADOW_CELLS + column] - mine[:, 2]
        blocked += np.clip((over - 0.1) / 0.06, 0.0, 1.0)
    return np.asarray(1.0 - blocked / 5.0, dtype=np.float32)


def shade(
    albedo: FloatArray,
    gloss: FloatArray,
    normals: FloatArray,
    cavity: FloatArray,
    lit: FloatArray,
    translucent: FloatArray,
    light: Light,
) -> FloatArray:
    """(F, 3) linear colour; the viewer looks along -z.

    Args:
        translucent: (F,) 1 where light bleeds through the skin and reddens the terminator, else 0.
    """
    facing = normals @ light.direction
    wrap = np.array([0.32, 0.14, 0.1], dtype=np.float32) * translucent[:, None]
    diffuse = np.clip((facing[:, None] + wrap) / (1.0 + wrap), 0.0, 1.0)
    sky = (0.5 - 0.5 * normals[:, 1])[:, None]
    ambient = (light.sky * sky + light.ground * (1.0 - sky)) * cavity[:, None]
    fill = np.clip(normals[:, 2], 0, 1)[:, None] * 0.18 * (light.sky + light.ground) * cavity[:, None]
    open_air = (0.6 + 0.4 * cavity) * lit
    colour = albedo * (ambient + fill + light.key * diffuse * open_air[:, None])
    half = light.direction + np.array([0, 0, 1], dtype=np.float32)
    half /= np.linalg.norm(half) + 1e-6
    gleam = np.clip(normals @ half, 0, 1) ** 22 * gloss * lit * 0.55
    edge = np.clip(normals @ light.rim_direction, 0, 1) ** 1.5
    return np.asarray(colour + gleam[:, None] * light.key + albedo * edge[:, None] * light.rim, dtype=np.float32)
