"""Where records lie: one JSON file a run, named by the run's id, with its per-sample values beside it.

Files are written under a temporary name and renamed, and the values before the record: whatever is killed and
when, a record that can be seen is whole. Folders of records can be merged and compared as files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bench.allocator import no_garbage_collection
from bench.errors import BenchError, did_you_mean
from bench.files import UnwritableError, write_atomically
from bench.record import RunRecord
from bench.record_file import UnreadableError, encode, read
from bench.record_values import BROKEN, NAME, Array, pack, png, unpack

__all__ = ["Array", "Problem", "RunStore"]

_ID = re.compile(r"[0-9a-f]{16}")
_FEW = 8  # ids to name in a message
_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Problem:
    """A file among the records that cannot be used, and why."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class RunStore:
    """A folder of records: ``<id>.json``, ``<id>.npz``, drawings ``<id>.<name>.png``.

    While a run is unfinished, its finished parts lie in ``.partial/<id>/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(
        self,
        record: RunRecord,
        per_sample: Mapping[str, Array] | None = None,
        pictures: Mapping[str, Array] | None = None,
    ) -> Path:
        """Write a record and its per-sample values; a failed record never replaces one that is ok.

        Args:
            record: Ok or failed; a failed one has no values, and ``per_sample`` and ``pictures`` are ignored.
            per_sample: Named arrays of numbers, booleans or strings.
            pictures: Named drawings, (H, W, 3), uint8, RGB.

        Returns:
            The record's file.

        Raises:
            BenchError: where the folder cannot be written, or the record or its values could not be read back
                (not finite, Python objects).
        """
        file = self._file(record.id, ".json")
        content = encode(record)
        ok = record.status == "ok"
        values = pack(per_sample or {}) if ok else None
        drawings = {name: png(name, drawing) for name, drawing in (pictures or {}).items()} if ok else {}
        with self.exclusive():
            if record.status == "failed" and self._is_ok(record.id):
                return file
            self.put(record.id, content, values, drawings)
        return file

    def put(
        self, record_id: str, content: str | None, values: bytes | None, drawings: Mapping[str, bytes]
    ) -> None:
        """Write the files of a record, the record itself last; for those who hold :meth:`exclusive`.

        Args:
            content: Of the record's file; None: it stays as it is.
            values: Of the ``.npz``; None: there are none.
            drawings: Name -> content of the PNG file.
        """
        if values is not None:
            write_atomically(self._file(record_id, ".npz"), values)
        for name, drawing in drawings.items():
            write_atomically(self._file(record_id, f".{name}.png"), drawing)
        if content is not None:
            write_atomically(self._file(record_id, ".json"), content)

    def find(self, record_id: str) -> RunRecord | None:
        """The record of that id; None where there is none, or one that is broken and has to be run again."""
        file = self._file(record_id, ".json")
        try:
            return read(file) if file.exists() else None
        except UnreadableError:
            return None

    def load_all(self) -> tuple[list[RunRecord], list[Problem]]:
        """All readable records in the order of their ids, and every ``.json`` file that is not one.

        A folder that does not exist holds no records.
        """
        if not self.folder.exists():
            return [], []
        if not self.folder.is_dir():
            raise BenchError(f"{self.folder} is not a folder of records", hint="Give a folder with --runs.")
        try:
            files = {file.name: file for file in self.folder.iterdir() if file.name.endswith(".json")}
        except OSError as error:
            raise BenchError(
                f"cannot list {self.folder}: {error.strerror or error}", hint="Check permissions."
            ) from error
        records: list[RunRecord] = []
        problems: list[Problem] = []
        with no_garbage_collection():
            for name, file in sorted(files.items()):
                if name.startswith("."):
                    continue  # left behind by a writer that was killed
                try:
                    records.append(read(file))
                except UnreadableError as reason:
                    problems.append(Problem(file, str(reason)))
        return records, problems

    def identify(self, prefix: str) -> str:
        """The id that begins with ``prefix``, of a file that may or may not be readable.

        Raises:
            BenchError: where no id does, or several do.
        """
        wanted = prefix.lower()
        ids = sorted(file.stem for file in self.folder.glob("*.json") if _ID.fullmatch(file.stem))
        found = [known for known in ids if wanted and known.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if not found:
            near = did_you_mean(wanted, ids) if len(ids) <= _FEW else f"It holds {len(ids)} records."
            raise BenchError(
                f"no record in {self.folder} has an id that begins with {prefix!r}",
                hint=f"{near} `bench runs list` shows them; --runs names another folder.",
            )
        shown = ", ".join(found[:_FEW]) + (", ..." if len(found) > _FEW else "")
        raise BenchError(
            f"{len(found)} records in {self.folder} have ids that begin with {prefix!r}: {shown}",
            hint="Give more digits.",
        )

    def load(self, record_id: str) -> RunRecord:
        """The record of that id.

        Raises:
            BenchError: where there is none, or its file is broken.
        """
        file = self._file(record_id, ".json")
        if not file.exists():
            raise BenchError(f"there is no {file}", hint="`bench runs list` shows what there is.")
        try:
            return read(file)
        except UnreadableError as error:
            raise BenchError(f"{file} is no usable record: {error}", hint="Run it again.") from error

    def per_sample(self, record_id: str) -> dict[str, Array]:
        """The per-sample values of an ok record.

        Raises:
            BenchError: where they are missing or broken.
        """
        file = self._file(record_id, ".npz")
        try:
            return unpack(file)
        except FileNotFoundError as error:
            raise BenchError(f"{file} is missing: run {record_id} has no per-sample values here") from error
        except BROKEN as error:
            raise BenchError(
                f"cannot read the per-sample values {file}: {error}",
                hint="Delete the run's files; run it again.",
            ) from error

    def pictures(self, record_id: str) -> dict[str, Path]:
        """Name -> PNG file of the drawings of a record."""
        prefix = f"{_checked_id(record_id)}."
        files = {
            file.name[len(prefix) : -len(".png")]: file for file in sorted(self.folder.glob(f"{prefix}*.png"))
        }
        return {name: file for name, file in files.items() if NAME.fullmatch(name) and file.is_file()}

    def values_file(self, record_id: str) -> Path:
        """Where the per-sample values of a record lie, if there are any."""
        return self._file(record_id, ".npz")

    def files(self, record_id: str) -> list[Path]:
        """All files of a record that are there, the record itself first."""
        own = [self._file(record_id, suffix) for suffix in (".json", ".npz")]
        return [*(file for file in own if file.exists()), *self.pictures(record_id).values()]

    def partial_folder(self, record_id: str) -> Path:
        """Where an unfinished run keeps its finished parts; made by whoever writes the first one."""
        return self.folder / ".partial" / _checked_id(record_id)

    def lock_file(self, record_id: str) -> Path:
        """Held by the process that measures this cell."""
        return self.folder / ".partial" / f"{_checked_id(record_id)}.lock"

    def clear_partial(self, record_id: str) -> None:
        """Remove the parts of a run whose record is saved; leftovers would cost disk space, nothing else."""
        shutil.rmtree(self.partial_folder(record_id), ignore_errors=True)

    def _file(self, record_id: str, suffix: str) -> Path:
        return self.folder / (_checked_id(record_id) + suffix)

    def _is_ok(self, record_id: str) -> bool:
        present = self.find(record_id)
        return present is not None and present.status == "ok"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds other writers off between the look at what is there and the write."""
        file = self.folder / ".lock"
        lock = FileLock(file, timeout=_LOCK_SECONDS)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise BenchError(
                f"another process has held {file} for {_LOCK_SECONDS:.0f} s",
                hint="If no other bench is running on this folder, delete that file.",
            ) from error
        except (OSError, NotImplementedError) as error:
            raise UnwritableError(
                f"cannot write records to {self.folder}: {error}", hint="Check permissions and free space."
            ) from error
        try:
            yield
        finally:
            lock.release()


def _checked_id(record_id: str) -> str:
    if _ID.fullmatch(record_id) is None:
        raise BenchError(f"{record_id!r} is no run id: expected 16 hexadecimal digits")
    return record_id
