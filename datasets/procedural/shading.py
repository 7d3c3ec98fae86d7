"""From albedo, normals and light to linear colour."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.light import Light

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
    down = np.ascontiguousarray(mine.T)
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    per_cell = (_SHADOW_CELLS - 1) / np.maximum(high - low, 1e-6)
    cell = ((seen[:, :2] - low) * per_cell).astype(np.int64)
    depth = np.full(_SHADOW_CELLS * _SHADOW_CELLS, -1e3, dtype=np.float32)
    np.maximum.at(depth, cell[:, 1] * _SHADOW_CELLS + cell[:, 0], seen[:, 2])
    blocked = np.zeros(len(mine), dtype=np.float32)
    spread = light.softness
    for dx, dy in ((-spread, -spread), (spread, -spread), (-spread, spread), (spread, spread), (0.0, 0.0)):
        column = np.clip((down[0] + (0.35 * dx - low[0])) * per_cell[0], 0, _SHADOW_CELLS - 1).astype(
            np.int32
        )
        row = np.clip((down[1] + (0.35 * dy - low[1])) * per_cell[1], 0, _SHADOW_CELLS - 1).astype(np.int32)
        over = depth[row * _SHADOW_CELLS + column] - down[2]
        blocked += np.clip((over - 0.1) * (1 / 0.06), 0.0, 1.0)
    return np.asarray(1.0 - blocked / 5.0, dtype=np.float32)


def shade(
    albedo: FloatArray,
    normals: FloatArray,
    *,
    gloss: FloatArray,
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
    open_air = (0.6 + 0.4 * cavity) * lit
    sky = (0.5 - 0.5 * normals[:, 1] + 0.18 * np.clip(normals[:, 2], 0, 1)) * cavity
    ground = (0.5 + 0.5 * normals[:, 1] + 0.18 * np.clip(normals[:, 2], 0, 1)) * cavity
    colour = np.empty_like(albedo)
    for channel, bleeding in enumerate((0.32, 0.14, 0.1)):
        wrap = bleeding * translucent
        diffuse = np.clip((facing + wrap) / (1.0 + wrap), 0.0, 1.0)
        received = (
            light.sky[channel] * sky
            + light.ground[channel] * ground
            + light.key[channel] * diffuse * open_air
        )
        colour[:, channel] = albedo[:, channel] * received
    half = light.direction + np.array([0, 0, 1], dtype=np.float32)
    half /= np.linalg.norm(half) + 1e-6
    gleam = np.clip(normals @ half, 0, 1)
    gleam = gleam * gleam
    gleam = gleam * gleam * gleam
    gleam = gleam * gleam * gleam * gleam * (gloss * lit * np.float32(0.55))
    colour += gleam[:, None] * light.key
    if light.rim.any():
        edge = np.clip(normals @ light.rim_direction, 0, 1)
        colour += albedo * (edge * np.sqrt(edge))[:, None] * light.rim
    return np.asarray(colour, dtype=np.float32)
