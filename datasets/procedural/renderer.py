"""From shots to pictures with exact annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasets.procedural.annotation import figure_box, hidden_landmarks
from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.backend import HOST, Backend
from datasets.procedural.category import Shot
from datasets.procedural.drawing import View, draw
from datasets.procedural.frame import Frame, frame
from datasets.procedural.samples import SUPERSAMPLING, share_per_pixel

ENGINE_VERSION = 2


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


def render(shot: Shot, size: int, grain: np.random.Generator, on: Backend = HOST) -> Rendering:
    """Render a shot; see ``render_batch``."""
    return render_batch([shot], size, [grain], on)[0]


def render_batch(
    shots: Sequence[Shot], size: int, grains: Sequence[np.random.Generator], on: Backend = HOST
) -> list[Rendering]:
    """Render shots of one category. A picture does not depend on the others of its batch.

    Args:
        grains: One a shot; draws the sensor's noise.
        on: Where the pictures are computed, see ``backend.backend``. Between backends, rounding moves a few pixels;
            the annotation is the same but for pixels on the edge of a mask.
    """
    frames = [frame(shot, size) for shot in shots]
    views = draw(frames, grains, on)
    return [_annotated(*parts) for parts in zip(shots, frames, views, strict=True)]


def _annotated(shot: Shot, frame: Frame, view: View) -> Rendering:
    size, scene = frame.size, frame.scene
    points = np.ascontiguousarray(frame.on_screen(shot.subject.landmarks)[:, :2])
    hidden = hidden_landmarks(scene, shot.subject)
    inside = ((points >= 0) & (points < size)).all(-1)
    column, row = np.clip(points.astype(np.int64), 0, size - 1).T
    shown = share_per_pixel(view.sample, scene.figures[view.piece], size * SUPERSAMPLING)
    return Rendering(
        image=view.image,
        points=points,
        visible=inside & ~hidden & ~frame.covered[row, column],
        mask=(shown >= 0.5) & ~frame.covered,
        box=figure_box(shot, frame, points),
    )
