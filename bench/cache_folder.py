"""Folders of things that can be computed again, shared by processes: whole or absent, and within a limit.

An entry is a folder named by a hash of all that its content depends on, its *job*. It holds files, and a
``manifest.json`` with the job and with the size and checksum of each file, written last. A folder gets its name when it
is whole, so that whoever is killed and when, a reader finds a whole entry or none. Lock files stay when their entry
goes: another process may be waiting for one.
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
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import ByteSize, TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.files import cache_folder, only_process, require_writable
from bench.progress import Progress

T = TypeVar("T")

_MANIFEST = "manifest.json"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Kind:
    """What a cache holds, how messages speak of it, and the environment variable that limits it."""

    name: str
    content: str
    makes: str
    making: str
    variable: str
    default_limit: str

    @property
    def place(self) -> Path:
        """Below ``$BENCH_CACHE``."""
        return cache_folder(self.name)

    @property
    def limit(self) -> int:
        """Bytes that all entries may take together; 0: nothing is kept.

        Raises:
            BenchError: where the environment says something else than a number of bytes.
        """
        text = os.environ.get(self.variable) or self.default_limit
        try:
            return int(TypeAdapter(ByteSize).validate_python(text))
        except ValidationError as error:
            raise BenchError(
                f"{self.variable} is {text!r}, which is not a number of bytes",
                hint=f"For example {self.default_limit} or 500MB; 0 keeps no {self.content}.",
            ) from error


IMAGES = Kind("images", "decoded images", "decodes", "decoding", "BENCH_CACHE_LIMIT", "40GB")
FEATURES = Kind("features", "features", "extracts", "extracting", "BENCH_FEATURE_CACHE_LIMIT", "20GB")
KINDS = (IMAGES, FEATURES)


class CannotKeepError(BenchError):
    """The disk became full, or may not be written, while an entry was made."""


class Entry(ABC, Generic[T]):
    """One thing to be kept: what it depends on, how it is made, and how it is read.

    Attributes:
        what: For messages and listings, e.g. the name of a split.
        thorough: Whether each reader compares the checksums of all files, or their sizes only.
    """

    what: str
    thorough: ClassVar[bool] = True

    @abstractmethod
    def job(self) -> dict[str, Any]:
        """Everything that the content depends on, as JSON."""

    @abstractmethod
    def size(self) -> int:
        """Bytes that it will take, about; asked only where it is missing."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Make the content and write it as files; an OSError means that they cannot be written."""

    @abstractmethod
    def read(self, folder: Path) -> T: ...

    def flaw(self, content: T) -> str | None:
        """What is wrong with content that lies there as it was written; None: nothing."""
        del content
        return None


@dataclass(frozen=True)
class Stored:
    """An entry as it lies on disk."""

    folder: Path
    what: str
    size: int
    last_use: float


@dataclass(frozen=True)
class CacheFolder:
    """Entries of one kind, the least recently used of which make room for new ones."""

    kind: Kind
    folder: Path
    limit: int

    @classmethod
    def of(cls, kind: Kind) -> CacheFolder:
        """As the environment says.

        Raises:
            BenchError: where the limit is not a number of bytes.
        """
        return cls(kind, kind.place, kind.limit)

    def open(self, entry: Entry[T], progress: Progress) -> T | None:
        """The content of an entry, which is made and kept where it is missing or damaged.

        Two processes that ask at once make it once: the second waits for the first.

        Returns:
            None where it cannot be kept, which ``progress`` is told: above the limit, no space, no permission.

        Raises:
            CannotKeepError: where the disk fills up meanwhile.
        """
        job = entry.job()
        key = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:32]
        try:
            require_writable(self.folder)
        except BenchError as error:
            progress.say(f"{self.kind.content} of {entry.what} are not kept: {error.message}")
            return None

        def waiting() -> None:
            progress.say(f"waiting for another process that {self.kind.makes} {entry.what}")

        with only_process(self._lock(key), waiting):
            folder = self.folder / key
            content = self._found(folder, job, entry, progress)
            if content is None:
                obstacle = self._make_room(entry.size(), key)
                if obstacle is not None:
                    progress.say(f"{self.kind.content} of {entry.what} are not kept: {obstacle}")
                    return None
                self._build(folder, job, entry)
                content = entry.read(folder)
            now = time.time_ns()
            os.utime(folder / _MANIFEST, ns=(now, now))  # its last use
            return content

    def entries(self) -> list[Stored]:
        """Everything that has an entry's name, the least recently used first."""
        found = []
        for folder in self.folder.glob("[!.]*/"):
            with contextlib.suppress(OSError):  # another process may be removing it
                size = sum(file.stat().st_size for file in folder.iterdir())
                manifest = folder / _MANIFEST
                used = (manifest if manifest.exists() else folder).stat().st_mtime
                found.append(Stored(folder, str(_manifest(folder).get("what", "")), size, used))
        return sorted(found, key=lambda stored: stored.last_use)

    def is_whole(self, stored: Stored) -> bool:
        """Whether an entry lies there byte for byte as it was written."""
        return _intact(stored.folder, thorough=True)

    def remove(self, stored: Stored) -> bool:
        """Remove an entry unless a process is making or opening it; mappings of what is removed stay valid."""
        return self._remove(stored.folder, stored.folder.name)

    def _lock(self, key: str) -> Path:
        return self.folder / f"{key}.lock"

    def _found(self, folder: Path, job: dict[str, Any], entry: Entry[T], progress: Progress) -> T | None:
        """The content where it lies there and is right; what is wrong is told and removed."""
        if not folder.exists():
            return None
        flaw: str | None = "are damaged"
        if _manifest(folder).get("job") == job and _intact(folder, thorough=entry.thorough):
            content = entry.read(folder)
            flaw = entry.flaw(content)
            if flaw is None:
                return content
        progress.say(f"{self.kind.content} of {entry.what} {flaw} ({folder}): {self.kind.making} them again")
        shutil.rmtree(folder)
        return None

    def _make_room(self, needed: int, key: str) -> str | None:
        """Remove abandoned work, and entries, oldest first, until ``needed`` bytes fit; or says why they cannot."""
        for folder in self.folder.glob(".*.building"):
            owner = folder.name.split(".")[1]
            if owner == key:  # whose lock is ours: who built there was killed
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._remove(folder, owner)
        if needed > self.limit:
            return f"they take {human(needed)}, and {self.kind.variable} is {human(self.limit)}"
        entries = self.entries()
        total, free = sum(stored.size for stored in entries), shutil.disk_usage(self.folder).free
        if free + total <= needed:
            return f"they take {human(needed)}, and the disk of {self.folder} has {human(free)} left"
        for stored in entries:
            if total + needed <= self.limit and free > needed:
                break
            if self.remove(stored):
                total, free = total - stored.size, free + stored.size
        return None

    def _remove(self, folder: Path, key: str) -> bool:
        with contextlib.suppress(Timeout), FileLock(self._lock(key), timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    def _build(self, folder: Path, job: dict[str, Any], entry: Entry[T]) -> None:
        building = self.folder / f".{folder.name}.{secrets.token_hex(4)}.building"
        try:
            building.mkdir()
            entry.write(building)
            manifest = {"what": entry.what, "job": job, "files": _on_disk(building)}
            (building / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            building.rename(folder)
        except OSError as error:
            raise CannotKeepError(
                f"cannot write {self.kind.content} below {self.folder}: {error.strerror or error}",
                hint=f"Check free space, point BENCH_CACHE elsewhere, or set {self.kind.variable}=0 to keep none.",
            ) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)


def human(size: int) -> str:
    """1234567 -> 1.2 MB."""
    return ByteSize(size).human_readable(decimal=True, separator=" ")


def _manifest(folder: Path) -> dict[str, Any]:
    """Empty where there is none that can be read."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _intact(folder: Path, *, thorough: bool) -> bool:
    """Whether all files of the manifest lie there, each of its size and, if ``thorough``, with its checksum."""
    files = _manifest(folder).get("files")
    if not isinstance(files, dict):
        return False
    try:
        return all(
            (folder / name).stat().st_size == said["bytes"]
            and (not thorough or _checksum(folder / name) == said["crc32"])
            for name, said in files.items()
        )
    except OSError:
        return False


def _on_disk(folder: Path) -> dict[str, dict[str, int]]:
    """Size and checksum of every file. All are on the disk then: sizes alone must not vouch for lost pages."""
    described = {}
    for file in sorted(folder.iterdir()):
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())
        described[file.name] = {"bytes": file.stat().st_size, "crc32": _checksum(file)}
    return described


def _checksum(file: Path) -> int:
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value
