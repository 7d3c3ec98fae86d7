"""Records as one tidy table: a row for every value, and one for every failed record."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import BenchError, did_you_mean
from bench.record import DatasetPart, MethodPart, RunRecord, content_hash
from bench.report import ReportOptions

COLUMNS = (
    "method",
    "weights_label",
    "feature_dim",
    "weights_sha256",
    "method_options",
    "dataset",
    "tier",
    "landmarks",
    "dataset_content",
    "protocol",
    "preset",
    "protocol_version",
    "protocol_options",
    "metric",
    "condition",
    "value",
    "low",
    "high",
    "std",
    "count",
    "unit",
    "direction",
    "seed",
    "status",
    "reason",
    "record",
)
"""Stable names and order. Three are hashes, equal where the thing itself is: ``method_options`` (and what features
were rounded to), ``protocol_options``, and ``dataset_content`` (fingerprints, options, splits, preprocessing,
landmarks)."""

INTEGERS = ("feature_dim", "landmarks", "protocol_version", "count", "seed")
FLOATS = ("value", "low", "high", "std")

QUESTION = ("dataset", "dataset_content", "protocol", "protocol_version", "protocol_options")
"""What was asked: the columns that say which protocol, exactly, on which data, exactly."""

CELL = (*QUESTION, "metric", "condition", "unit", "direction", "seed")
"""Rows that agree in these answer the same question, and so can be ranked against each other."""

NO_DATA = "none"
"""The data set, its tier and its content where a protocol reads no images."""

_MEASURED = ("metric", "condition", *FLOATS, "count", "unit", "direction")
_COMMON = tuple(column for column in COLUMNS if column not in _MEASURED)

_HASH_DIGITS = 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Selection(ReportOptions):
    """Which rows a report is about; nothing named means all."""

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The selected rows. A failed record has no metric and is not dropped by a choice of metrics.

        Raises:
            BenchError: where a name matches nothing at all, or no row matches all of them.
        """
        if not any(names for _, names in self._by_column()):
            return frame
        kept = pd.Series(True, index=frame.index)
        for column, names in self._by_column():
            known = set(frame[column]) - {""}
            for name in names:
                if name not in known:
                    raise BenchError(f"no run has the {column} {name!r}", hint=did_you_mean(name, known))
            if names:
                unmeasured = (frame["status"] == "failed") if column == "metric" else False
                kept &= frame[column].isin(names) | unmeasured
        if not kept.any() and not frame.empty:
            raise BenchError("no run matches all of the filters together", hint="Drop one of them.")
        return frame[kept].reset_index(drop=True)

    def _by_column(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("method", self.methods),
            ("dataset", self.datasets),
            ("protocol", self.protocols),
            ("metric", self.metrics),
        )


def frame_of(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row per value; a failed record is one row with its reason and no value.

    Rows come by record id, and within a record in the protocol's order, whatever the order of ``records``.
    """
    by_id = sorted(((record.id, record) for record in records), key=lambda pair: pair[0])
    # what a record says once is told once, and then repeated for each of its values
    counts = [len(record.metrics) if record.status == "ok" else 1 for _, record in by_id]
    common = _typed(pd.DataFrame([_common(*pair) for pair in by_id], columns=list(_COMMON)))
    measured = [row for _, record in by_id for row in _measured(record)]
    repeated = common.take(np.repeat(np.arange(len(by_id)), counts)).reset_index(drop=True)
    values = _typed(pd.DataFrame(measured, columns=list(_MEASURED)))
    return pd.concat([repeated, values], axis=1)[list(COLUMNS)]


def to_csv(frame: pd.DataFrame) -> str:
    """Full precision, empty where there is no value, the same bytes on every platform."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(zip(*(plain(frame[column]) for column in frame), strict=True))
    return text.getvalue()


def from_csv(content: str) -> pd.DataFrame:
    """Read what :func:`to_csv` wrote; further columns are dropped.

    Raises:
        BenchError: where it is no such table, with the column or line that is wrong.
    """
    try:
        frame = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BenchError(f"not a CSV table: {error}") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise BenchError(f"columns are missing: {', '.join(missing)}")
    for column in (*INTEGERS, *FLOATS):
        parse = _whole if column in INTEGERS else _finite
        frame[column] = [_parsed(parse, text, column, row) for row, text in enumerate(frame[column], start=1)]
    return _typed(frame[list(COLUMNS)])


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as strict JSON: None where there is no value."""
    names = [str(column) for column in frame]
    columns = [plain(frame[column]) for column in frame]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def natural_order(texts: pd.Series) -> pd.Series:
    """The place of each text in the order of :func:`natural_key`, equal texts in one place."""
    places = {text: place for place, text in enumerate(sorted(set(texts), key=natural_key))}
    return texts.map(places).astype("int64")


def plain(column: pd.Series) -> list[Any]:
    """As Python's own values, None where there is none."""
    values = np.array(column.to_numpy(dtype=object))
    values[column.isna().to_numpy()] = None
    found: list[Any] = values.tolist()
    return found


def condition_text(condition: dict[str, Any]) -> str:
    """Canonical text of a condition: ``annotations=10``; several are sorted by name and joined by commas."""
    return ",".join(f"{name}={_scalar_text(condition[name])}" for name in sorted(condition))


def condition_pairs(text: str) -> list[tuple[str, str]]:
    """Names and values of :func:`condition_text`; a value may hold commas."""
    parts = re.split(r",(?=\w+=)", text) if text else []
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def natural_key(text: str) -> tuple[str | float, ...]:
    """Sorts the numbers within texts as numbers: ``annotations=5`` comes before ``annotations=10``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple(float(part) if i % 2 else part for i, part in enumerate(parts))


def question_of(record: RunRecord) -> tuple[Any, ...]:
    """What a run answers: its entries in the columns ``QUESTION``."""
    entries = _common(record.id, record)
    return tuple(entries[column] for column in QUESTION)


def one_line(text: str) -> str:
    """Without line breaks and control characters, which could break a table or drive a terminal."""
    return (text if text.isprintable() else _CONTROL.sub(" ", text)).strip()


def network_name(record: RunRecord) -> str:
    """Such as ``lead-0123456789ab-ba9876543210``: method, weights, options; fit for a file or an identifier."""
    method = record.method
    return "-".join((slug(method.name), slug(method.weights_sha256[:_HASH_DIGITS]), _method_options(method)))


def slug(text: str) -> str:
    """Letters and digits of ASCII, everything else a hyphen."""
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in text)
    return kept.strip("-") or "unnamed"


def _parsed(parse: Callable[[str], float], text: str, column: str, row: int) -> float | None:
    try:
        return parse(text) if text else None
    except ValueError as error:
        raise BenchError(f"row {row}, column {column}: {error}, got {text!r}") from error


def _whole(text: str) -> int:
    if re.fullmatch(r"-?\d{1,19}", text, re.ASCII) is None or not -(2**63) <= int(text) < 2**63:
        raise ValueError("expected a whole number")
    return int(text)


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return one_line(value)
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return json.dumps(value)


def _common(record_id: str, record: RunRecord) -> dict[str, Any]:
    method, protocol = record.method, record.protocol
    return {
        "method": one_line(method.name),
        "weights_label": one_line(method.weights_label),
        "feature_dim": method.feature_dim,
        "weights_sha256": one_line(method.weights_sha256)[:_HASH_DIGITS],
        "method_options": _method_options(method),
        **_data(record.dataset),
        "protocol": one_line(protocol.name),
        "preset": one_line(protocol.preset),
        "protocol_version": protocol.version,
        "protocol_options": _short_hash(protocol.options),
        "seed": record.seed,
        "status": record.status,
        "reason": one_line(record.reason or ""),
        "record": record_id,
    }


def _measured(record: RunRecord) -> list[tuple[Any, ...]]:
    """In the order of ``_MEASURED``; of a failed record one row that says nothing."""
    if record.status == "failed":
        return [("", "", None, None, None, None, None, "", "")]
    return [
        (
            one_line(part.metric),
            condition_text(part.condition),
            part.value,
            part.low,
            part.high,
            part.std,
            part.count,
            one_line(part.unit),
            part.direction,
        )
        for part in record.metrics
    ]


def _method_options(method: MethodPart) -> str:
    rounded = {"options": method.options, "feature_dtype": method.feature_dtype}
    return _short_hash(method.options if method.feature_dtype == "float32" else rounded)


def _data(dataset: DatasetPart | None) -> dict[str, Any]:
    if dataset is None:
        return {"dataset": NO_DATA, "tier": NO_DATA, "landmarks": 0, "dataset_content": NO_DATA}
    return {
        "dataset": one_line(dataset.name),
        "tier": dataset.tier,
        "landmarks": dataset.landmarks,
        "dataset_content": _short_hash(_content(dataset)),
    }


def _content(dataset: DatasetPart) -> dict[str, Any]:
    return dataset.model_dump(
        mode="json", include={"options", "preprocessing", "splits", "fingerprints", "landmarks"}
    )


def _short_hash(value: Any) -> str:
    return content_hash(value)[:_HASH_DIGITS]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    # objects: what pandas takes for texts depends on its version, and on whether pyarrow is installed
    texts = dict.fromkeys(COLUMNS, "object")
    kinds = texts | dict.fromkeys(INTEGERS, "Int64") | dict.fromkeys(FLOATS, "float64")
    return frame.astype({column: kind for column, kind in kinds.items() if column in frame})
