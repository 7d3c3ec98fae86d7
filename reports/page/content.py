"""What the page's script reads: every value and every record, each distinct thing written once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.record import DatasetPart, MethodPart, RunRecord
from reports.frame import NO_DATA, QUESTION, condition_text, one_line, rows_of
from reports.page.facts import MAX_FACTS, Fact, cut, facts
from reports.page.questions import Question, question_key

_LARGEST_EXACT = 2**53
_VALUE_COLUMNS = ("text", "spread", "count", "rank", "rank_low", "rank_high")


class Pool:
    """Equal things get equal numbers, and are written once."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def add(self, item: Any) -> int:
        """The item's number."""
        key = json.dumps(item, sort_keys=True)
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(item)
        return self._places[key]


def page_data(
    values: pd.DataFrame,
    means: pd.DataFrame,
    records: Mapping[str, RunRecord],
    told_apart: Mapping[Question, str],
) -> dict[str, Any]:
    """Everything that the leaderboard and the provenance of its numbers show.

    Args:
        values: As of ``reports.page.values.with_texts``; the rows of a record together, in its own order.
        means: As of ``reports.page.values.seed_means``.
        records: By id; those that ``values`` has.
        told_apart: Of every question, as of ``reports.page.questions``.

    Returns:
        ``records``: a list each; ``values``: columns of equal length, the rows of one record after those of another;
        ``means``: such columns, and ``place``, that of the first seed's value within its record;
        ``pools``: what their numbers stand for.
    """
    names = ("method", "protocol", "dataset", "metric", "condition", "question", "facts")
    pools = {name: Pool() for name in names}
    first = values.drop_duplicates("record")
    rows: list[list[Any]] = []
    for one in rows_of(first[["record", *QUESTION, "method_options"]]):
        record, question = records[one["record"]], question_key(one)
        rows.append(
            [
                record.id,
                pools["method"].add(_method(record.method, one["method_options"])),
                pools["protocol"].add(_protocol(record, one["protocol_options"])),
                -1
                if record.dataset is None
                else pools["dataset"].add(_dataset(record, one["dataset_content"])),
                pools["question"].add([*map(str, question), told_apart[question]]),
                str(record.seed),
                cut(record.reason or "no reason is given") if record.status == "failed" else "",
                _command(record.provenance),
                pools["facts"].add(_environment(record.provenance)),
                facts({"seconds": record.provenance.get("seconds", {})}),
                [cut(note) for note in record.notes[:MAX_FACTS]],
            ]
        )
    order = {record: place for place, record in enumerate(first["record"])}
    return {
        "records": rows,
        "values": _values(values, order, records, pools),
        "means": {**_values(means, order, records, pools), "place": [int(place) for place in means["place"]]},
        "pools": {name: pool.items for name, pool in pools.items()},
    }


def _values(
    values: pd.DataFrame,
    order: Mapping[str, int],
    records: Mapping[str, RunRecord],
    pools: Mapping[str, Pool],
) -> dict[str, list[Any]]:
    measured = values[values["value"].notna()]
    declared = {
        record: {
            (one_line(part.metric), condition_text(part.condition)): part for part in records[record].metrics
        }
        for record in measured["record"].drop_duplicates()
    }
    metrics, conditions = [], []
    known: dict[tuple[str, ...], int] = {}
    for record, metric, condition in zip(
        measured["record"], measured["metric"], measured["condition"], strict=True
    ):
        part = declared[record][metric, condition]
        declaration = (metric, one_line(part.unit), part.direction, cut(part.definition), cut(part.averaging))
        if declaration not in known:
            known[declaration] = pools["metric"].add(list(declaration))
        metrics.append(known[declaration])
        conditions.append(pools["condition"].add(condition))
    columns = {name: _column(measured[name]) for name in _VALUE_COLUMNS}
    return {
        "record": [order[record] for record in measured["record"]],
        "metric": metrics,
        "condition": conditions,
        "value": [float(value) for value in measured["value"]],
        **columns,
    }


def _column(series: pd.Series) -> list[Any]:
    return [
        None if empty else _exact(value) for value, empty in zip(series.tolist(), series.isna(), strict=True)
    ]


def _exact(value: Any) -> Any:
    """A whole number that JavaScript would round is a text."""
    return str(value) if isinstance(value, int) and abs(value) > _LARGEST_EXACT else value


def _method(method: MethodPart, options_hash: str) -> dict[str, Any]:
    return {
        "name": one_line(method.name),
        "label": one_line(method.weights_label),
        "sha256": cut(one_line(method.weights_sha256)),
        "dim": str(method.feature_dim),
        "dtype": method.feature_dtype,
        "options": facts(method.options),
        "hash": options_hash,
    }


def _protocol(record: RunRecord, options_hash: str) -> dict[str, Any]:
    protocol = record.protocol
    return {
        "name": one_line(protocol.name),
        "version": str(protocol.version),
        "preset": one_line(protocol.preset),
        "options": facts(protocol.options),
        "baselines": [one_line(name) for name in protocol.baselines],
        "hash": options_hash,
    }


def _dataset(record: RunRecord, content_hash: str) -> dict[str, Any]:
    dataset = record.dataset
    if not isinstance(dataset, DatasetPart):
        return {"name": NO_DATA, "tier": NO_DATA}
    return {
        "name": one_line(dataset.name),
        "tier": dataset.tier,
        "landmarks": str(dataset.landmarks),
        "options": facts(dataset.options),
        "preprocessing": facts(dataset.preprocessing),
        "splits": [
            [
                cut(role),
                cut(split),
                str(dataset.counts.get(role, "")),
                cut(dataset.fingerprints.get(role, "")),
            ]
            for role, split in sorted(dataset.splits.items())[:MAX_FACTS]
        ],
        "hash": content_hash,
    }


def _command(provenance: Mapping[str, Any]) -> str:
    """The command as typed; its first word is the file that Python ran, which is ``bench`` for people."""
    words = provenance.get("command")
    if not isinstance(words, Sequence) or isinstance(words, str) or len(words) < 2:
        return ""
    program = str(words[0])
    program = "bench" if program in ("__main__.py", "bench", "bench.exe") else program
    return cut(shlex.join([program, *(str(word) for word in words[1:])]))


def _environment(provenance: Mapping[str, Any]) -> list[Fact]:
    rest = {name: value for name, value in provenance.items() if name not in ("command", "seconds")}
    first = [name for name in ("git", "device", "precision", "versions") if name in rest]
    return facts({name: rest[name] for name in [*first, *sorted(set(rest) - set(first))]})
