"""What a rendered split of faces depends on."""

from __future__ import annotations

from typing import Literal

from datasets.procedural.job import Picture, RenderJob
from datasets.synthetic_faces.renderer import RENDERER_VERSION, render_sample

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

    def render(self, index: int) -> Picture:
        person = self.person(index)
        result = render_sample(self.seed, self.split, index, self.pool, person, self.size, self.wild)
        return Picture(result.image, result.points, result.visible, result.mask, result.box, person)
