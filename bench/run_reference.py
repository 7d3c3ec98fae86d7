"""Which run is meant: an id, the beginning of one, or a record's file in any folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.context import Arrays
from bench.errors import BenchError
from bench.record import RunRecord
from bench.store import RunStore

_PREFIX = re.compile(r"[0-9a-f]{1,16}")
_ID = re.compile(r"[0-9a-f]{16}")
_MOST_LISTED = 10


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A record and the folder in which it lies."""

    record: RunRecord
    store: RunStore

    @property
    def file(self) -> Path:
        return self.store.folder / f"{self.record.id}.json"

    def arrays(self) -> Arrays:
        """Its per-sample values.

        Raises:
            BenchError: where they are missing or broken.
        """
        return self.store.per_sample(self.record.id)


def find_run(reference: str, folder: Path) -> StoredRun:
    """The run that is meant.

    Args:
        reference: Its id or the beginning of it, of a run in ``folder``; or the path of its record.

    Raises:
        BenchError: where there is none, several begin like that, or the record cannot be read.
    """
    if _PREFIX.fullmatch(reference) and not Path(reference).is_file():
        return _read(_by_prefix(reference, folder))
    file = Path(reference)
    if not file.is_file():
        raise BenchError(
            f"{reference!r} is neither the beginning of a run's id (hexadecimal digits) nor the file of a record",
            hint=f"The records in {folder} are named by their ids; or give the path of a record, ID.json.",
        )
    return _read(file)


def run_files(folder: Path) -> list[Path]:
    """The files in a folder that are named as records are, in the order of their ids."""
    return [file for file in sorted(folder.glob("*.json")) if _ID.fullmatch(file.stem)]


def _by_prefix(prefix: str, folder: Path) -> Path:
    found = [file for file in run_files(folder) if file.stem.startswith(prefix)]
    if not found:
        count = len(run_files(folder))
        raise BenchError(
            f"no run in {folder} has an id that begins with {prefix!r}; there are {count}",
            hint="Is it the right folder? Say which with --runs.",
        )
    if len(found) > 1:
        ids = ", ".join(file.stem for file in found[:_MOST_LISTED])
        more = ", ..." if len(found) > _MOST_LISTED else ""
        raise BenchError(
            f"{len(found)} runs in {folder} have ids that begin with {prefix!r}: {ids}{more}",
            hint="Give more digits.",
        )
    return found[0]


def _read(file: Path) -> StoredRun:
    if file.suffix != ".json" or _ID.fullmatch(file.stem) is None:
        raise BenchError(
            f"{file} is no record: records are named by their ids, 16 hexadecimal digits and .json"
        )
    store = RunStore(file.parent)
    record = store.find(file.stem)
    if record is None:
        reasons = [problem.reason for problem in store.load_all()[1] if problem.file.name == file.name]
        raise BenchError(f"the record {file} cannot be used: {', '.join(reasons) or 'it is not there'}")
    return StoredRun(record, store)
