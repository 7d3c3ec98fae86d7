"""Cats for the shared renderer: who, in which posture, where in which scene."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.background import paint_background
from datasets.procedural.camera import draw_camera
from datasets.procedural.category import Category, Piece, Shot, Take
from datasets.procedural.colour import linear
from datasets.procedural.draws import between
from datasets.procedural.framing import centred, framed
from datasets.procedural.light import Light, draw_light
from datasets.procedural.occluders import OccluderKind, draw_occluder
from datasets.synthetic_cats import layout
from datasets.synthetic_cats.cat import draw_cat
from datasets.synthetic_cats.face import Face
from datasets.synthetic_cats.model import Posture, build_subject

_OCCLUDERS: tuple[OccluderKind, ...] = ("hand", "bar", "card", "blob")
_HAND = linear((206, 158, 130))


class Cats(Category):
    """Heads of cats with the nine points of the CAT set; left and right are those of the image."""

    name: ClassVar[str] = "synthetic-cats"
    title: ClassVar[str] = "Procedural cats"
    kind: ClassVar[str] = "cat face"
    summary: ClassVar[str] = (
        "procedural 3D cats with the 9 points of the CAT set, visibility, masks and identities"
    )
    version: ClassVar[int] = 1
    landmark_names: ClassVar[tuple[str, ...]] = layout.NAMES
    flip_indices: ClassVar[tuple[int, ...]] = layout.MIRROR
    normaliser: ClassVar[tuple[tuple[int, ...], tuple[int, ...]] | None] = ((0,), (1,))
    normaliser_name: ClassVar[str] = "eye centres"

    def shot(self, take: Take) -> Shot:
        cat = draw_cat(take.individual_generator(self.name, "cat"))
        rng = take.picture_generator(self.name, "shot")
        subject = build_subject(cat, draw_posture(rng))
        scale, middle = (
            between(rng, 0.22, 0.285),
            (float(rng.normal(0.5, 0.025)), float(rng.normal(0.46, 0.025))),
        )
        if take.wild:
            scale, middle = between(rng, 0.055, 0.14), (between(rng, 0.2, 0.8), between(rng, 0.15, 0.5))
        scale, centre = framed(subject.landmarks, scale, centred(subject.landmarks, scale, middle))
        light = draw_light(rng)
        others: list[Piece] = []
        if take.wild and rng.random() < 0.25:
            friend = build_subject(draw_cat(rng), draw_posture(rng))
            aside = float(rng.choice((-1.0, 1.0))) * between(rng, 3.6, 5.0)
            others = [piece.moved(between(rng, 0.8, 1.1), (aside, 0.0, -3.0)) for piece in friend.pieces]
        kind = _OCCLUDERS[int(rng.integers(4))] if rng.random() < 0.15 else None
        seed = int(rng.integers(1 << 31))
        return Shot(
            subject=subject,
            light=light,
            camera=draw_camera(rng),
            scale=scale,
            centre=centre,
            background=partial(paint_background, int(rng.integers(1 << 31))),
            others=others,
            foreground=None if kind is None else partial(_occluded, kind, seed, scale, centre, light),
        )


def _occluded(
    kind: OccluderKind, seed: int, scale: float, centre: tuple[float, float], light: Light, size: int
) -> tuple[FloatArray, FloatArray]:
    level = 0.6 * light.key + 0.5 * (light.sky + light.ground)
    at = (centre[0] * size, centre[1] * size)
    # Occluders are made for faces, whose unit is as long as a cat's head is wide.
    return draw_occluder(kind, seed, size, at, 1.5 * scale * size, light.direction, level, _HAND)


def draw_posture(rng: np.random.Generator) -> Posture:
    """Half of the heads are near frontal, the others turn further; now and then a cat yawns or shuts its eyes."""
    yaw = float(np.clip(rng.normal(0, 14) if rng.random() < 0.55 else rng.uniform(-58, 58), -58, 58))
    pitch = float(np.clip(rng.normal(3, 10), -25, 28))
    roll = float(np.clip(rng.normal(0, 9), -32, 32))
    shut = np.clip(rng.normal(0.0, 0.2) + rng.normal(0, 0.04, 2), 0, 0.85)
    mood = rng.random()
    jaw = 0.0
    if mood < 0.08:
        shut = np.array([0.98, 0.98])
    elif mood < 0.13:
        jaw, shut = between(rng, 0.6, 1.1), np.full(2, between(rng, 0.4, 0.95))
    elif mood < 0.22:
        jaw = between(rng, 0.1, 0.6)
    moves = {"jaw_open": jaw, "shut_left": float(shut[0]), "shut_right": float(shut[1])}
    out, back = max(0.0, float(rng.normal(0, 0.35))), float(np.clip(rng.normal(0, 0.3), -0.3, 1.0))
    for ear in ("left", "right"):
        moves[f"ear_{ear}_out"] = float(np.clip(out + rng.normal(0, 0.15), 0, 1.2))
        moves[f"ear_{ear}_back"] = float(back + rng.normal(0, 0.12))
    gaze = (float(np.clip(-0.05 * yaw / 60 + rng.normal(0, 0.025), -0.06, 0.06)), float(rng.normal(0, 0.015)))
    face = Face((float(shut[0]), float(shut[1])), jaw, gaze, between(rng, 0.03, 0.15))
    return Posture(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        body_yaw=float(np.clip(yaw + rng.normal(0, 35), -80, 80)),
        body_roll=float(rng.normal(0, 4)) + 0.25 * roll,
        stance="sitting" if rng.random() < 0.6 else "lying",
        moves=moves,
        face=face,
        seed=int(rng.integers(1 << 31)),
    )
