"""What a rendered split of faces depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from datasets.procedural.backend import HOST, Backend
from datasets.procedural.job import Picture, RenderJob
from datasets.synthetic_faces.renderer import RENDERER_VERSION, render_samples

Split = Literal["pretrain", "train", "test"]

_BLOCK, _PEOPLE = 100, 10  # each hundred pictures show ten people in turn


class Job(RenderJob):
    """One split to render; equal jobs give equal pictures."""

    split: Split
    version: int = RENDERER_VERSION

    @property
    def name(self) -> str:
        return "synthetic-faces"

    @property
    def pool(self) -> str:
        """People of the test split appear nowhere else."""
        return "test" if self.split == "test" else "learn"

    @property
    def landmark_count(self) -> int:
        return 68

    def person(self, index: int) -> int:
        """Which person of the pool picture ``index`` shows; consecutive pictures show different people."""
        return index // _BLOCK * _PEOPLE + index % _PEOPLE

    def render_batch(self, indices: Sequence[int], on: Backend = HOST) -> list[Picture]:
        people = [self.person(index) for index in indices]
        results = render_samples(self.seed, self.split, indices, self.pool, people, self.size, self.wild, on)
        pairs = zip(results, people, strict=True)
        return [Picture(r.image, r.points, r.visible, r.mask, r.box, person) for r, person in pairs]
