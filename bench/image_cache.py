"""Decoded splits on disk: every image decoded and resized once, then mapped into memory.

The files of an entry of the cache folder::

    images.raw          (N, 3, S, S) uint8, as it lies in memory
    annotation.npz      points, visible, sizes; masks (N, S, S), where there are any; compressed
    identities.json
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import __version__
from bench.cache_folder import IMAGES, CacheFolder, Entry
from bench.decoding import DECODING_VERSION, Decoded, annotation_of, without_images
from bench.landmarks import LandmarkDataset
from bench.progress import Progress

_LAYOUT = 3  # of an entry; those of another layout are not found, and make room in time
_IMAGES, _ANNOTATION, _IDENTITIES = "images.raw", "annotation.npz", "identities.json"
_LIBRARIES = (
    "torch",
    "torchvision",
    "pillow",
)  # they decode and resize: a version may move a pixel by a level

Decode = Callable[[], Generator[Decoded, None, None]]


@dataclass(frozen=True)
class ImageCache:
    """Decoded splits below one folder, the least recently used of which make room for new ones.

    Attributes:
        limit: Bytes that the entries may take together.
    """

    folder: Path
    limit: int

    @classmethod
    def from_environment(cls) -> ImageCache | None:
        """Below ``$BENCH_CACHE``, limited by ``$BENCH_CACHE_LIMIT`` (40GB unless set; 0: nothing is kept).

        Raises:
            BenchError: where the limit is not a number of bytes.
        """
        return cls(IMAGES.place, IMAGES.limit) if IMAGES.limit else None

    def open(self, dataset: LandmarkDataset, side: int, decode: Decode, progress: Progress) -> Decoded | None:
        """The decoded split, mapped from disk; decodes and keeps it where it is missing or damaged.

        Two processes that ask at once decode once: the second waits for the first. Images are a private mapping:
        writing to them changes memory, never the file.

        Args:
            side: What ``decode`` resizes to.
            decode: Gives the split from its files, in order.

        Returns:
            None where it cannot be kept, which ``progress`` is told: above the limit, no space, no permission.

        Raises:
            BenchError: where an image cannot be read, or the disk fills up meanwhile.
        """
        return CacheFolder(IMAGES, self.folder, self.limit).open(
            _DecodedSplit(dataset, side, decode), progress
        )


class _DecodedSplit(Entry[Decoded]):
    def __init__(self, dataset: LandmarkDataset, side: int, decode: Decode) -> None:
        self.what = f"{dataset.name} {dataset.split}"
        self.dataset, self.side, self.decode = dataset, side, decode

    def job(self) -> dict[str, Any]:
        """Not with the data set's name, since folders may move."""
        return {
            "split": self.dataset.split,
            "fingerprint": self.dataset.fingerprint,
            "ids": hashlib.sha256(json.dumps(self.dataset.ids).encode()).hexdigest(),
            "count": len(self.dataset),
            "landmarks": len(self.dataset.schema.names),
            "side": self.side,
            "versions": {"bench": __version__, "decoding": DECODING_VERSION, "layout": _LAYOUT}
            | {library: version(library) for library in _LIBRARIES},
        }

    def size(self) -> int:
        return len(self.dataset) * 3 * self.side**2

    def write(self, folder: Path) -> None:
        rest: list[Decoded] = []
        # Written, not mapped: a full disk is then an error, and not the end of the process.
        with contextlib.closing(self.decode()) as parts, (folder / _IMAGES).open("wb") as stream:
            for part in parts:
                stream.write(part.images.contiguous().numpy().data)
                rest.append(without_images(part))
        points, visible, sizes, identities, masks = annotation_of(rest)
        arrays = {"points": points.numpy(), "visible": visible.numpy(), "sizes": sizes.numpy()}
        if masks is not None:
            arrays["masks"] = masks.numpy()
        np.savez_compressed(folder / _ANNOTATION, **arrays)  # type: ignore[arg-type]
        (folder / _IDENTITIES).write_text(json.dumps(identities), encoding="utf-8")

    def read(self, folder: Path) -> Decoded:
        images = torch.from_file(
            str(folder / _IMAGES), shared=False, size=self.size(), dtype=torch.uint8
        ).view(len(self.dataset), 3, self.side, self.side)
        with np.load(folder / _ANNOTATION, allow_pickle=False) as arrays:
            points, visible, sizes = (
                torch.from_numpy(arrays[name]) for name in ("points", "visible", "sizes")
            )
            masks = torch.from_numpy(arrays["masks"]) if "masks" in arrays else None
        identities = tuple(json.loads((folder / _IDENTITIES).read_text(encoding="utf-8")))
        return Decoded(images, points, visible, sizes, identities, masks)
