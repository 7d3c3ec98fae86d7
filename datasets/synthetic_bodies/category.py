"""The category ``synthetic-bodies``: clips of people who sign, framed as in BBC Pose or standing anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from bench.seeds import Purpose, numpy_generator
from datasets.procedural.category import Category, Piece, Shot, Subject, Take
from datasets.procedural.framing import framed
from datasets.synthetic_bodies import studio
from datasets.synthetic_bodies.motion import Moment, Signing
from datasets.synthetic_bodies.person import JOINTS, person
from datasets.synthetic_bodies.signer import NAME, Signer, draw_outfit, draw_signer

FRAMES = 16  # consecutive pictures that make up a clip
CLIPS = 2  # consecutive clips of one signer, in different clothes and places
INTERVAL = 0.16  # seconds between consecutive frames

_CROWN = np.array([[0.0, -3.8, 0.0]], dtype=np.float32)  # the top of the hair stays in the picture


class SyntheticBodies(Category):
    """Upper bodies with the seven joints of BBC Pose, in its order.

    Pictures come in clips of ``FRAMES`` consecutive frames; the individual is the signer. Every split has signers of
    its own.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Procedural signers"
    kind: ClassVar[str] = "person, upper body"
    summary: ClassVar[str] = "procedural 3D sign-language signers in clips, 7 upper-body joints"
    version: ClassVar[int] = 1
    landmark_names: ClassVar[tuple[str, ...]] = JOINTS
    flip_indices: ClassVar[tuple[int, ...]] = (0, 2, 1, 4, 3, 6, 5)
    normaliser: ClassVar[tuple[tuple[int, ...], tuple[int, ...]] | None] = ((5,), (6,))
    normaliser_name: ClassVar[str] = "shoulders"
    pools: ClassVar[dict[str, str]] = {"pretrain": "pretrain", "train": "train", "test": "test"}

    def individual(self, split: str, index: int) -> int:
        """The signer of picture ``index``."""
        del split
        return index // (FRAMES * CLIPS)

    def shot(self, take: Take) -> Shot:
        """Stage one frame of a clip; everything that changes within a clip changes smoothly."""
        signer, frame = draw_signer(take), take.index % FRAMES
        outfit = draw_outfit(_clip(take, "outfit"), signer)
        moment = _moment(_clip(take, "motion"), signer, frame)
        stage = _clip(take, "stage")
        subject = person(signer, outfit, moment, legs=take.wild, stride=float(stage.random()))
        scale, centre = float(stage.uniform(0.104, 0.128)), stage.normal((0.5, 0.47), (0.025, 0.012))
        others: list[Piece] = []
        if take.wild:
            scale, centre = float(stage.uniform(0.032, 0.06)), stage.uniform((0.1, 0.15), (0.9, 0.75))
            others = _bystanders(take, frame)
        kept = np.concatenate([subject.landmarks, _CROWN])
        scale, where = framed(kept, scale, (float(centre[0]), float(centre[1])))
        captioned = stage.random() < 0.12
        return Shot(
            subject=subject,
            light=studio.draw_studio_light(_clip(take, "light")),
            camera=studio.draw_broadcast_camera(_clip(take, "camera")),
            scale=scale,
            centre=where,
            girth=2.0,
            background=studio.draw_backdrop(_clip(take, "backdrop"), frame / (FRAMES - 1)),
            others=others,
            foreground=studio.draw_caption(_clip(take, "caption")) if captioned else None,
        )


def _clip(take: Take, *purpose: Purpose) -> np.random.Generator:
    """Draws what is the same in all frames of a clip."""
    return numpy_generator(take.seed, NAME, *purpose, "clip", take.split, take.index // FRAMES)


def _moment(rng: np.random.Generator, signer: Signer, frame: int) -> Moment:
    signing = Signing(rng, signer.leading, signer.lively, FRAMES * INTERVAL)
    return signing.at(frame * INTERVAL)


def _bystanders(take: Take, frame: int) -> list[Piece]:
    """Up to two people who stand behind and gesture."""
    rng = _clip(take, "bystanders")
    pieces: list[Piece] = []
    for number in range(int(rng.choice(3, p=(0.55, 0.3, 0.15)))):
        other = draw_signer(
            replace(take, pool=f"{take.pool}-bystanders", individual=int(rng.integers(1 << 31)))
        )
        outfit = draw_outfit(_clip(take, "bystanders", number, "outfit"), other)
        moment = _moment(_clip(take, "bystanders", number, "motion"), other, frame)
        figure: Subject = person(other, outfit, moment, legs=True, stride=float(rng.random()))
        aside = float(rng.choice((-1, 1))) * float(rng.uniform(5.0, 13.0))
        offset = (aside, float(rng.uniform(-2.5, 1.0)), -12.0 - 8.0 * number)
        pieces += [piece.moved(float(rng.uniform(0.75, 0.95)), offset) for piece in figure.pieces]
    return pieces
