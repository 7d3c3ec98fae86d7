"""Records as one tidy table: a row for every value, and one for every failed record."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from bench.errors import BenchError, did_you_mean
from bench.record import DatasetPart, MetricPart, RunRecord, content_hash
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
    rows: list[dict[str, Any]] = []
    for record in sorted(records, key=lambda record: record.id):
        common = _common(record)
        if record.status == "ok":
            rows.extend(common | _measured(part) for part in record.metrics)
        else:
            rows.append(common)
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def to_csv(frame: pd.DataFrame) -> str:
    """Full precision, empty where there is no value, the same bytes on every platform."""
    return frame.to_csv(index=False, lineterminator="\n")


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
    empty = frame.isna()
    rows = frame.astype(object).where(~empty, None).to_dict(orient="records")
    return [{str(column): value for column, value in row.items()} for row in rows]


def condition_text(condition: dict[str, Any]) -> str:
    """Canonical text of a condition: ``annotations=10``; several are sorted by name and joined by commas."""
    return ",".join(f"{name}={_scalar_text(condition[name])}" for name in sorted(condition))


def natural_key(text: str) -> tuple[str | float, ...]:
    """Sorts the numbers within texts as numbers: ``annotations=5`` comes before ``annotations=10``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple(float(part) if i % 2 else part for i, part in enumerate(parts))


def question_of(record: RunRecord) -> tuple[Any, ...]:
    """What a run answers: its entries in the columns ``QUESTION``."""
    entries = _common(record)
    return tuple(entries[column] for column in QUESTION)


def one_line(text: str) -> str:
    """Without line breaks and control characters, which could break a table or drive a terminal."""
    return _CONTROL.sub(" ", text).strip()


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
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _common(record: RunRecord) -> dict[str, Any]:
    method, protocol = record.method, record.protocol
    return {
        "method": one_line(method.name),
        "weights_label": one_line(method.weights_label),
        "feature_dim": method.feature_dim,
        "weights_sha256": one_line(method.weights_sha256)[:_HASH_DIGITS],
        "method_options": _short_hash(
            method.options
            if method.feature_dtype == "float32"
            else {"options": method.options, "feature_dtype": method.feature_dtype}
        ),
        **_data(record.dataset),
        "protocol": one_line(protocol.name),
        "preset": one_line(protocol.preset),
        "protocol_version": protocol.version,
        "protocol_options": _short_hash(protocol.options),
        "seed": record.seed,
        "status": record.status,
        "reason": one_line(record.reason or ""),
        "record": record.id,
        # overwritten by every value
        "metric": "",
        "condition": "",
        "unit": "",
        "direction": "",
    }


def _measured(part: MetricPart) -> dict[str, Any]:
    return {
        "metric": one_line(part.metric),
        "condition": condition_text(part.condition),
        "value": part.value,
        "low": part.low,
        "high": part.high,
        "std": part.std,
        "count": part.count,
        "unit": one_line(part.unit),
        "direction": part.direction,
    }


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
    kinds = (
        dict.fromkeys(COLUMNS, "str") | dict.fromkeys(INTEGERS, "Int64") | dict.fromkeys(FLOATS, "float64")
    )
    return frame.astype(kinds)
