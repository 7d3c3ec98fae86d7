"""Numbers of records beside those that papers print for the same measurement, with a verdict each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.record import RunRecord
from bench.report import Runs
from bench.tables import CellRun, all_tables, citation
from bench.verdict import Ours, Verdict
from reports.frame import condition_text, one_line


@dataclass(frozen=True)
class PublishedMatch:
    """A value of a record beside the number that a paper prints for it.

    Attributes:
        record: Its id.
        condition: As ``reports.frame.condition_text``; of several values whose mean is compared, joined by " + ".
        ours: In the unit of the printed number.
        printed, printed_std: Digit by digit as printed; the deviation is empty where there is none.
        unit: Of our metric.
        direction: ``lower`` or ``higher`` is better.
        table: Full name, e.g. ``cheng2021:table5``.
        row, column: Where in the table, in the paper's words.
        citation: E.g. "Karmali et al., WACV 2022, Table 5".
    """

    record: str
    method: str
    metric: str
    condition: str
    ours: Ours
    printed: str
    printed_std: str
    unit: str
    direction: str
    table: str
    row: str
    column: str
    citation: str
    verdict: Verdict


def published_matches(runs: Runs) -> list[PublishedMatch]:
    """Every printed number that a record measures too, by record, then in the papers' order.

    A record of procedural or own data matches none: no paper prints a number of it. Those that match and still
    cannot be compared say why in their verdict.
    """
    candidates = _candidates(runs)
    if not candidates:
        return []

    from bench.table_answers import answers  # noqa: PLC0415 - it brings torch, which no other report needs

    matches = []
    citations: dict[str, str] = {}
    for record, table, outcome in answers(sorted(candidates, key=lambda record: record.id)):
        assert outcome.ours is not None
        cell, part = outcome.cell, outcome.parts[0]
        if table.name not in citations:
            citations[table.name] = citation(table)
        matches.append(
            PublishedMatch(
                record=record.id,
                method=one_line(record.method.name),
                metric=one_line(part.metric),
                condition=" + ".join(condition_text(each.condition) for each in outcome.parts),
                ours=outcome.ours,
                printed=cell.value,
                printed_std=cell.std,
                unit=one_line(part.unit),
                direction=part.direction,
                table=table.name,
                row=cell.row,
                column=cell.column,
                citation=citations[table.name],
                verdict=outcome.verdict,
            )
        )
    return matches


def _candidates(runs: Runs) -> list[RunRecord]:
    """The records without which the answer is the same, left out: what is left needs torch, half a gigabyte of it."""
    known = [
        record for record in runs.records if record.dataset is None or record.dataset.tier == "published"
    ]
    if not known:
        return []
    asked: dict[tuple[str, str, str | None], set[tuple[str, ...]]] = {}
    for table in all_tables():
        for run in (cell.run for cell in table.cells if cell.value):
            if run is not None:
                place = (run.method, run.protocol, run.dataset)
                asked.setdefault(place, set()).add(_named_options(run))
    return [
        record
        for record in known
        if any(_has(record.method.options, named) for named in asked.get(_place(record), ()))
    ]


def _place(record: RunRecord) -> tuple[str, str, str | None]:
    dataset = None if record.dataset is None else record.dataset.name.partition(":")[0].strip()
    return (record.method.name, record.protocol.name, dataset)


def _named_options(run: CellRun) -> tuple[str, ...]:
    """Those that tell networks apart whose weights do not count; with weights, the whole recipe is compared later."""
    return () if run.dataset else tuple(run.method_options)


def _has(options: Mapping[str, Any], named: tuple[str, ...]) -> bool:
    """Whether options are those that are named, ``key=value`` each, as far as a text can tell."""
    for item in named:
        key, _, text = item.partition("=")
        if key in options and text not in (str(options[key]), json.dumps(options[key])):
            return False
    return True
