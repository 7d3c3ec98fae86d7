"""What a rendered split depends on, and the arrays it becomes."""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.backend import HOST, Backend
from datasets.procedural.category import Category, Shot, Take
from datasets.procedural.renderer import ENGINE_VERSION, render_batch

ARRAYS: tuple[str, ...] = ("images", "points", "visible", "masks", "boxes", "identities")


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered sample.

    Shapes:
        image: (S, S, 3). points: (K, 2). visible: (K,). mask: (S, S). box: (4,).

    Attributes:
        individual: Number of the individual within the split's pool.
    """

    image: npt.NDArray[np.uint8]
    points: FloatArray
    visible: BoolArray
    mask: BoolArray
    box: FloatArray
    individual: int


class RenderJob(BaseModel, ABC):
    """One split to render; equal jobs give equal pictures.

    Attributes:
        version: Of the code that renders; another version is another split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str
    count: int
    size: int
    seed: int
    wild: bool
    version: int

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the data set."""

    @property
    @abstractmethod
    def pool(self) -> str:
        """Name of the pool of individuals that the split shows."""

    @property
    @abstractmethod
    def landmark_count(self) -> int: ...

    @abstractmethod
    def render_batch(self, indices: Sequence[int], on: Backend = HOST) -> list[Picture]:
        """Pictures of the split; each depends on the job's fields but ``count``, its index, and nothing else.

        Args:
            on: Where they are computed; between backends, rounding may move a pixel.
        """

    def render(self, index: int) -> Picture:
        """Picture ``index``, as the host renders it."""
        return self.render_batch([index])[0]

    @property
    def key(self) -> str:
        """Name of the cache folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        return f"v{self.version}-{self.split}-{digest}"

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of each array; masks are packed, eight pixels a byte."""
        n, s, k = self.count, self.size, self.landmark_count
        return {
            "images": ((n, s, s, 3), np.uint8),
            "points": ((n, k, 2), np.float32),
            "visible": ((n, k), np.bool_),
            "masks": ((n, (s * s + 7) // 8), np.uint8),
            "boxes": ((n, 4), np.float32),
            "identities": ((n,), np.int32),
        }


class CategoryJob(RenderJob):
    """A split of a category.

    Attributes:
        category: Where its class is, ``module:name``; processes that render import it from there.
        engine: Version of the shared renderer.
    """

    category: str
    engine: int = ENGINE_VERSION

    @cached_property
    def description(self) -> Category:
        return cast(Category, load_class(self.category)())

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def pool(self) -> str:
        return self.description.pools[self.split]

    @property
    def landmark_count(self) -> int:
        return len(self.description.landmark_names)

    def take(self, index: int) -> Take:
        return self.description.take(self.seed, self.split, index, self.wild)

    def shot(self, index: int) -> Shot:
        """Stage picture ``index``."""
        return self.description.shot(self.take(index))

    def render_batch(self, indices: Sequence[int], on: Backend = HOST) -> list[Picture]:
        takes = [self.take(index) for index in indices]
        shots = [self.description.shot(take) for take in takes]
        grains = [take.picture_generator(self.name, "sensor") for take in takes]
        results = zip(takes, render_batch(shots, self.size, grains, on), strict=True)
        return [Picture(r.image, r.points, r.visible, r.mask, r.box, take.individual) for take, r in results]


def class_path(kind: type) -> str:
    """``module:name`` of a class, as ``load_class`` reads it."""
    return f"{kind.__module__}:{kind.__qualname__}"


def load_class(path: str) -> type:
    """The class at ``module:name``."""
    module, _, name = path.partition(":")
    return cast(type, getattr(importlib.import_module(module), name))
