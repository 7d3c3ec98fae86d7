"""What a protocol is given besides the method and the data: seed, device, progress, and memory of finished parts."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.extraction import Extraction
from bench.feature_cache import FeatureCache
from bench.features import FeatureExtractor, FeatureMap
from bench.files import write_atomically
from bench.loading import LoadedSplit
from bench.progress import Progress

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class EvaluationData:
    """The splits that a protocol reads; ``train`` and ``validation`` are None where it asks for none."""

    train: LoadedSplit | None
    test: LoadedSplit
    validation: LoadedSplit | None = None

    def training(self) -> LoadedSplit:
        if self.train is None:
            raise BenchError("this protocol needs an annotated training split, and none was loaded")
        return self.train

    def validating(self) -> LoadedSplit:
        if self.validation is None:
            raise BenchError("these options need an annotated validation split, and none was loaded")
        return self.validation


@dataclass
class RunContext:
    """The surroundings of one run.

    Attributes:
        seed: The root seed; draw from ``bench.seeds`` with a purpose, never from a global generator.
        partial: Folder of finished parts of this very run (named by its identity); None: nothing is kept.
        seconds: Wall time by phase, filled by :meth:`phase`.
        feature_cache: Where the features of whole splits are kept; None: in memory only.
    """

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 64
    progress: Progress = field(default_factory=Progress.silent)
    partial: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    feature_cache: FeatureCache | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def features(
        self,
        extractor: FeatureExtractor,
        images: Tensor,
        what: str = "images",
        size: tuple[int, int] | None = None,
        *,
        keep: bool = False,
    ) -> FeatureMap:
        """Frozen features of (N, 3, S, S) uint8 images, in batches, on the run's device.

        Args:
            size: Of the dense map that is wanted; finer levels are not kept then.
            keep: Read them from disk where they were extracted before, and leave them there: for images that other
                runs ask for too, such as a whole split, and not for what one run draws.
        """
        wanted = Extraction(extractor, images, what, size, self.batch_size, self.device, self.progress)
        with self.phase("features"):
            if keep and self.feature_cache is not None:
                return self.feature_cache.open(wanted)
            return wanted.in_memory()

    def step(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """Compute a part of the run, or read it back where an interrupted run of the same identity finished it.

        Args:
            key: Unique within the run, e.g. ``fewshot/annotations=5/draw=0``.
            compute: Gives named arrays; must depend on nothing but the run's identity.
        """
        result = self.finished(key)
        if result is None:
            result = compute()
            self.finish(key, result)
        return result

    def finished(self, key: str) -> Arrays | None:
        """What :meth:`finish` was given for this part, if it was; a damaged file counts as not finished."""
        return None if self.partial is None else _read(self._part(self.partial, key))

    def finish(self, key: str, result: Arrays) -> None:
        """Keep a part of the run, in case that the run is interrupted."""
        if self.partial is not None:
            buffer = io.BytesIO()
            np.savez(buffer, **result)  # type: ignore[arg-type]
            write_atomically(self._part(self.partial, key), buffer.getvalue())

    @staticmethod
    def _part(folder: Path, key: str) -> Path:
        return folder / (re.sub(r"[^\w=.-]+", "_", key) + ".npz")


def _read(path: Path) -> Arrays | None:
    """The arrays of a finished part; a damaged file counts as not finished."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)
        return None
