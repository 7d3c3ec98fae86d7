"""What tells apart the questions that look alike: the same protocol on the same data set, asked in several ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from bench.record import RunRecord
from reports.frame import QUESTION, rows_of
from reports.page.facts import facts

Question = tuple[object, ...]

_SHOWN = 3


def question_key(row: Mapping[str, object]) -> Question:
    """The question that a row of the frame answers, as a key."""
    return tuple(row[column] for column in QUESTION)


def distinctions(values: pd.DataFrame, records: Mapping[str, RunRecord]) -> dict[Question, str]:
    """For each question the options in which it differs from its namesakes, e.g. ``epochs 6, head conv``.

    Empty where it has none, or where its preset already tells it from them.
    """
    firsts = values.drop_duplicates(list(QUESTION))
    namesakes: dict[tuple[str, str], list[Question]] = defaultdict(list)
    asked: dict[Question, dict[str, str]] = {}
    presets: dict[Question, str] = {}
    for row in rows_of(firsts[[*QUESTION, "preset", "record"]]):
        question = question_key(row)
        namesakes[row["protocol"], row["dataset"]].append(question)
        asked[question] = _asked(records[row["record"]]) | {"data": str(row["dataset_content"])}
        presets[question] = row["preset"]
    return {
        question: ""
        if len({presets[other] for other in group}) == len(group)
        else _differing(asked[question], [asked[other] for other in group])
        for group in namesakes.values()
        for question in group
    }


def _asked(record: RunRecord) -> dict[str, str]:
    """Everything that is asked, by name; what says the same in fewer words stands before what says it in more."""
    dataset = record.dataset
    parts = (
        {}
        if dataset is None
        else {**dataset.options, **dataset.preprocessing, "landmarks": dataset.landmarks}
    )
    splits = {} if dataset is None else {f"{role} split": name for role, name in dataset.splits.items()}
    whole = {**record.protocol.options, **parts, **splits, "version": record.protocol.version}
    return dict(facts(whole))


def _differing(mine: dict[str, str], group: list[dict[str, str]]) -> str:
    absent = "not given"
    names = [name for name in mine if len({other.get(name, absent) for other in group}) > 1]
    told = [name for name in names if name != "data"] or names
    texts = [f"{name} {mine[name]}" for name in told[:_SHOWN]]
    return ", ".join(texts) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")
