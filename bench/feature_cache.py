"""Frozen features on disk: extracted once for given images and weights, then mapped into memory.

The files of an entry of the cache folder::

    level-0.npy, ...    one for each level: (N, C, h, w), or (N, h, w, C) where it lies so in memory
    map.json            which of the two, and everything else that a feature map says of itself

What is read back lies in memory as what was extracted, so that whatever is computed from it is the same, bit for bit.
An entry's name says which images, weights, network and machine it is of. It cannot say which code: before kept
features are used, those of two images are extracted and compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench import __version__
from bench.cache_folder import FEATURES, CacheFolder, CannotKeepError, Entry
from bench.extraction import Extraction
from bench.features import FeatureExtractor, FeatureMap
from bench.provenance import device_name
from bench.weights import state_sha256

_LAYOUT = 1  # of an entry; those of another layout are not found, and make room in time
_MAP = "map.json"
_PROBED = 2
_SAME_CODE = 1e-3
"""Of a level's largest number: other batch sizes round 1e-6 of it away, other code moves it."""

_HASHED_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """What one network gave for whole splits, kept below one folder.

    Attributes:
        extractor: The network; of another one, such as a copy that is trained, nothing is kept.
        network: What it was built from, as JSON: with its state, all that its features depend on.
    """

    folder: CacheFolder
    extractor: FeatureExtractor
    network: dict[str, Any]

    @classmethod
    def from_environment(cls, extractor: FeatureExtractor, network: dict[str, Any]) -> FeatureCache | None:
        """Below ``$BENCH_CACHE``, limited by ``$BENCH_FEATURE_CACHE_LIMIT`` (20GB unless set; 0: nothing is kept).

        Raises:
            BenchError: where the limit is not a number of bytes.
        """
        folder = CacheFolder.of(FEATURES)
        return cls(folder, extractor, network) if folder.limit else None

    def open(self, extraction: Extraction) -> FeatureMap:
        """The features, mapped from disk; extracts and keeps them where they are missing or damaged.

        Two processes that ask at once extract once: the second waits for the first. Features are a private mapping:
        writing to them changes memory, never the file. Where they cannot be kept, which the extraction's progress
        is told, they are in memory.
        """
        if extraction.extractor is not self.extractor or len(extraction.images) == 0:
            return extraction.in_memory()
        try:
            kept = self.folder.open(_ExtractedFeatures(extraction, self.network), extraction.progress)
        except CannotKeepError as error:
            extraction.progress.say(f"features of {extraction.what} are not kept: {error.message}")
            kept = None
        return extraction.in_memory() if kept is None else kept.to(extraction.device)


class _ExtractedFeatures(Entry[FeatureMap]):
    # Features are large, and a run often reads few of them: their sizes, and a probe. ``bench cache verify`` reads all.
    thorough: ClassVar[bool] = False

    def __init__(self, extraction: Extraction, network: dict[str, Any]) -> None:
        self.what = f"{extraction.what}, {network['method']}"
        self.extraction, self.network = extraction, network

    def job(self) -> dict[str, Any]:
        """By content: which data set, split, preprocessing or view the images come from does not matter."""
        asked = self.extraction
        on_cpu = asked.device.type == "cpu"
        return {
            "images": images_sha256(asked.images),
            "state": state_sha256(asked.extractor),
            "network": self.network,
            "size": asked.size and list(asked.size),
            "half_precision": asked.extractor.half_precision,
            # These move the last bits of a number, and a training on features takes them to the first ones.
            "batch_size": asked.batch_size,
            "device": device_name(asked.device),
            "threads": torch.get_num_threads() if on_cpu else None,
            "versions": {"bench": __version__, "layout": _LAYOUT, "torch": str(torch.__version__)},
        }

    def size(self) -> int:
        one = self.extraction.of(self.extraction.images[:1]).to(dtype=self._dtype)
        return len(self.extraction.images) * sum(level.nbytes for level in one.levels)

    def write(self, folder: Path) -> None:
        # Written, not mapped: a full disk is then an error, and not the end of the process.
        with contextlib.ExitStack() as stack, contextlib.closing(self._batches()) as batches:
            streams: list[IO[bytes]] = []
            for batch in batches:
                arrays = [_as_it_lies(level) for level in batch.levels]
                if not streams:
                    for number, array in enumerate(arrays):
                        streams.append(stack.enter_context((folder / _level(number)).open("wb")))
                        _write_header(streams[-1], (len(self.extraction.images), *array.shape[1:]), array)
                    (folder / _MAP).write_text(json.dumps(_described(batch)), encoding="utf-8")
                for stream, array in zip(streams, arrays, strict=True):
                    stream.write(array.data)

    def _batches(self) -> Generator[FeatureMap, None, None]:
        for batch in self.extraction.batches():
            # Joined with nothing, as batches in memory are with each other: that settles how levels lie.
            yield FeatureMap.cat([batch.to("cpu", self._dtype)])

    @property
    def _dtype(self) -> torch.dtype | None:
        """On disk; None: as extracted. Features that were rounded to halves lose nothing there."""
        return torch.float16 if self.extraction.extractor.half_precision else None

    def read(self, folder: Path) -> FeatureMap:
        said = json.loads((folder / _MAP).read_text(encoding="utf-8"))
        levels = []
        for number, channels_last in enumerate(said["channels_last"]):
            # Copied on write: changes stay in memory.
            level = torch.from_numpy(np.load(folder / _level(number), mmap_mode="c", allow_pickle=False))
            levels.append(level.permute(0, 3, 1, 2) if channels_last else level)
        found = FeatureMap(
            tuple(levels), tuple(said["size"]), tuple(said["image_size"]), said["normalisation"]
        )
        return found.to(dtype=torch.float32) if self.extraction.extractor.half_precision else found

    def flaw(self, content: FeatureMap) -> str | None:
        probe = self.extraction.of(self.extraction.images[:_PROBED]).to("cpu")
        kept = content[:_PROBED]
        same = _described(probe) | {"channels_last": None} == _described(kept) | {"channels_last": None}
        if same and probe.layout == kept.layout and all(map(_agree, probe.levels, kept.levels)):
            return None
        return "are not what this code extracts"


def images_sha256(images: Tensor) -> str:
    """Hash of shape, type and values, wherever and however they lie in memory."""
    digest = hashlib.sha256(f"{images.dtype}|{tuple(images.shape)}|".encode())
    for part in images.split(_HASHED_AT_ONCE):
        digest.update(part.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _level(number: int) -> str:
    return f"level-{number}.npy"


def _lies_channels_last(level: Tensor) -> bool:
    return level.is_contiguous(memory_format=torch.channels_last) and not level.is_contiguous()


def _as_it_lies(level: Tensor) -> np.ndarray[Any, Any]:
    """A contiguous array of the same numbers in the order in which they lie in memory."""
    ordered = level.permute(0, 2, 3, 1) if _lies_channels_last(level) else level
    return ordered.contiguous().numpy()


def _write_header(stream: IO[bytes], shape: tuple[int, ...], like: np.ndarray[Any, Any]) -> None:
    descr = np.lib.format.dtype_to_descr(like.dtype)
    np.lib.format.write_array_header_2_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})


def _described(features: FeatureMap) -> dict[str, Any]:
    return {
        "size": list(features.size),
        "image_size": list(features.image_size),
        "normalisation": features.normalisation,
        "channels_last": [_lies_channels_last(level) for level in features.levels],
    }


def _agree(probe: Tensor, kept: Tensor) -> bool:
    if probe.dtype != kept.dtype:
        return False
    return float((probe - kept).abs().max()) <= _SAME_CODE * float(probe.abs().max())
