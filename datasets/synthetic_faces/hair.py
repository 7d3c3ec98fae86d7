"""Hair and hats: a shell around the head, cut along a hairline."""

from __future__ import annotations

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.mesh import ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_faces.head import AXIS_Z, head_mesh
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.parts import Material, Part, axis_distance, part_from_grid

_FALLS_FROM = -0.25  # below this height long hair hangs instead of following the head


def _shell_grid() -> tuple[IntArray, IntArray]:
    """The rows and columns of the head's grid that a shell uses: fewer where the face is."""
    mesh = head_mesh()
    height, longitude = mesh.height[:: mesh.columns], mesh.longitude[: mesh.columns]
    dense = (height > -0.2) & (height < 1.3)
    rows = np.flatnonzero(~dense | (np.arange(mesh.rows) % 3 == 0))
    columns = np.flatnonzero(
        (np.abs(longitude) > 1.45) | (np.arange(mesh.columns) % 2 == mesh.columns // 2 % 2)
    )
    return rows, columns


def inside_hairline(identity: Identity, longitude: FloatArray, height: FloatArray) -> FloatArray:
    """How far inside the hairline a spot is; negative on bare skin."""
    style, swing = identity.hair_style, identity.hair_swing
    side = np.abs(longitude)
    recede = 0.12 * np.exp(-(((side - 0.6) / 0.22) ** 2))
    line = -0.66 - recede + 0.1 * ramp(side, 0.75, 1.1)
    if style == "fringe":
        slant = swing * 0.13 * longitude
        line = np.where(side < 1.0, -0.34 + 0.14 * identity.hair_length + slant, line)
    elif style == "parted":
        away = longitude * np.sign(swing) + 0.35
        sweep = -0.72 + 0.3 * np.clip(away, 0, 1.2) * (0.4 + 0.6 * identity.hair_length)
        line = np.where(side < 1.15, sweep, line)
    elif style in ("bob", "long") and identity.hair_wave > 0.5:
        away = np.abs(longitude - 0.3 * swing)
        line = np.where(side < 1.15, -0.82 + 0.42 * away, line)
    elif style == "receding":
        line = line - 0.35 * ramp(side, 1.25, 0.5)
    wander = look_up(
        "curl", longitude * 0.2 + identity.texture[0], np.full_like(longitude, identity.texture[1])
    )
    line = line + (0.035 if style in ("fringe", "parted", "curly") else 0.02) * wander
    hangs = style in ("bob", "long")
    # Sideburns in front of the ear; long hair closes in on the cheek.
    cheek = 1.22 - (0.16 * identity.hair_length if hangs else 0.0)
    face_edge = np.interp(
        height,
        (-0.7, -0.35, 0.0, 0.15, 0.6, 1.2),
        (0.8, cheek - 0.05, cheek, cheek + 0.05, cheek + 0.08, cheek),
    )
    end = {
        "bob": 1.0 + 0.5 * identity.hair_length,
        "long": 1.7 + 0.7 * identity.hair_length,
        "tied": 0.5,
        "afro": 0.45,
    }.get(style, 0.5)
    if hangs:
        end_line = np.full_like(side, end)
    else:
        # Short hair ends above the ear and at the nape.
        sideburn = 0.02 + 0.25 * identity.hair_length
        end_line = np.interp(
            side, (1.2, 1.38, 1.42, 1.95, 2.1, 3.2), (sideburn, sideburn, -0.12, -0.12, end, end)
        )
    bare = np.maximum((side - face_edge) * 0.9, line - height)
    return np.asarray(np.minimum(bare, (end_line - height)), dtype=np.float32)


def hair(identity: Identity, skull: FloatArray, normals: FloatArray, *, flat: bool) -> list[Part]:
    """The hair of a person over the (V, 3) vertices of the deformed head; nothing where it is only painted.

    Args:
        flat: Pressed down by a hat.
    """
    style = identity.hair_style
    if style in ("bald", "buzz"):
        return []
    mesh = head_mesh()
    shape = (mesh.rows, mesh.columns)
    rows, columns = _shell_grid()

    def thin(values: FloatArray) -> FloatArray:
        return np.asarray(values.reshape(*shape, -1)[rows][:, columns])

    base, normal = thin(skull), thin(normals)
    longitude, height = thin(mesh.longitude)[..., 0], thin(mesh.height)[..., 0]
    cut = inside_hairline(identity, longitude, height)
    bulk = {
        "short": 0.09,
        "receding": 0.05,
        "parted": 0.13,
        "fringe": 0.12,
        "curly": 0.2,
        "afro": 0.42,
        "tied": 0.06,
    }
    thick = bulk.get(style, 0.13) * identity.hair_body
    depth = 0.015 + thick * ramp(cut, -0.04, 0.3 if style != "fringe" else 0.14)
    if style in ("curly", "afro"):
        depth = depth + 0.05 * identity.hair_body * look_up("curl", longitude * 0.13, height * 0.16) * ramp(
            cut, 0, 0.1
        )
    else:
        depth = depth * (1.0 + 0.15 * look_up("cloud", longitude * 0.3 + identity.texture[0], height * 0.15))
    if flat:
        depth = np.where(height < 0.0, np.minimum(depth, 0.05), depth)
    grid: FloatArray = base + normal * depth[..., None]
    if style == "tied" and identity.hair_length > 0.4:
        knot = np.exp(-((longitude / 0.6) ** 2)) * np.exp(-(((height + 1.15) / 0.12) ** 2))
        grid[..., 1] -= 0.3 * knot
    if style in ("bob", "long"):
        grid = _hang(grid, longitude, height, identity)
    surface = np.stack([cut, height, longitude], -1)
    cavity = np.clip(0.75 + 0.25 * ramp(cut, 0.0, 0.2) - 0.35 * ramp(height, 0.3, 1.5), 0.3, 1.0)
    outside = part_from_grid(Material.HAIR, grid, surface, cavity)
    if style not in ("bob", "long"):
        return [outside]
    # Hair that hangs is seen from within, too: beside the neck.
    return [outside, part_from_grid(Material.HAIR, grid, surface, 0.35 * cavity, flip=True)]


def _hang(grid: FloatArray, longitude: FloatArray, height: FloatArray, identity: Identity) -> FloatArray:
    """Let hair fall straight from where the head is widest, with waves and a taper."""
    distance = axis_distance(grid)
    hanging = height > _FALLS_FROM
    kept = np.where(hanging | (height > _FALLS_FROM - 0.3), distance, 0.0)
    widest = np.maximum.accumulate(kept, axis=0)
    t = np.clip((height - _FALLS_FROM) / 2.2, 0, 1)
    flare = 1.0 + (0.22 * identity.hair_body - 0.12) * np.sin(np.pi * np.clip(t * 1.5, 0, 1)) - 0.1 * t
    wave = (
        0.045
        * identity.hair_wave
        * np.sin(height * 9.0 + 3.0 * np.sin(longitude * 5.0))
        * ramp(height, 0.0, 0.6)
    )
    reach = np.maximum(widest * flare + wave, distance)
    grid = grid.copy()
    blend = ramp(height, _FALLS_FROM - 0.1, _FALLS_FROM + 0.3)
    final = distance + (reach - distance) * blend
    ratio = final / np.maximum(distance, 1e-4)
    grid[..., 0] *= ratio
    grid[..., 2] = AXIS_Z + (grid[..., 2] - AXIS_Z) * ratio
    return grid


def hat(skull: FloatArray, normals: FloatArray, tilt: float, depth: float) -> Part:
    """A knitted cap pulled down to a slanted line."""
    mesh = head_mesh()
    shape = (mesh.rows, mesh.columns)
    rows, columns = _shell_grid()
    base = skull.reshape(*shape, 3)[rows][:, columns]
    normal = normals.reshape(*shape, 3)[rows][:, columns]
    longitude = mesh.longitude.reshape(shape)[rows][:, columns]
    height = mesh.height.reshape(shape)[rows][:, columns]
    line = depth + 0.12 * (1 - np.cos(longitude)) + tilt * np.sin(longitude)
    cut = line - height
    fold = 0.05 * ramp(cut, 0.26, 0.22)
    grid = base + normal * (0.09 + fold + 0.12 * ramp(height, -0.7, -1.3))[..., None]
    return part_from_grid(Material.HAT, grid, np.stack([cut, height, longitude], -1).astype(np.float32))


def bare(
    part: Part, surface: FloatArray, raggedness: float, texture: tuple[float, float]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where (F, 3) interpolated surface coordinates of a shell lie outside its border."""
    if part.material is Material.HAT:
        return np.asarray(surface[:, 0] < 0)
    ragged = look_up("strand", surface[:, 2] * 1.1 + texture[0], surface[:, 1] * 0.25 + texture[1])
    return np.asarray(surface[:, 0] + 0.018 * raggedness * ragged < 0)
