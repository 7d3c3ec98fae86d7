"""When two runs answer the same question, so that a difference between them is one between their methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.record import DatasetPart, RunRecord
from bench.registry import load
from bench.run_reference import StoredRun
from reports.frame import one_line

_DIGITS = 12
_MOST_CHARACTERS = 60


def require_comparable(first: StoredRun, second: StoredRun) -> None:
    """Raise BenchError with every reason why two runs cannot be compared."""
    if first.file.resolve() == second.file.resolve():
        raise BenchError(f"run {first.record.id} was to be compared with itself", hint="Name two runs.")
    reasons = [
        f"run {run.record.id} failed: {one_line(run.record.reason or 'for a reason that it does not state')}"
        for run in (first, second)
        if run.record.status == "failed"
    ]
    reasons += differences(first.record, second.record)
    if reasons:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        raise BenchError(
            f"runs {first.record.id} and {second.record.id} are not comparable:\n{listed}",
            hint="Measure both with the same protocol, options, data and seed.",
        )


def differences(first: RunRecord, second: RunRecord) -> list[str]:
    """How two records' questions differ: protocol, version, options, seed, data."""
    one, other = first.protocol, second.protocol
    if one.name != other.name:
        return [f"their protocols are {one_line(one.name)} and {one_line(other.name)}"]
    found = []
    if one.version != other.version:
        found.append(f"their versions of protocol {one_line(one.name)} are {one.version} and {other.version}")
    options = (_resolved(first), _resolved(second)) if not found else (one.options, other.options)
    found += [f"option {text}" for text in _differing(*options)]
    if first.seed != second.seed:
        found.append(f"their seeds are {first.seed} and {second.seed}")
    return found + _data(first.dataset, second.dataset)


def same_order(first: Sequence[str], second: Sequence[str]) -> NDArray[np.intp]:
    """Where the samples of the first are among those of the second.

    Raises:
        BenchError: where the two have other samples, or one has a sample twice.
    """
    places = {name: place for place, name in enumerate(second)}
    for names in (first, second):
        if len(set(names)) != len(names):
            raise BenchError("a run has stored two samples of the same id, so that none can be paired")
    missing, new = set(first) - set(places), set(places) - set(first)
    if missing or new:
        examples = ", ".join(repr(one_line(name)) for name in sorted(missing | new)[:3])
        raise BenchError(
            f"the runs are not of the same samples: {len(missing)} are only in the first and {len(new)} only in the "
            f"second, such as {examples}",
            hint="A paired comparison needs the same samples in both; measure one of them again.",
        )
    return np.array([places[name] for name in first], dtype=np.intp)


def _resolved(record: RunRecord) -> dict[str, Any]:
    """With the defaults of options that came after the record: they change nothing, or the version would be another."""
    options: dict[str, Any] = (
        load("protocols", record.protocol.name)().options_of(record).model_dump(mode="json")
    )
    return options


def _data(first: DatasetPart | None, second: DatasetPart | None) -> list[str]:
    if first is None or second is None:
        return [] if first is second else ["only one of them reads images"]
    found = []
    roles = sorted({*first.fingerprints, *second.fingerprints})
    for role in roles:
        prints = [one_line(part.fingerprints.get(role, "none"))[:_DIGITS] for part in (first, second)]
        if first.fingerprints.get(role) != second.fingerprints.get(role):
            names = f"{one_line(first.name)} and {one_line(second.name)}"
            found.append(f"their {role} data differ ({names}, fingerprints {prints[0]} and {prints[1]})")
    found += [f"preprocessing {text}" for text in _differing(first.preprocessing, second.preprocessing)]
    if first.landmarks != second.landmarks:
        found.append(f"their data have {first.landmarks} and {second.landmarks} landmarks")
    return found


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    return [
        f"{one_line(name)}: {_text(first, name)} and {_text(second, name)}"
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name) or (name in first) != (name in second)
    ]


def _text(options: Mapping[str, Any], name: str) -> str:
    text = one_line(json.dumps(options[name])) if name in options else "not stated"
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
