"""Decoded splits on disk: every image decoded and resized once, then mapped into memory.

An entry is a folder named by a hash of what its pixels depend on::

    images.raw          (N, 3, S, S) uint8, as it lies in memory
    annotation.npz      points, visible, sizes; masks (N, S, S), where there are any; compressed
    identities.json
    manifest.json       what this is, and a checksum of each of the files above; written last

A folder gets its name when it is whole, so that whoever is killed and when, a reader finds a whole entry or none.
Lock files stay when their entry goes: another process may be waiting for one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from pydantic import ByteSize, TypeAdapter, ValidationError

from bench import __version__
from bench.decoding import DECODING_VERSION, Decoded, annotation_of, without_images
from bench.errors import BenchError
from bench.files import cache_folder, require_writable
from bench.landmarks import LandmarkDataset
from bench.progress import Progress

LIMIT_VARIABLE = "BENCH_CACHE_LIMIT"
DEFAULT_LIMIT = "40GB"

_LAYOUT = 2  # of an entry; those of another layout are not found, and make room in time
_IMAGES, _ANNOTATION, _IDENTITIES, _MANIFEST = (
    "images.raw",
    "annotation.npz",
    "identities.json",
    "manifest.json",
)
_LIBRARIES = (
    "torch",
    "torchvision",
    "pillow",
)  # they decode and resize: a version may move a pixel by a level


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
        text = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
        try:
            limit = int(TypeAdapter(ByteSize).validate_python(text))
        except ValidationError as error:
            raise BenchError(
                f"{LIMIT_VARIABLE} is {text!r}, which is not a number of bytes",
                hint="For example 40GB or 500MB; 0 keeps no decoded images.",
            ) from error
        return cls(cache_folder("images"), limit) if limit else None

    def open(
        self,
        dataset: LandmarkDataset,
        side: int,
        decode: Callable[[], Generator[Decoded, None, None]],
        progress: Progress,
    ) -> Decoded | None:
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
        job = _job(dataset, side)
        key = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:32]
        what = f"{dataset.name} {dataset.split}"
        try:
            require_writable(self.folder)
        except BenchError as error:
            progress.say(f"decoded images of {what} are not kept: {error.message}")
            return None
        with self._only_process(key, what, progress):
            folder = self.folder / key
            if not _intact(folder, job):
                if folder.exists():
                    progress.say(f"decoded images of {what} are damaged ({folder}): decoding them again")
                    shutil.rmtree(folder)
                obstacle = self._make_room(_image_bytes(job), key)
                if obstacle is not None:
                    progress.say(f"decoded images of {what} are not kept: {obstacle}")
                    return None
                self._build(job, folder, decode)
            now = time.time_ns()
            os.utime(folder / _MANIFEST, ns=(now, now))  # its last use
            return _read(folder, job)

    @contextmanager
    def _only_process(self, key: str, what: str, progress: Progress) -> Iterator[None]:
        lock = FileLock(self._lock(key))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say(f"waiting for another process that decodes {what}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock(self, key: str) -> Path:
        return self.folder / f"{key}.lock"

    def _make_room(self, needed: int, key: str) -> str | None:
        """Remove abandoned work, and entries, oldest first, until ``needed`` bytes fit; or says why they cannot."""
        for folder in self.folder.glob(".*.building"):
            owner = folder.name.split(".")[1]
            if owner == key:  # whose lock is ours: who built there was killed
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._remove(folder, owner)
        if needed > self.limit:
            return f"they take {_human(needed)}, and {LIMIT_VARIABLE} is {_human(self.limit)}"
        entries = sorted(_entries(self.folder))
        total, free = sum(size for _, _, size in entries), shutil.disk_usage(self.folder).free
        if free + total <= needed:
            return f"they take {_human(needed)}, and the disk of {self.folder} has {_human(free)} left"
        for _, folder, size in entries:
            if total + needed <= self.limit and free > needed:
                break
            if self._remove(folder, folder.name):
                total, free = total - size, free + size
        return None

    def _remove(self, folder: Path, key: str) -> bool:
        """Remove a folder unless a process is busy with its entry; mappings of what is removed stay valid."""
        with contextlib.suppress(Timeout), FileLock(self._lock(key), timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    def _build(
        self, job: dict[str, Any], folder: Path, decode: Callable[[], Generator[Decoded, None, None]]
    ) -> None:
        building = self.folder / f".{folder.name}.{secrets.token_hex(4)}.building"
        rest: list[Decoded] = []
        try:
            building.mkdir()
            # Written, not mapped: a full disk is then an error, and not the end of the process.
            with contextlib.closing(decode()) as parts, (building / _IMAGES).open("wb") as stream:
                for part in parts:
                    stream.write(part.images.contiguous().numpy().data)
                    rest.append(without_images(part))
            points, visible, sizes, identities, masks = annotation_of(rest)
            arrays = {"points": points.numpy(), "visible": visible.numpy(), "sizes": sizes.numpy()}
            if masks is not None:
                arrays["masks"] = masks.numpy()
            np.savez_compressed(building / _ANNOTATION, **arrays)  # type: ignore[arg-type]
            (building / _IDENTITIES).write_text(json.dumps(identities), encoding="utf-8")
            manifest = {"job": job, "checksums": _checksums(building)}
            (building / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            building.rename(folder)
        except OSError as error:
            raise BenchError(
                f"cannot write decoded images below {self.folder}: {error.strerror or error}",
                hint=f"Check free space, point BENCH_CACHE elsewhere, or set {LIMIT_VARIABLE}=0 to keep none.",
            ) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _job(dataset: LandmarkDataset, side: int) -> dict[str, Any]:
    """Everything that the decoded split depends on; not the data set's name, since folders may move."""
    return {
        "split": dataset.split,
        "fingerprint": dataset.fingerprint,
        "ids": hashlib.sha256(json.dumps(dataset.ids).encode()).hexdigest(),
        "count": len(dataset),
        "landmarks": len(dataset.schema.names),
        "side": side,
        "versions": {"bench": __version__, "decoding": DECODING_VERSION, "layout": _LAYOUT}
        | {library: version(library) for library in _LIBRARIES},
    }


def _image_bytes(job: dict[str, Any]) -> int:
    return int(job["count"] * 3 * job["side"] ** 2)


def _checksums(folder: Path) -> dict[str, int]:
    sums = {}
    for name in (_IMAGES, _ANNOTATION, _IDENTITIES):
        value = 0
        with (folder / name).open("rb") as stream:
            while block := stream.read(1 << 22):
                value = zlib.crc32(block, value)
        sums[name] = value
    return sums


def _intact(folder: Path, job: dict[str, Any]) -> bool:
    """Whether this very split lies there, byte for byte as it was written."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest == {"job": job, "checksums": _checksums(folder)})
    except (OSError, ValueError):
        return False


def _read(folder: Path, job: dict[str, Any]) -> Decoded:
    images = torch.from_file(
        str(folder / _IMAGES), shared=False, size=_image_bytes(job), dtype=torch.uint8
    ).view(job["count"], 3, job["side"], job["side"])
    with np.load(folder / _ANNOTATION, allow_pickle=False) as arrays:
        points, visible, sizes = (torch.from_numpy(arrays[name]) for name in ("points", "visible", "sizes"))
        masks = torch.from_numpy(arrays["masks"]) if "masks" in arrays else None
    identities = tuple(json.loads((folder / _IDENTITIES).read_text(encoding="utf-8")))
    return Decoded(images, points, visible, sizes, identities, masks)


def _entries(folder: Path) -> Iterator[tuple[float, Path, int]]:
    """(time of last use, folder, bytes) of every whole entry."""
    for manifest in folder.glob("[!.]*/" + _MANIFEST):
        with contextlib.suppress(OSError):  # another process may be removing it
            size = sum(file.stat().st_size for file in manifest.parent.iterdir())
            yield manifest.stat().st_mtime, manifest.parent, size


def _human(size: int) -> str:
    return ByteSize(size).human_readable(decimal=True, separator=" ")
