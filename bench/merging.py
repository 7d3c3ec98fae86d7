"""Records from other machines, taken into a folder of records: whole, checked, and never over other numbers."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from bench.differences import paired
from bench.errors import BenchError
from bench.record import RunRecord
from bench.record_file import encode
from bench.record_values import Array
from bench.store import Problem, RunStore

Action = Literal["added", "replaced", "completed", "equal", "kept", "conflict"]

MAX_PICTURE_BYTES = 64 * 2**20

_NUMBERS = ("value", "low", "high", "std", "count")


@dataclass(frozen=True)
class Outcome:
    """What became of one record.

    Attributes:
        action: ``added``: there was none; ``replaced``: a failed or broken one; ``completed``: the same record, which
            had lacked values or drawings; ``equal``: nothing to do; ``kept``: the present one is ok and the other
            failed, or both failed; ``conflict``: other numbers under the same id, the present ones stay.
        remark: What differs, for a conflict; else empty.
    """

    record_id: str
    source: Path
    action: Action
    remark: str = ""


@dataclass(frozen=True)
class Merged:
    """What a merge did, record by record, and every file that could not be used."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]

    @property
    def conflicts(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.action == "conflict")


@dataclass(frozen=True)
class _Beside:
    """The files of a record other than itself; those that are broken are among the problems."""

    values: bytes | None
    arrays: dict[str, Array]
    drawings: dict[str, bytes]
    problems: tuple[Problem, ...]


def merge(sources: Sequence[Path], target: RunStore, tolerance: float = 0.0) -> Merged:
    """Take the records of folders into ``target``; a second merge of the same finds nothing to do.

    Args:
        tolerance: Up to which two values, relative to the larger one, count as equal; what lies per sample beside
            them is compared only where it is 0.

    Raises:
        BenchError: before anything is written, where a source is no folder or is the target itself; and where the
            target cannot be written.
    """
    for source in sources:
        if not source.is_dir():
            raise BenchError(
                f"{source} is not a folder of records", hint="Give the folders that bench run wrote."
            )
        if source.resolve() == target.folder.resolve():
            raise BenchError(f"{source} is the folder to merge into", hint="--runs names where records go.")
    outcomes: list[Outcome] = []
    problems: list[Problem] = []
    for source in sources:
        store = RunStore(source)
        records, broken = store.load_all()
        problems += broken
        for record in records:
            beside = _beside(store, record)
            problems += beside.problems
            outcomes.append(_take(record, beside, store, target, tolerance))
    return Merged(tuple(outcomes), tuple(problems))


def _take(
    record: RunRecord, beside: _Beside, source: RunStore, target: RunStore, tolerance: float
) -> Outcome:
    """Decide and write while nobody else writes to the target."""
    with target.exclusive():
        present = target.find(record.id)
        action: Action
        remark = ""
        if present is None or (present.status == "failed" and record.status == "ok"):
            was_there = (target.folder / f"{record.id}.json").exists()
            target.put(record.id, encode(record), beside.values, beside.drawings)
            _keep_age(source, target, record.id)
            action = "replaced" if was_there else "added"
        elif record.status == "failed":
            action = "kept"
        elif remark := _disagreement(target, present, record, beside, tolerance):
            action = "conflict"
        else:
            values = None if target.values_file(record.id).exists() else beside.values
            there = target.pictures(record.id)
            drawings = {name: content for name, content in beside.drawings.items() if name not in there}
            target.put(record.id, None, values, drawings)
            action = "completed" if values is not None or drawings else "equal"
    return Outcome(record.id, source.folder, action, remark)


def _disagreement(
    target: RunStore, present: RunRecord, record: RunRecord, beside: _Beside, tolerance: float
) -> str:
    """What two ok records of the same run disagree in; empty where they agree."""
    in_record = _contradiction(present, record, tolerance)
    return in_record or ("" if tolerance else _other_values(target, record, beside))


def _contradiction(present: RunRecord, record: RunRecord, tolerance: float) -> str:
    """Which numbers disagree."""
    lines = []
    for pair in paired(present, record):
        if pair.one is None or pair.other is None:
            lines.append(f"{pair.declared.metric} is in one of them only")
            continue
        one, other = pair.one, pair.other
        fields = [f for f in _NUMBERS if not _agree(getattr(one, f), getattr(other, f), tolerance)]
        if fields:
            condition = "".join(f" {key}={value}" for key, value in one.condition.items())
            one_is, other_is = getattr(one, fields[0]), getattr(other, fields[0])
            what = "" if fields[0] == "value" else f", {fields[0]}"
            lines.append(f"{one.metric}{condition}{what}: {one_is} here, {other_is} there")
    return _first(lines)


def _agree(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0)


def _other_values(target: RunStore, record: RunRecord, beside: _Beside) -> str:
    """Which per-sample values disagree; empty where one of the two has none that can be read."""
    file = target.values_file(record.id)
    if beside.values is None or not file.exists() or file.read_bytes() == beside.values:
        return ""
    try:
        present = target.per_sample(record.id)
    except BenchError:
        return ""
    names = sorted({*present, *beside.arrays})
    lines = [
        f"per-sample values {name!r}"
        for name in names
        if name not in present
        or name not in beside.arrays
        or not np.array_equal(present[name], beside.arrays[name])
    ]
    return _first(lines)


def _first(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")


def _beside(store: RunStore, record: RunRecord) -> _Beside:
    problems: list[Problem] = []
    values, arrays = None, {}
    file = store.values_file(record.id)
    if record.status == "ok" and file.exists():
        try:
            arrays = store.per_sample(record.id)
            values = file.read_bytes()
        except (BenchError, OSError) as error:
            problems.append(Problem(file, error.message if isinstance(error, BenchError) else str(error)))
    drawings = {}
    for name, picture in store.pictures(record.id).items() if record.status == "ok" else ():
        try:
            drawings[name] = _png(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append(Problem(picture, f"no PNG file that can be shown: {error}"))
    return _Beside(values, arrays, drawings, tuple(problems))


def _png(file: Path) -> bytes:
    if file.stat().st_size > MAX_PICTURE_BYTES:
        raise ValueError(f"more than {MAX_PICTURE_BYTES >> 20} MiB")
    content = file.read_bytes()
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        picture.verify()
    return content


def _keep_age(source: RunStore, target: RunStore, record_id: str) -> None:
    """A record is as old as its measurement, whenever it was merged."""
    name = f"{record_id}.json"
    measured = (source.folder / name).stat().st_mtime_ns
    os.utime(target.folder / name, ns=(measured, measured))
