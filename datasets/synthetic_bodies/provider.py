"""The data set ``synthetic-bodies``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from datasets.procedural.category import Category
from datasets.procedural.provider import ProceduralProvider
from datasets.synthetic_bodies.category import SyntheticBodies


class SyntheticBodiesProvider(ProceduralProvider):
    """Opens the splits of ``synthetic-bodies``; signers of different splits are different people."""

    name: ClassVar[str] = SyntheticBodies.name
    summary: ClassVar[str] = SyntheticBodies.summary
    category: ClassVar[type[Category]] = SyntheticBodies

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """All signers that are not tested on."""
        del location, options
        return ("pretrain", "train")
