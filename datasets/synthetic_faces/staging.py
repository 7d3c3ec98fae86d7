"""A person in a capture, posed and framed: what the shared renderer draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.background import paint_background
from datasets.procedural.category import Cover
from datasets.procedural.frame import Frame
from datasets.procedural.glass import Pane
from datasets.procedural.occluders import draw_occluder
from datasets.procedural.scene import join
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.model import Model, build_model
from datasets.synthetic_faces.parts import Material
from datasets.synthetic_faces.pieces import pieces
from datasets.synthetic_faces.scene import Capture


@dataclass(frozen=True, eq=False)
class Staged:
    """Ready to be drawn.

    Shapes:
        points: (68, 2), pixels.
    """

    model: Model
    points: FloatArray
    frame: Frame

    def part_is(self, *materials: Material) -> BoolArray:
        """Which parts are made of one of the materials."""
        return np.array([part.material in materials for part in self.model.parts])


def stage(identity: Identity, capture: Capture, size: int) -> Staged:
    model = build_model(identity, capture)
    points, offset = _placed(model.landmarks @ capture.pose.matrix().T, capture, size)
    unit = capture.scale * size
    frame = Frame(
        scene=join(pieces(model, identity, capture), len(model.parts)),
        size=size,
        unit=unit,
        offset=offset,
        light=capture.light,
        camera=capture.camera,
        backdrop=partial(paint_background, capture.background_seed),
        cover=_occluder(identity, capture, points, unit),
        casters_continue=True,  # the body below the breast does
        panes=_lenses(model, capture),
    )
    return Staged(model, points, frame)


def _placed(landmarks: FloatArray, capture: Capture, size: int) -> tuple[FloatArray, FloatArray]:
    """Landmarks in pixels, and where the origin of the head's frame goes; all landmarks end up in the picture."""
    points = landmarks[:, :2] * np.float32(capture.scale * size)
    low, high = points.min(0), points.max(0)
    offset = np.asarray(capture.centre) * size - (low + high) / 2
    margin = 0.02 * size
    offset = np.clip(offset, margin - low, np.maximum(size - margin - high, margin - low)).astype(np.float32)
    return (points + offset).astype(np.float32), offset


def _occluder(identity: Identity, capture: Capture, points: FloatArray, unit: float) -> Cover | None:
    """What is between the camera and the face, if anything."""
    if capture.occluder is None:
        return None
    light, middle = capture.light, points.mean(0)
    return partial(
        draw_occluder,
        capture.occluder,
        capture.occluder_seed,
        face=(float(middle[0]), float(middle[1])),
        unit=unit,
        light=light.direction,
        brightness=0.6 * light.key + 0.5 * (light.sky + light.ground),
        skin=identity.skin,
    )


def _lenses(model: Model, capture: Capture) -> list[Pane]:
    """The lenses of the glasses."""
    turn = capture.pose.matrix().T
    veil = (capture.light.key + capture.light.sky) * np.float32(0.35)
    dark = model.dark_lenses
    return [
        Pane(
            outline=(np.concatenate([rim.mean(0, keepdims=True), rim]) @ turn).astype(np.float32),
            veil=veil,
            keep=0.1 if dark else 0.9,
            glare=0.35 if dark else 0.3,
            opaque=dark,
        )
        for rim in model.lenses
    ]
