"""Meshes of what birds sit on, stand on and hide behind: branches, leaves, grass, ground, water."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.procedural.category import Paint, Piece
from datasets.procedural.colour import linear, mix
from datasets.procedural.mesh import ramp
from datasets.procedural.noise import look_up
from datasets.synthetic_birds.rings import rod, tube_normals, tube_triangles

Painted = tuple[FloatArray, FloatArray]

_BARK = ((96, 80, 66), (122, 108, 94), (70, 56, 46), (142, 132, 120), (104, 72, 50))
_LEAVES = ((76, 112, 44), (110, 140, 56), (54, 88, 48), (148, 150, 66), (170, 110, 50), (92, 70, 46))
_GRASSES = ((112, 144, 62), (140, 152, 76), (96, 132, 66), (176, 164, 104))
_GROUNDS = ((86, 112, 52), (112, 118, 64), (170, 150, 118), (112, 92, 72), (142, 138, 132), (226, 228, 234))
_WATERS = ((66, 86, 98), (88, 104, 96), (52, 70, 92), (112, 122, 126))


def _prop(
    vertices: FloatArray, normals: FloatArray, triangles: IntArray, place: FloatArray, paint: Paint
) -> Piece:
    return Piece(
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        triangles=triangles.astype(np.int32),
        surface=np.full(vertices.shape, np.nan, dtype=np.float32),
        place=place.astype(np.float32),
        paint=paint,
        figure=False,
        casts_shadow=False,
    )


def branch(rng: np.random.Generator, path: FloatArray, radius: float, taper: float = 0.8) -> Piece:
    """A branch along a path (R, 3); it gets thinner towards its end by a factor."""
    steps = len(path)
    radii = radius * np.linspace(1.0, taper, steps) * (1.0 + 0.07 * rng.standard_normal(steps))
    grid = rod(path, radii, 13)
    t, around = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, 13), indexing="ij")
    place = np.stack([t * steps * 0.12, around, np.full_like(t, rng.random())], -1).reshape(-1, 3)
    paint = partial(_bark, colour=_tone(rng, _BARK))
    return _prop(grid.reshape(-1, 3), tube_normals(grid), tube_triangles((steps, 13)), place, paint)


def leaves(rng: np.random.Generator, stems: FloatArray, length: float) -> Piece:
    """Leaves on stems (N, 3), in all directions."""
    count = len(stems)
    ahead = rng.normal(0, 1, (count, 3)) + np.array([0.0, 0.5, 0.3])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    t = np.linspace(0, 1, 6)
    size = length * rng.uniform(0.6, 1.2, (count, 1, 1))
    paths = stems[:, None] + size * t[:, None] * ahead[:, None]
    paths[..., 1] += 0.3 * size[..., 0] * t**2
    across = np.cross(ahead, rng.normal(0, 1, (count, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    width = 0.26 * size * np.sin(np.pi * t**0.8)[:, None]
    return _sheets(rng, paths, across[:, None] * width, _LEAVES, _leaf)


def grass(rng: np.random.Generator, roots: FloatArray, height: float) -> Piece:
    """Blades of grass on roots (N, 3)."""
    count = len(roots)
    t = np.linspace(0, 1, 6)
    tall = height * rng.uniform(0.4, 1.3, (count, 1))
    paths = np.repeat(roots[:, None], len(t), 1)
    paths[..., 1] -= tall * t
    paths[..., 0] += rng.normal(0, 0.35, (count, 1)) * tall * t**2
    width = np.zeros_like(paths)
    width[..., 0] = 0.012 * (1.0 - t) ** 0.6 * rng.uniform(0.7, 1.6, (count, 1))
    return _sheets(rng, paths, width, _GRASSES, _leaf)


def _sheets(
    rng: np.random.Generator,
    paths: FloatArray,
    half_widths: FloatArray,
    palette: tuple[tuple[int, int, int], ...],
    paint: Callable[..., Painted],
) -> Piece:
    """Thin strips along paths (N, R, 3) with half widths (N, R, 3), each turned to face the viewer."""
    count, steps = paths.shape[:2]
    lateral = np.cross(half_widths.mean(1), paths[:, -1] - paths[:, 0])
    half_widths = half_widths * np.where(lateral[:, 2] > 0, 1.0, -1.0)[:, None, None]
    grid = np.stack([paths - half_widths, paths + half_widths], 2)
    normals = lateral * np.where(lateral[:, 2:] > 0, 1.0, -1.0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    strip = np.arange(steps - 1)[:, None] * 2
    corners = np.concatenate([strip + np.array((0, 1, 3)), strip + np.array((0, 3, 2))])
    triangles = (np.arange(count)[:, None, None] * steps * 2 + corners).reshape(-1, 3)
    along = np.broadcast_to(np.linspace(0, 1, steps)[None, :, None], (count, steps, 2))
    across = np.broadcast_to(np.array([-1.0, 1.0]), (count, steps, 2))
    tone = np.broadcast_to(rng.random((count, 1, 1)), (count, steps, 2))
    return _prop(
        grid.reshape(-1, 3),
        np.repeat(normals, steps * 2, axis=0),
        triangles,
        np.stack([along, across, tone], -1).reshape(-1, 3),
        partial(paint, colour=_tone(rng, palette)),
    )


def ground(rng: np.random.Generator, level: float, water: bool) -> Piece:
    """A wide plane at a height, up side visible; seen under the slope of the view it ends in a horizon."""
    reach = float(rng.uniform(3.5, 9.0))
    x, z = np.meshgrid((-14.0, 14.0), (-reach, 9.0))
    corners = np.stack([x, np.full_like(x, level), z], -1).reshape(-1, 3)
    triangles = np.array([(0, 1, 3), (0, 3, 2)])
    up = np.repeat([(0.0, -1.0, 0.0)], 4, 0)
    place = np.stack([x, z, np.full_like(x, rng.random())], -1).reshape(-1, 3)
    colour = _tone(rng, _WATERS if water else _GROUNDS)
    return _prop(corners, up, triangles, place, partial(_water if water else _soil, colour=colour))


def turned(piece: Piece, frame: FloatArray) -> Piece:
    """A prop in the view, by a rotation (3, 3) of columns."""
    return _prop(piece.vertices @ frame.T, piece.normals @ frame.T, piece.triangles, piece.place, piece.paint)


def _tone(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> FloatArray:
    colour = linear(palette[int(rng.integers(len(palette)))])
    return np.asarray(colour * rng.uniform(0.75, 1.25) * rng.normal(1, 0.06, 3), dtype=np.float32)


def _bark(place: FloatArray, colour: FloatArray) -> Painted:
    along, around, seed = place.T
    rough = look_up("strand", around * 0.5 + seed, along * 0.3) + look_up("grain", along * 0.4, around * 0.3)
    lichen = ramp(look_up("cloud", along * 0.2 + seed, around * 0.2), 0.9, 1.5)
    painted = mix(
        colour * (1.0 + 0.2 * rough)[:, None].clip(0.3), linear((150, 158, 130))[None], 0.6 * lichen
    )
    return painted, np.full(len(place), 0.03, dtype=np.float32)


def _leaf(place: FloatArray, colour: FloatArray) -> Painted:
    along, across, tone = place.T
    rib = 1.0 + 0.35 * np.exp(-((across / 0.12) ** 2)) - 0.15 * along
    hue = 0.6 + 0.8 * tone
    painted = colour * (rib * hue)[:, None] * (1.0 + 0.2 * np.outer(tone - 0.5, (1.0, 0.0, -1.0)))
    return painted.astype(np.float32), np.full(len(place), 0.15, dtype=np.float32)


def _soil(place: FloatArray, colour: FloatArray) -> Painted:
    x, z, seed = place.T
    rough = 0.5 * look_up("grain", x * 0.35 + seed, z * 0.35) + 0.5 * look_up(
        "cloud", x * 0.06, z * 0.06 + seed
    )
    tufts = ramp(look_up("curl", x * 0.25 + seed, z * 0.5), 0.5, 1.2)
    painted = colour * (1.0 + 0.28 * rough - 0.25 * tufts)[:, None].clip(0.25)
    return painted.astype(np.float32), np.full(len(place), 0.02, dtype=np.float32)


def _water(place: FloatArray, colour: FloatArray) -> Painted:
    x, z, seed = place.T
    wave = np.sin(z * 9 + 2.5 * look_up("cloud", x * 0.1 + seed, z * 0.25)) + 0.6 * look_up(
        "curl", x * 0.08, z * 0.4
    )
    bright = linear((176, 190, 200))
    painted = mix(
        np.repeat(colour[None], len(x), 0), bright[None], (0.3 * ramp(wave, 0.2, 1.6)).astype(np.float32)
    )
    return painted, np.full(len(place), 0.5, dtype=np.float32)
