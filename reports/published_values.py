"""Numbers of records beside those that papers print for the same measurement, with a verdict each."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import Runs
from bench.tables import citation
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
    candidates = [
        record for record in runs.records if record.dataset is None or record.dataset.tier == "published"
    ]
    if not candidates:
        return []  # without torch, which takes half a gigabyte

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
