"""From a shot to a picture with exact annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasets.procedural.annotation import figure_box, hidden_landmarks
from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.background import dimmed
from datasets.procedural.camera import develop
from datasets.procedural.category import Shot
from datasets.procedural.mesh import unit_length
from datasets.procedural.samples import SUPERSAMPLING, pooled, share_per_pixel
from datasets.procedural.scene import CAVITY, NORMAL, PLACE, POSITION, Scene, join, on_screen
from datasets.procedural.shading import shade, shadow

ENGINE_VERSION = 1


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture and everything that is known about it.

    Shapes:
        image: (S, S, 3), uint8. points: (K, 2), float32, pixels, corner origin. visible: (K,), bool.
        mask: (S, S), bool: what shows of the subject.
        box: (4,), float32, x0, y0, x1, y1 of the subject and its landmarks as if nothing were in front of it,
            within the picture.
    """

    image: npt.NDArray[np.uint8]
    points: FloatArray
    visible: BoolArray
    mask: BoolArray
    box: FloatArray


def render(shot: Shot, size: int, grain: np.random.Generator) -> Rendering:
    """Render a shot.

    Args:
        grain: Draws the sensor's noise.
    """
    side = size * SUPERSAMPLING
    scene = join(shot)
    fragments, _ = scene.rasterised(shot, side)
    piece = scene.piece_of_triangle[fragments.triangle]
    values = fragments.interpolate(scene.attributes, scene.triangles)
    canvas = np.zeros((side * side, 4), dtype=np.float32)
    canvas[fragments.sample, :3], canvas[fragments.sample, 3] = _colours(values, piece, scene, shot), 1.0
    canvas = pooled(canvas.reshape(side, side, 4))

    picture = dimmed(shot.background(size), shot.light)
    picture = picture * (1 - canvas[..., 3:]) + canvas[..., :3]
    cover = np.zeros((size, size), dtype=np.float32)
    if shot.foreground is not None:
        paint, cover = shot.foreground(size)
        picture = picture + (paint - picture) * cover[..., None]

    figure = scene.figures[piece]
    points = np.ascontiguousarray(on_screen(shot.subject.landmarks, shot, size)[:, :2])
    hidden = hidden_landmarks(scene, shot.subject)
    inside = ((points >= 0) & (points < size)).all(-1)
    column, row = np.clip(points.astype(np.int64), 0, size - 1).T
    return Rendering(
        image=develop(picture.astype(np.float32), shot.camera, grain),
        points=points,
        visible=inside & ~hidden & (cover[row, column] < 0.5),
        mask=(share_per_pixel(fragments.sample, figure, side) >= 0.5) & (cover < 0.5),
        box=figure_box(shot, points, size),
    )


def _colours(values: FloatArray, piece_of: IntArray, scene: Scene, shot: Shot) -> FloatArray:
    """(F, 3) linear colour of the fragments."""
    count = len(values)
    albedo, gloss = np.empty((count, 3), dtype=np.float32), np.empty(count, dtype=np.float32)
    translucent = np.zeros(count, dtype=np.float32)
    for i, piece in enumerate(scene.pieces):
        mine = np.flatnonzero(piece_of == i)
        if len(mine):
            albedo[mine], gloss[mine] = piece.paint(values[mine, PLACE])
            translucent[mine] = piece.translucent
    casters = [piece.vertices for piece in scene.pieces if piece.casts_shadow]
    lit = np.ones(count, dtype=np.float32)
    if casters and count:
        per_girth = np.float32(1.0 / shot.girth)
        lit = shadow(np.concatenate(casters) * per_girth, values[:, POSITION] * per_girth, shot.light)
    return shade(
        albedo,
        unit_length(values[:, NORMAL]),
        gloss=gloss,
        cavity=values[:, CAVITY],
        lit=lit,
        translucent=translucent,
        light=shot.light,
    )
