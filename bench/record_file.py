"""A record as the bytes of its file, and back; whatever is no whole record of a known version is refused, with why."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from bench.errors import BenchError
from bench.migrations import MigrationError, migrated
from bench.record import SCHEMA_VERSION, RunRecord

MAX_RECORD_BYTES = 16 * 2**20
"""A record is some kilobytes; a file beyond this is no record, and reading it could exhaust the memory."""

_FREE_PARTS = (
    ("method", "options"),
    ("protocol", "options"),
    ("dataset", "options"),
    ("dataset", "preprocessing"),
)
"""With ``provenance``, the parts whose fields the schema does not know."""


class UnreadableError(Exception):
    """Why a file is not a record."""


def encode(record: RunRecord) -> str:
    """The content of the record's file.

    Raises:
        BenchError: where it could not be read back.
    """
    content = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
    try:
        decode(content)
    except UnreadableError as error:
        raise BenchError(
            f"run {record.id} is not written, because it could not be read back: {error}",
            hint="A value that does not exist is not reported; a run that breaks is a failed record.",
        ) from error
    return content


def read(file: Path) -> RunRecord:
    """A record that is whole, of a known version, and whose content belongs to its name.

    Raises:
        UnreadableError: where it is not.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError("not a regular file")  # reading a pipe would wait for ever
        if found.st_size > MAX_RECORD_BYTES:
            raise UnreadableError(f"{found.st_size / 2**20:.0f} MiB is too large for a record")
        record = decode(file.read_bytes())
    except FileNotFoundError as error:
        raise UnreadableError("not a regular file: it leads nowhere") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error
    if file.stem != record.id:
        raise UnreadableError(f"the name is not the id of the content, {record.id}: renamed or edited")
    return record


def decode(content: str | bytes) -> RunRecord:
    """The record that is written there, in today's shape. Where a key stands twice, the last one counts.

    Raises:
        UnreadableError: where it is none.
    """
    try:
        data = from_json(content)
    except ValueError as error:
        raise UnreadableError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UnreadableError(f"expected a JSON object, got {type(data).__name__}")
    _require_known(data.get("schema_version"))
    try:
        record = RunRecord.model_validate(migrated(data, SCHEMA_VERSION), strict=True)
    except MigrationError as error:
        raise UnreadableError(str(error)) from error
    except ValidationError as error:
        raise UnreadableError(_first_of(error)) from error
    _require_plain(record.provenance, "provenance")
    for part, field in _FREE_PARTS:
        _require_plain(getattr(getattr(record, part), field, None), f"{part}.{field}")
    return record


def _require_known(version: object) -> None:
    if type(version) is not int:
        raise UnreadableError("no record of a run: schema_version is missing or not a number")
    if version > SCHEMA_VERSION:
        raise UnreadableError(
            f"schema version {version} is newer than the {SCHEMA_VERSION} known here: update landmark-bench"
        )


def _require_plain(value: Any, place: str) -> None:
    """Refuse numbers that JSON does not have, or other programs cannot read."""
    kind = type(value)
    if kind is dict:
        for key, inner in value.items():
            if type(inner) is not str:
                _require_plain(inner, f"{place}.{key}")
    elif kind is list:
        for inner in value:
            if type(inner) is not str:
                _require_plain(inner, place)
    elif kind is float and not math.isfinite(value):
        raise UnreadableError(f"{place}: {value} is not a finite number")
    elif kind is int and not -(2**63) <= value < 2**63:
        raise UnreadableError(f"{place}: a whole number needs more than 64 bits")


def _first_of(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    place = ".".join(str(part) for part in details[0]["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {details[0]['msg']}{more}"
