"""The data set ``synthetic-cats``."""

from __future__ import annotations

from typing import ClassVar

from datasets.procedural.category import Category
from datasets.procedural.provider import ProceduralProvider
from datasets.synthetic_cats.category import Cats


class SyntheticCatsProvider(ProceduralProvider):
    """Opens the splits of ``synthetic-cats``."""

    name: ClassVar[str] = Cats.name
    summary: ClassVar[str] = Cats.summary
    category: ClassVar[type[Category]] = Cats
