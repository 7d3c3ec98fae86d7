"""Data sets given as a list of image files with their annotation: what all published sets have in common."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample
from datasets.digests import file_digests
from datasets.images import read_rgb


@dataclass(frozen=True, eq=False)
class Entry:
    """One image of a list and its annotation.

    Convention: pixels of the STORED image, (x, y), corner origin.

    Attributes:
        id: Stable, unique in the split; usually the relative path.
        points: (K, 2), float64; anything where ``visible`` is false.
        visible: (K,), bool.
        box: (x0, y0, x1, y1) of the object.
        mask: File of the foreground mask.
    """

    id: str
    file: Path
    points: np.ndarray
    visible: np.ndarray
    identity: str | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Path | None = None


@dataclass(frozen=True, eq=False)
class Cut:
    """What of a stored image becomes the sample.

    Shapes:
        image: (3, H, W), uint8.  points: (K, 2), pixels of ``image``, corner origin.  visible: (K,), bool.
        box: (4,), pixels of ``image``.  mask: (H, W), bool.  labels: (H, W), uint8.
    """

    image: Tensor
    points: Tensor
    visible: Tensor
    box: Tensor | None = None
    mask: Tensor | None = None
    labels: Tensor | None = None


class ListedDataset(LandmarkDataset):
    """A split that is a sequence of entries. A file that is missing is told when its sample is asked for.

    Args:
        recipe: What ``cut`` does (rows, zoom, ...), JSON-able: it is part of the fingerprint.

    Raises:
        BenchError: where two entries have one id, or an entry's shapes do not fit the schema.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        info: DatasetInfo,
        schema: LandmarkSchema,
        entries: Sequence[Entry],
        recipe: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.name, self.split, self.info, self.schema = name, split, info, schema
        self.entries = tuple(entries)
        self.recipe = dict(recipe)
        self._ids = tuple(entry.id for entry in self.entries)
        self._check()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        cut = self.cut(entry, read_rgb(entry.file))
        return Sample(
            id=entry.id,
            image=cut.image,
            points=torch.where(cut.visible[:, None], cut.points, 0.0).float(),
            visible=cut.visible,
            identity=entry.identity,
            mask=cut.mask,
            box=None if cut.box is None else cut.box.float(),
            labels=cut.labels,
        )

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        """The stored image and its annotation, unchanged; a data set that crops overrides this."""
        return Cut(
            image=image,
            points=torch.from_numpy(np.array(entry.points, dtype=np.float64)),
            visible=torch.from_numpy(np.array(entry.visible, dtype=np.bool_)),
            box=None if entry.box is None else torch.tensor(entry.box, dtype=torch.float64),
            mask=None if entry.mask is None else self.load_mask(entry.mask),
        )

    def load_mask(self, path: Path) -> Tensor:
        """(H, W), bool: where the mask's image is not black in any channel."""
        return read_rgb(path).amax(dim=0) > 0

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids

    @cached_property
    def _digest(self) -> str:
        content = {
            "ids": self.ids,
            "identities": [entry.identity for entry in self.entries],
            "boxes": [entry.box for entry in self.entries],
            "names": self.schema.names,
            "normaliser": self.schema.normaliser,
            "flip_indices": self.schema.flip_indices,
            "recipe": self.recipe,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for entry in self.entries:
            seen = np.asarray(entry.visible, dtype=np.bool_)
            digest.update(np.where(seen[:, None], entry.points, 0.0).astype("<f8").tobytes())
            digest.update(seen.tobytes())
        masks = [entry.mask for entry in self.entries if entry.mask is not None]
        for file_digest in file_digests([*(entry.file for entry in self.entries), *masks]):
            digest.update(bytes.fromhex(file_digest))
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._digest

    def _check(self) -> None:
        if len(set(self._ids)) != len(self._ids):
            twice = Counter(self._ids).most_common(1)[0][0]
            raise BenchError(
                f"{self.name} {self.split!r} lists {twice!r} twice",
                hint="Take the official list again: an image must count once.",
            )
        count = len(self.schema.names)
        for entry in self.entries:
            if entry.points.shape != (count, 2) or entry.visible.shape != (count,):
                raise BenchError(
                    f"{self.name} {self.split!r}: {entry.id} has points {entry.points.shape} and visibility "
                    f"{entry.visible.shape}, expected ({count}, 2) and ({count},)"
                )
