"""Where records lie: one JSON file a run, named by the run's id, with its per-sample values beside it.

Files are written under a temporary name and renamed, and the values before the record: whatever is killed and
when, a record that can be seen is whole. Folders of records can be merged and compared as files.
"""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from pydantic import ValidationError

from bench.errors import BenchError
from bench.files import write_atomically
from bench.record import SCHEMA_VERSION, RunRecord

Array = np.ndarray[Any, Any]

MAX_RECORD_BYTES = 16 * 2**20
"""A record is some kilobytes; a file beyond this is no record, and reading it could exhaust the memory."""

_ID = re.compile(r"[0-9a-f]{16}")
_ARRAY_NAME = re.compile(r"[\w=.-]+")
_RESERVED_ARRAY_NAMES = {"file", "allow_pickle"}  # parameters of numpy.savez itself
_BROKEN_ARRAYS = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Problem:
    """A file among the records that cannot be used, and why."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class _UnreadableError(Exception):
    """Why a file is not a record."""


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
        content = _to_json(record)
        ok = record.status == "ok"
        values = _pack(per_sample or {}) if ok else None
        drawings = {name: _png(name, drawing) for name, drawing in (pictures or {}).items()} if ok else {}
        with self._lock():
            if record.status == "failed" and self._is_ok(record.id):
                return file
            if values is not None:
                write_atomically(self._file(record.id, ".npz"), values)
            for name, drawing in drawings.items():
                write_atomically(self._file(record.id, f".{name}.png"), drawing)
            write_atomically(file, content)
        return file

    def find(self, record_id: str) -> RunRecord | None:
        """The record of that id; None where there is none, or one that is broken and has to be run again."""
        file = self._file(record_id, ".json")
        try:
            return _read(file) if file.exists() else None
        except _UnreadableError:
            return None

    def load_all(self) -> tuple[list[RunRecord], list[Problem]]:
        """All readable records in the order of their ids, and every ``.json`` file that is not one.

        A folder that does not exist holds no records.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise BenchError(f"{self.folder} is not a folder of records", hint="Give a folder with --runs.")
        records: list[RunRecord] = []
        problems: list[Problem] = []
        for file in sorted(self.folder.glob("*.json")):
            if file.name.startswith("."):
                continue  # left behind by a writer that was killed
            try:
                records.append(_read(file))
            except _UnreadableError as reason:
                problems.append(Problem(file, str(reason)))
        return records, problems

    def per_sample(self, record_id: str) -> dict[str, Array]:
        """The per-sample values of an ok record.

        Raises:
            BenchError: where they are missing or broken.
        """
        file = self._file(record_id, ".npz")
        try:
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except FileNotFoundError as error:
            raise BenchError(f"{file} is missing: run {record_id} has no per-sample values here") from error
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            MemoryError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise BenchError(
                f"cannot read the per-sample values {file}: {error}",
                hint="Delete the run's files; run it again.",
            ) from error

    def pictures(self, record_id: str) -> dict[str, Path]:
        """Name -> PNG file of the drawings of a record."""
        prefix = f"{_checked_id(record_id)}."
        files = sorted(self.folder.glob(f"{prefix}*.png"))
        return {file.name[len(prefix) : -len(".png")]: file for file in files}

    def partial_folder(self, record_id: str) -> Path:
        """Where an unfinished run keeps its finished parts; made by whoever writes the first one."""
        return self.folder / ".partial" / _checked_id(record_id)

    def clear_partial(self, record_id: str) -> None:
        """Remove the parts of a run whose record is saved; leftovers would cost disk space, nothing else."""
        shutil.rmtree(self.partial_folder(record_id), ignore_errors=True)

    def _file(self, record_id: str, suffix: str) -> Path:
        return self.folder / (_checked_id(record_id) + suffix)

    def _is_ok(self, record_id: str) -> bool:
        present = self.find(record_id)
        return present is not None and present.status == "ok"

    @contextmanager
    def _lock(self) -> Iterator[None]:
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
            raise BenchError(
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


def _to_json(record: RunRecord) -> str:
    content = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
    try:
        _decode(content)
    except _UnreadableError as error:
        raise BenchError(
            f"run {record.id} is not written, because it could not be read back: {error}",
            hint="A value that does not exist is not reported; a run that breaks is a failed record.",
        ) from error
    return content


def _read(file: Path) -> RunRecord:
    """A record that is whole, of this schema, and whose content belongs to its name."""
    if not file.is_file():
        raise _UnreadableError("not a regular file")
    try:
        size = file.stat().st_size
        if size > MAX_RECORD_BYTES:
            raise _UnreadableError(f"{size / 2**20:.0f} MiB is too large for a record")
        record = _decode(file.read_bytes())
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror or error}") from error
    if file.stem != record.id:
        raise _UnreadableError(f"the name is not the id of the content, {record.id}: renamed or edited")
    return record


def _decode(content: str | bytes) -> RunRecord:
    try:
        data = json.loads(content, parse_constant=_finite, parse_float=_finite, parse_int=_int64)
    except json.JSONDecodeError as error:
        raise _UnreadableError(f"not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _UnreadableError(f"not the JSON of a record: {error}") from error
    if not isinstance(data, dict):
        raise _UnreadableError(f"expected a JSON object, got {type(data).__name__}")
    _require_schema(data.get("schema_version"))
    try:
        return RunRecord.model_validate(data, strict=True)
    except ValidationError as error:
        raise _UnreadableError(_first_of(error)) from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"a whole number of {len(text)} characters needs more than 64 bits")
    return number


def _require_schema(version: object) -> None:
    if type(version) is not int:
        raise _UnreadableError("no record of a run: schema_version is missing or not a number")
    if version > SCHEMA_VERSION:
        raise _UnreadableError(
            f"schema version {version} is newer than the {SCHEMA_VERSION} known here: update landmark-bench"
        )
    if version < SCHEMA_VERSION:
        raise _UnreadableError(
            f"schema version {version} is no longer read (now {SCHEMA_VERSION}): run it again"
        )


def _first_of(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    place = ".".join(str(part) for part in details[0]["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {details[0]['msg']}{more}"


def _png(name: str, drawing: Array) -> bytes:
    if _ARRAY_NAME.fullmatch(name) is None:
        raise BenchError(f"{name!r} cannot name a picture: letters, digits and _ = . - can")
    if drawing.dtype != np.uint8 or drawing.ndim != 3 or drawing.shape[2] != 3:
        raise BenchError(f"picture {name!r} is {drawing.dtype} {drawing.shape}, expected uint8 (H, W, 3)")
    buffer = io.BytesIO()
    Image.fromarray(drawing).save(buffer, "PNG")
    return buffer.getvalue()


def _pack(arrays: Mapping[str, Array]) -> bytes:
    for name, array in arrays.items():
        if _ARRAY_NAME.fullmatch(name) is None or name in _RESERVED_ARRAY_NAMES:
            raise BenchError(f"{name!r} cannot name per-sample values: letters, digits and _ = . - can")
        if array.dtype.hasobject:
            raise BenchError(f"per-sample values {name!r} are Python objects: expected numbers or strings")
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise BenchError(
                f"per-sample values {name!r} are not all finite",
                hint="Where a point has no value, store a finite filler and a boolean mask beside it.",
            )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
