"""What a folder of records no longer needs: found, and removed while nobody writes to the folder."""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from bench.record import RunRecord, content_hash
from bench.store import RunStore

Kind = Literal["failed", "superseded", "orphan", "partial", "temporary", "unfinished"]

KINDS: tuple[Kind, ...] = get_args(Kind)

MEANING: dict[Kind, str] = {
    "failed": "records of runs that failed",
    "superseded": "records that a newer version of their protocol has measured again",
    "orphan": "values and drawings without a record",
    "partial": "parts and locks of runs that are over",
    "temporary": "temporary files of writers that were killed",
    "unfinished": "parts of interrupted runs, which the same command would continue",
}

USUAL: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "unfinished")
"""Removing these loses no work."""

_HOUR = 3600.0  # a temporary file this old has no writer any more
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp|\.probe-\d+")
_BESIDE = re.compile(r"([0-9a-f]{16})(\.npz|\..+\.png)")
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Leftover:
    """Files that go together.

    Attributes:
        what: Whose they are, for people.
    """

    kind: Kind
    what: str
    paths: tuple[Path, ...]
    bytes: int


def leftovers(store: RunStore, kinds: Sequence[Kind] = USUAL) -> list[Leftover]:
    """What could be removed. Broken records are not among it: a person has to look at them."""
    if not store.folder.is_dir():
        return []
    records, _ = store.load_all()
    found = [
        *_of_records(store, records),
        *_orphans(store),
        *_partial(store, {record.id for record in records if record.status == "ok"}),
        *_temporary(store),
    ]
    return [leftover for kind in KINDS if kind in kinds for leftover in found if leftover.kind == kind]


def prune(store: RunStore, kinds: Sequence[Kind] = USUAL) -> list[Leftover]:
    """Remove it, and return what was removed.

    Raises:
        BenchError: where the folder cannot be written.
        OSError: where a file cannot be removed.
    """
    if not store.folder.is_dir():
        return []
    with store.exclusive():
        found = leftovers(store, kinds)
        for leftover in found:
            for path in leftover.paths:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    return found


def _of_records(store: RunStore, records: Sequence[RunRecord]) -> Iterator[Leftover]:
    newer = _superseded(records)
    for record in records:
        what = f"{record.id} {record.method.name}, {record.protocol.name}"
        if record.status == "failed":
            yield _leftover("failed", f"{what}: {record.reason or 'no reason'}", store.files(record.id))
        elif record.id in newer:
            by = f"version {record.protocol.version}, superseded by {newer[record.id]}"
            yield _leftover("superseded", f"{what} {by}", store.files(record.id))


def _superseded(records: Sequence[RunRecord]) -> dict[str, str]:
    """Id of each ok record -> the version of its protocol that has measured the same again, if one has.

    The same: method, weights, data, preset, seed, and every option that both versions have.
    """
    alike: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.status == "ok":
            same: dict[str, Any] = record.identity() | {
                "protocol": [record.protocol.name, record.protocol.preset]
            }
            alike[content_hash(same)].append(record)
    newest = {}
    for group in alike.values():
        for old in group:
            versions = [
                new.protocol.version
                for new in group
                if new.protocol.version > old.protocol.version
                and all(
                    new.protocol.options[key] == value
                    for key, value in old.protocol.options.items()
                    if key in new.protocol.options
                )
            ]
            if versions:
                newest[old.id] = f"version {max(versions)}"
    return newest


def _orphans(store: RunStore) -> Iterator[Leftover]:
    for file in sorted(store.folder.iterdir()):
        named = _BESIDE.fullmatch(file.name)
        if named and file.is_file() and not (store.folder / f"{named[1]}.json").exists():
            yield _leftover("orphan", file.name, [file])


def _partial(store: RunStore, finished: set[str]) -> Iterator[Leftover]:
    """Parts and locks that no process holds at the moment."""
    home = store.folder / ".partial"
    names = sorted({path.name.removesuffix(".lock") for path in home.glob("*")})
    for name in names:
        folder, lock = home / name, home / f"{name}.lock"
        if _ID.fullmatch(name) is None or _is_held(lock):
            continue
        paths = [path for path in (folder, lock) if path.exists()]
        if folder.is_dir() and any(folder.iterdir()) and name not in finished:
            yield _leftover("unfinished", f".partial/{name}: bench run, as before, would continue it", paths)
        else:
            yield _leftover("partial", f".partial/{name}", paths)


def _is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _temporary(store: RunStore) -> Iterator[Leftover]:
    for file in sorted(store.folder.glob(".*")):
        if _TEMPORARY.fullmatch(file.name) and file.is_file():
            age = time.time() - file.stat().st_mtime
            if age > _HOUR:
                yield _leftover("temporary", file.name, [file])


def _leftover(kind: Kind, what: str, paths: Sequence[Path]) -> Leftover:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return Leftover(kind, what, tuple(paths), sum(file.lstat().st_size for file in files))
