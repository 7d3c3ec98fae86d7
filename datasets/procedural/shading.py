"""From albedo, normals and light to linear colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasets.procedural.arrays import Array, FloatArray
from datasets.procedural.backend import Backend, of_picture
from datasets.procedural.light import Light

_CELLS = 80  # on a side of the depth map that shadows are looked up in
_NOTHING = -1e3  # its depth where nothing casts a shadow


def _light_axes(direction: FloatArray) -> FloatArray:
    up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    first = np.cross(up, direction)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first), direction]).astype(np.float32)


def shadow(
    casters: Array,
    caster_picture: Array,
    receivers: Array,
    picture: Array,
    lights: Sequence[Light],
    continued: Sequence[bool],
    on: Backend,
) -> Array:
    """(F,) share of the key light that reaches the receivers (F, 3), given points on what casts shadows (V, 3).

    A coarse depth map seen from the light; its blur is the softness of the shadow's edge.

    Args:
        caster_picture, picture: (V,) and (F,), numbers of the pictures of casters and receivers, ascending.
        lights: One a picture.
        continued: One a picture, see ``frame.Frame.casters_continue``.
    """
    xp, count = on.xp, len(lights)
    axes = on.array(np.stack([_light_axes(light.direction) for light in lights]))
    seen, mine = on.mapped(casters, axes, caster_picture), on.mapped(receivers, axes, picture)
    low, high = on.bounds(seen[:, :2], caster_picture, count)
    per_cell = (_CELLS - 1) / xp.clip(high - low, 1e-6, None)
    cell = (seen[:, :2] - of_picture(low, caster_picture)) * of_picture(per_cell, caster_picture)
    cell = on.cast(cell, "int64") + caster_picture[:, None] * on.array(np.array([0, _CELLS]))
    depth = on.greatest(seen[:, 2], cell[:, 1] * _CELLS + cell[:, 0], count * _CELLS * _CELLS, _NOTHING)

    first_row, scale = picture * _CELLS, of_picture(per_cell, picture)
    x, y, z = (mine[:, i] for i in range(3))

    def looked_up(shift: FloatArray) -> tuple[Array, Array, Array]:
        """Columns, rows and depths of the receivers, after a shift (B, 2) across the light."""
        by = of_picture(on.array(shift.astype(np.float32)) - low, picture)
        column, row = (x + by[:, 0]) * scale[:, 0], (y + by[:, 1]) * scale[:, 1]
        across, down = (on.cast(xp.clip(at, 0, _CELLS - 1), "int32") for at in (column, row))
        return column, row, depth[(first_row + down) * _CELLS + across]

    spread = 0.35 * np.array([[light.softness] for light in lights])
    blocked = xp.zeros_like(z)
    for way in ((-1, -1), (1, -1), (-1, 1), (1, 1), (0, 0)):
        column, row, nearest = looked_up(spread * way)
        blocked += xp.clip((nearest - z - 0.1) * (1 / 0.06), 0.0, 1.0)
    lit = 1.0 - blocked / 5.0
    if all(continued):
        return lit
    # The last shift was none. Beyond the map there is nothing that could be in the way.
    beyond = (xp.minimum(column, row) < -0.5) | (xp.maximum(column, row) > _CELLS - 0.5)
    return xp.where(beyond & ~of_picture(on.array(np.array(continued)), picture), 1.0, lit)


def unit_length(vectors: Array, on: Backend) -> Array:
    """(F, 3) vectors scaled to length 1."""
    length = on.xp.sqrt(on.xp.einsum("nd,nd->n", vectors, vectors)) + 1e-12
    return vectors / length[:, None]


def shade(
    albedo: Array,
    normals: Array,
    *,
    gloss: Array,
    cavity: Array,
    lit: Array,
    translucent: Array,
    picture: Array,
    lights: Sequence[Light],
    on: Backend,
) -> Array:
    """(F, 3) linear colour; the viewer looks along -z.

    Args:
        normals: (F, 3), unit.
        translucent: (F,) 1 where light bleeds through the skin and reddens the terminator, else 0.
        picture: (F,), number of a fragment's picture, ascending.
        lights: One a picture.
    """
    xp = on.xp

    def of_light(values: Sequence[FloatArray]) -> Array:
        return of_picture(on.array(np.stack(values)), picture)

    key, sky_colour = of_light([light.key for light in lights]), of_light([light.sky for light in lights])
    ground_colour = of_light([light.ground for light in lights])
    directions = np.stack([light.direction for light in lights])
    facing = on.mapped(normals, on.array(directions), picture)
    open_air = (0.6 + 0.4 * cavity) * lit
    frontal = 0.18 * xp.clip(normals[:, 2], 0, 1)
    sky = (0.5 - 0.5 * normals[:, 1] + frontal) * cavity
    ground = (0.5 + 0.5 * normals[:, 1] + frontal) * cavity
    colour = xp.empty_like(albedo)
    for channel, bleeding in enumerate((0.32, 0.14, 0.1)):
        wrap = bleeding * translucent
        diffuse = xp.clip((facing + wrap) / (1.0 + wrap), 0.0, 1.0)
        received = (
            sky_colour[:, channel] * sky
            + ground_colour[:, channel] * ground
            + key[:, channel] * diffuse * open_air
        )
        colour[:, channel] = albedo[:, channel] * received
    half = np.stack([_halfway(direction) for direction in directions])
    gleam = xp.clip(on.mapped(normals, on.array(half), picture), 0, 1)
    gleam = gleam * gleam
    gleam = gleam * gleam * gleam
    gleam = gleam * gleam * gleam * gleam * (gloss * lit * 0.55)
    colour += gleam[:, None] * key
    if any(light.rim.any() for light in lights):
        behind = on.array(np.stack([light.rim_direction for light in lights]))
        edge = xp.clip(on.mapped(normals, behind, picture), 0, 1)
        colour += albedo * (edge * xp.sqrt(edge))[:, None] * of_light([light.rim for light in lights])
    return colour


def _halfway(direction: FloatArray) -> FloatArray:
    """Unit vector between a direction and the viewer's."""
    half = direction + np.array([0, 0, 1], dtype=np.float32)
    half /= np.linalg.norm(half) + 1e-6
    return half
