"""The data set ``synthetic-birds``."""

from __future__ import annotations

from typing import ClassVar

from datasets.procedural.category import Category
from datasets.procedural.provider import ProceduralProvider
from datasets.synthetic_birds.category import Birds


class SyntheticBirdsProvider(ProceduralProvider):
    """Opens the splits of ``synthetic-birds``."""

    name: ClassVar[str] = Birds.name
    summary: ClassVar[str] = Birds.summary
    category: ClassVar[type[Category]] = Birds
