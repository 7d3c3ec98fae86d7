"""A category of painted ellipsoids, whose geometry is known in closed form; imported by rendering processes too."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.background import paint_background
from datasets.procedural.camera import draw_camera
from datasets.procedural.category import Category, Piece, Shot, Subject, Take
from datasets.procedural.framing import framed
from datasets.procedural.light import draw_light
from datasets.procedural.mesh import grid_triangles
from datasets.procedural.rotation import rotation

ROWS, COLUMNS = 24, 48
POLES = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=np.float32)


def unit_ball() -> tuple[FloatArray, IntArray]:
    """(ROWS * COLUMNS, 3) vertices and the triangles between them."""
    heights = np.linspace(-np.pi / 2 + 1e-3, np.pi / 2 - 1e-3, ROWS)
    down, around = np.meshgrid(heights, np.linspace(-np.pi, np.pi, COLUMNS), indexing="ij")
    places = (np.cos(down) * np.sin(around), np.sin(down), np.cos(down) * np.cos(around))
    return np.stack(places, -1).reshape(-1, 3).astype(np.float32), grid_triangles(ROWS, COLUMNS)


def paint(place: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.abs(place).astype(np.float32), np.full(len(place), 0.5, dtype=np.float32)


def upper_half(place: FloatArray) -> BoolArray:
    return np.asarray(place[:, 1] < 0)


def wall(size: int) -> tuple[FloatArray, FloatArray]:
    """Hides the left half of a picture."""
    opacity = np.zeros((size, size), dtype=np.float32)
    opacity[:, : size // 2] = 1.0
    return np.zeros((size, size, 3), dtype=np.float32), opacity


def ellipsoid(axes: FloatArray, turn: FloatArray) -> Subject:
    ball, triangles = unit_ball()
    normals = ball / axes
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    piece = Piece(
        vertices=(ball * axes @ turn.T).astype(np.float32),
        normals=(normals @ turn.T).astype(np.float32),
        triangles=triangles,
        surface=ball,
        place=ball,
        paint=paint,
    )
    landmarks = (POLES * axes @ turn.T).astype(np.float32)
    return Subject([piece], landmarks, np.full(len(POLES), 0.05, dtype=np.float32))


class Balls(Category):
    name: ClassVar[str] = "synthetic-balls"
    title: ClassVar[str] = "Procedural balls"
    kind: ClassVar[str] = "ball"
    summary: ClassVar[str] = "ellipsoids"
    version: ClassVar[int] = 1
    landmark_names: ClassVar[tuple[str, ...]] = ("front", "right", "left", "top", "back")
    flip_indices: ClassVar[tuple[int, ...]] = (0, 2, 1, 3, 4)
    normaliser: ClassVar[tuple[tuple[int, ...], tuple[int, ...]] | None] = ((1,), (2,))
    normaliser_name: ClassVar[str] = "diameter"

    def shot(self, take: Take) -> Shot:
        axes = take.individual_generator(self.name, "axes").uniform(0.6, 1.0, 3).astype(np.float32)
        rng = take.picture_generator(self.name, "pose")
        subject = ellipsoid(axes, rotation(rng.uniform(-60, 60), rng.uniform(-20, 20), rng.uniform(-30, 30)))
        scale, centre = framed(subject.landmarks, 0.12 if take.wild else 0.36, (0.5, 0.5))
        smaller = replace(subject.pieces[0], surface=np.full_like(subject.pieces[0].surface, np.nan))
        return Shot(
            subject=subject,
            light=draw_light(rng),
            camera=draw_camera(rng),
            scale=scale,
            centre=centre,
            background=partial(paint_background, int(rng.integers(1 << 31))),
            others=[smaller.moved(0.4, (0.6, 0.2, 1.5))] if take.index % 2 else [],
        )
