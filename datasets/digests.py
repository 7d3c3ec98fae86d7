"""Digests of many image files, remembered between runs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.files import cache_folder, write_atomically

# A file changed this recently may change again within the resolution of its time stamp: not remembered.
_SETTLED_NS = 2_000_000_000

_Remembered = dict[str, tuple[int, int, str]]


def file_digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 of each file's content, in order.

    200,000 images take a minute to read, so digests are kept in bench's cache folder with the size and the
    modification time they were computed for, and recomputed where either has changed.

    Raises:
        BenchError: names the first file that cannot be read.
    """
    if not files:
        return []
    paths = [file.absolute() for file in files]
    listing = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()
    store = cache_folder("digests", f"{listing[:32]}.json")
    remembered, fresh = _recall(store), {}
    now = time.time_ns()
    digests = []
    for path in paths:
        try:
            stat = path.stat()
            old = remembered.get(str(path))
            if old is not None and old[:2] == (stat.st_size, stat.st_mtime_ns):
                digest = old[2]
            else:
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            what = (
                "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            )
            raise BenchError(
                f"image {path} {what}", hint="bench data verify lists everything that is missing."
            ) from error
        digests.append(digest)
        if now - stat.st_mtime_ns > _SETTLED_NS:
            fresh[str(path)] = (stat.st_size, stat.st_mtime_ns, digest)
    if fresh and fresh != remembered:
        write_atomically(store, json.dumps(fresh))
    return digests


def _recall(store: Path) -> _Remembered:
    try:
        content = json.loads(store.read_bytes())
        return {
            str(path): (int(size), int(changed), str(digest))
            for path, (size, changed, digest) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # absent or damaged: it is only a memory
