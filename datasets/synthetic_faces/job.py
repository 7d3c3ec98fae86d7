"""What a rendered split depends on, and the arrays it becomes."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from datasets.synthetic_faces.renderer import RENDERER_VERSION

Split = Literal["pretrain", "train", "test"]

_BLOCK, _PEOPLE = 100, 10  # each hundred pictures show ten people in turn


class Job(BaseModel):
    """One split to render; equal jobs give equal pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    count: int
    size: int
    seed: int
    wild: bool
    version: int = RENDERER_VERSION

    @property
    def pool(self) -> str:
        """People of the test split appear nowhere else."""
        return "test" if self.split == "test" else "learn"

    def person(self, index: int) -> int:
        """Which person of the pool picture ``index`` shows; consecutive pictures show different people."""
        return index // _BLOCK * _PEOPLE + index % _PEOPLE

    @property
    def key(self) -> str:
        """Name of the cache folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        return f"v{self.version}-{self.split}-{digest}"

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of each array; masks are packed, eight pixels a byte."""
        n, s = self.count, self.size
        return {
            "images": ((n, s, s, 3), np.uint8),
            "points": ((n, 68, 2), np.float32),
            "visible": ((n, 68), np.bool_),
            "masks": ((n, (s * s + 7) // 8), np.uint8),
            "boxes": ((n, 4), np.float32),
            "identities": ((n,), np.int32),
        }


ARRAYS: tuple[str, ...] = ("images", "points", "visible", "masks", "boxes", "identities")
