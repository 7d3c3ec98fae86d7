"""Faces as the tests of rendered faces need them: small splits, and a plain head in a plain capture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.progress import Progress
from bench.seeds import numpy_generator
from datasets.procedural.renderer import Rendering
from datasets.synthetic_faces import SyntheticFaces, SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.renderer import render
from datasets.synthetic_faces.scene import Capture, Pose, draw_capture

YTF68 = Path(__file__).resolve().parents[3] / "shared" / "data" / "ytf68" / "val" / "annotations.json"
SIZE = 96


def opened(split: str = "test", **options: object) -> SyntheticFaces:
    provider = SyntheticFacesProvider()
    chosen = SyntheticFacesOptions.model_validate(
        {"size": 64, "test": 6, "train": 6, "pretrain": 6} | options
    )
    dataset = provider.open(split, None, chosen)
    dataset._progress = Progress.silent()
    return dataset


def plain_person() -> Identity:
    """The mean head, bald, beardless and without glasses, so that nothing but the head hides anything."""
    person = draw_identity(0, "learn", 0)
    return replace(
        person, shape=dict.fromkeys(person.shape, 0.0), hair_style="bald", beard="none", glasses=None
    )


def plain_capture(yaw: float = 0.0, pitch: float = 0.0) -> Capture:
    capture = draw_capture(numpy_generator(0, "test", "capture"), wild=False)
    return replace(
        capture, pose=Pose(yaw=yaw, pitch=pitch), expression={}, gaze=(0.0, 0.0), hat=False, occluder=None
    )


def rendered(capture: Capture, person: Identity | None = None) -> Rendering:
    return render(person or plain_person(), capture, SIZE, numpy_generator(0, "test", "grain"))
