"""The category ``synthetic-birds``: the 15 points of CUB-200-2011 on rendered birds of many shapes."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from datasets.procedural.camera import draw_camera
from datasets.procedural.category import Backdrop, Category, Shot, Take
from datasets.procedural.draws import between
from datasets.procedural.framing import centred, framed
from datasets.procedural.light import draw_light
from datasets.synthetic_birds import scenery
from datasets.synthetic_birds.bird import FLIP, LANDMARKS
from datasets.synthetic_birds.individual import draw_individual, subject
from datasets.synthetic_birds.species import Setting
from datasets.synthetic_birds.staging import draw_stage, surroundings


class Birds(Category):
    """Birds of 14 kinds on branches, on the ground, on water and in flight.

    Names, order and sides are those of CUB; left and right are the bird's. One bird is annotated; where there are
    more, the others count as clutter.
    """

    name: ClassVar[str] = "synthetic-birds"
    title: ClassVar[str] = "Procedural birds"
    kind: ClassVar[str] = "bird"
    summary: ClassVar[str] = "procedural 3D birds of many shapes: 15 CUB points, true visibility, masks"
    version: ClassVar[int] = 1
    landmark_names: ClassVar[tuple[str, ...]] = LANDMARKS
    flip_indices: ClassVar[tuple[int, ...]] = FLIP
    normaliser: ClassVar[tuple[tuple[int, ...], tuple[int, ...]] | None] = None
    normaliser_name: ClassVar[str] = ""

    def shot(self, take: Take) -> Shot:
        bird = draw_individual(take.individual_generator(self.name))
        rng = take.picture_generator(self.name, "stage")
        stage = draw_stage(rng, bird)
        light, camera = draw_light(rng), draw_camera(rng)
        background = _background(rng, stage.setting)
        company = (0.42, 0.3, 0.18, 0.1) if take.wild else (0.82, 0.14, 0.04, 0.0)
        companions = int(rng.choice(4, p=company))
        annotated = subject(bird, stage.body, stage.frame, np.zeros(3, dtype=np.float32))
        outline = np.concatenate([piece.vertices for piece in annotated.pieces])
        extent = float(np.ptp(outline[:, :2], axis=0).max())
        share = between(rng, 0.26, 0.55) if take.wild else between(rng, 0.66, 0.93)
        middle = (between(rng, 0.2, 0.8), between(rng, 0.25, 0.75)) if take.wild else (0.5, 0.5)
        wanted = centred(outline, share / extent, middle)
        scale, centre = framed(outline, share / extent, wanted)
        return Shot(
            subject=annotated,
            light=light,
            camera=camera,
            scale=scale,
            centre=centre,
            background=background,
            others=surroundings(rng, stage, companions, bird),
            girth=0.6,
        )


def _background(rng: np.random.Generator, setting: Setting) -> Backdrop:
    seed = int(rng.integers(1 << 31))
    shares = {"flight": (0.3, 0.65, 0.05), "perch": (0.62, 0.22, 0.16)}.get(setting, (0.6, 0.2, 0.2))
    paint = (scenery.foliage, scenery.sky, scenery.clutter)[int(rng.choice(3, p=shares))]
    return partial(paint, seed=seed)
