"""What goes down, what goes across, and what makes a table of its own: the default, and ``--by KEY``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.errors import BenchError, did_you_mean
from reports.frame import CELL, NO_DATA, QUESTION, condition_pairs, natural_key, plain
from reports.grid import (
    ARROWS,
    IDENTITY,
    TIERS,
    Column,
    Grid,
    column_of,
    coverage_of,
    data_text,
    entries_of,
    failures,
    unit_lines,
)
from reports.pivot import questions
from reports.ranking import RANK_COLUMNS, with_ranks
from reports.seeds import over_seeds

FIXED_KEYS = ("dataset", "dimension", "protocol")
"""Keys of ``--by`` besides those of conditions."""

_PROTOCOL = ("protocol", "protocol_version", "protocol_options")
_DATA = ("dataset", "dataset_content")


def by_question(ranked: pd.DataFrame, baselines: Mapping[str, Sequence[str]]) -> Iterator[Grid]:
    """A grid per protocol and data set: metrics and their conditions across.

    Where every cell of a grid was measured with the same seeds, it shows the mean and the standard deviation over
    them; else every seed is a row of its own. Each is made when it is asked for.

    Args:
        baselines: Protocol -> methods without learning that every table should have; empty rows stand for those that
            were not measured.
    """
    for rows in questions(ranked.assign(asked=ranked["condition"])):
        wanted = baselines.get(str(rows["protocol"].iloc[0]), ())
        shown, told = _over_seeds(rows)
        grid = _grid(shown, ("metric", "condition"), _question_title(rows))
        present = set(rows["method"])
        absent = tuple(name for name in wanted if name not in present)
        yield replace(grid, absent=absent, notes=(*grid.notes, *told))


def _over_seeds(rows: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of a question, ranked, as they are shown, and what has to be said of them."""
    measured = rows["value"].notna()
    averaged, told = over_seeds(rows[measured], (*IDENTITY, "metric", "condition"))
    if len(averaged) == measured.sum():
        return rows, (told,) if told else ()
    again = with_ranks(averaged.drop(columns=list(RANK_COLUMNS)))
    failed = rows["status"] == "failed"
    gaps = rows[~measured & ~failed].assign(seed=averaged["seed"].iloc[0])
    return pd.concat([again, gaps, rows[failed]]), (told,)


def by_key(ranked: pd.DataFrame, key: str) -> list[Grid]:
    """Grids with the values of one key across, as papers print them; what lacks the key is left out and counted.

    Where every cell of a grid was measured with the same seeds, it shows the mean and the standard deviation over
    them; else every seed is a row of its own.

    Args:
        key: ``dataset``, ``dimension``, ``protocol``, or a key of a condition such as ``annotations``.

    Raises:
        BenchError: for a key that nothing has.
    """
    frame = ranked.drop(columns=list(RANK_COLUMNS)).assign(across="", asked=ranked["condition"])
    measured = frame["value"].notna()
    if key not in FIXED_KEYS:
        parts = {text: _without(text, key) for text in set(frame["condition"])}
        frame["across"] = frame["condition"].map(lambda text: parts[text][0])
        frame["condition"] = frame["condition"].map(lambda text: parts[text][1])
        kept = frame["across"] != ""
        if not kept.any():
            known = {name for text in set(ranked["condition"]) for name, _ in condition_pairs(text)}
            raise BenchError(
                f"no value has a condition called {key!r}", hint=did_you_mean(key, {*known, *FIXED_KEYS})
            )
    else:
        kept = measured
    left_out = int((measured & ~kept).sum())
    tables, across, identity = _split(key)
    values, failed = frame[kept], frame[frame["status"] == "failed"]
    grids = []
    parted = values.groupby(list(tables), dropna=False)
    for _, rows in sorted(parted, key=lambda item: [natural_key(str(part)) for part in item[0]]):
        asked = [name for name in tables if name in QUESTION]
        same = (failed[asked] == rows[asked].iloc[0]).all(axis=1)
        averaged, told = over_seeds(rows, list(dict.fromkeys((*IDENTITY, *across))))
        ranks = with_ranks(averaged, cell=(*CELL, *across))
        down = _telling(averaged, identity, across)
        grid = _grid(pd.concat([ranks, failed[same]]), across, _title(rows, key), down)
        notes = [*grid.notes, told] if told else list(grid.notes)
        if left_out:
            notes.append(f"values without {key}, not shown in any table: {left_out}")
        grids.append(replace(grid, notes=tuple(notes)))
    return grids


def _split(key: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What makes a table, what goes across, what goes down."""
    value = ("metric", "condition", "unit", "direction")
    if key == "dataset":
        return (*_PROTOCOL, *value), (*_DATA, "tier", "landmarks"), IDENTITY
    if key == "protocol":
        return _DATA, (*_PROTOCOL, *value), IDENTITY
    if key == "dimension":
        # other dimensions are other trainings of one method
        return (*QUESTION, *value), ("feature_dim",), ("method", "seed")
    return (*QUESTION, *value), ("across",), IDENTITY


def _grid(
    rows: pd.DataFrame,
    across: Sequence[str],
    title: tuple[str, str],
    identity: Sequence[str] = IDENTITY,
) -> Grid:
    measured = rows[rows["value"].notna()]
    columns = _columns(measured, across)
    places = {column.key: place for place, column in enumerate(columns)}
    keys = zip(*(plain(rows[name]) for name in across), strict=True)
    gone = rows["value"].isna()
    labels, entries = entries_of(
        rows,
        [-1 if missing else places[key] for key, missing in zip(keys, gone, strict=True)],
        len(columns),
        identity,
    )
    failed = int((rows["status"] == "failed").sum())
    return Grid(
        title=title[0],
        details=title[1],
        labels=labels,
        columns=columns,
        entries=entries,
        coverage=coverage_of(entries, failed),
        units=unit_lines(measured),
        notes=failures(rows),
    )


def _telling(rows: pd.DataFrame, identity: Sequence[str], across: Sequence[str]) -> tuple[str, ...]:
    """An identity under which no two values share a cell: the given one, and no more of the rest than it takes."""
    found = tuple(identity)
    for name in ("weights_label", "weights_sha256", "method_options"):
        if name not in found and rows.duplicated([*found, *across]).any():
            found = (*found, name)
    return found


def _columns(measured: pd.DataFrame, across: Sequence[str]) -> tuple[Column, ...]:
    """Metrics in the protocol's own order, everything else in natural order."""
    parts: dict[tuple[Any, ...], tuple[dict[str, Any], list[float]]] = {}
    names = list(dict.fromkeys((*across, *_TOLD)))
    for values in zip(*(plain(measured[name]) for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        parts.setdefault(tuple(row[name] for name in across), (row, []))[1].append(row["value"])
    metrics = {
        name: place for place, name in enumerate(dict.fromkeys(row["metric"] for row, _ in parts.values()))
    }

    def order(key: tuple[Any, ...]) -> tuple[Any, ...]:
        row, _ = parts[key]
        first = (row["protocol"] if "protocol" in across else "", metrics[row["metric"]])
        return (
            *first,
            *(natural_key(str(row[name])) for name in across if name not in ("protocol", "metric")),
        )

    headings = {key: _heading(row, across) for key, (row, _) in parts.items()}
    counts = Counter(headings.values())
    for key, (row, _) in parts.items():
        group, name = headings[key]
        if counts[group, name] > 1:  # namesakes, such as two versions of one data set
            hashes = (str(row[column]) for column in _APART if column in across)
            headings[key] = group, f"{name} {' '.join(hashes)}".strip()
    return tuple(column_of(key, headings[key], *parts[key]) for key in sorted(parts, key=order))


_TOLD = ("protocol", "dataset", "tier", "metric", "condition", "asked", "direction", "value")
_APART = ("protocol_version", "protocol_options", "dataset_content")


def _heading(row: Mapping[str, Any], across: Sequence[str]) -> tuple[str, str]:
    metric = f"{row['metric']} {ARROWS[row['direction']]}"
    if "protocol" in across:
        return f"{row['protocol']}: {metric}", row["condition"]
    if "metric" in across:
        return metric, row["condition"]
    if "dataset" in across:
        return metric, f"{row['dataset']} ({row['tier']})" if row["dataset"] != NO_DATA else "no data"
    if "feature_dim" in across:
        return metric, f"{row['feature_dim']}-d"
    return metric, row["across"]


def _question_title(rows: pd.DataFrame) -> tuple[str, str]:
    row = rows.iloc[0]
    data = data_text(row)
    details = f"protocol options {row['protocol_options']}"
    return (
        _asked(rows) + (f" on {data}" if data else ""),
        details + (f", data {row['dataset_content']}" if data else ""),
    )


def _title(rows: pd.DataFrame, key: str) -> tuple[str, str]:
    row = rows.iloc[0]
    if key == "protocol":
        return data_text(row) or "no data", "" if row[
            "dataset"
        ] == NO_DATA else f"data {row['dataset_content']}"
    what = f"{row['metric']} {row['condition']}".strip()
    if key == "dataset":
        tiers = "; ".join(TIERS.get(tier, tier) for tier in sorted(set(rows["tier"]) - {NO_DATA}))
        return (
            f"{_asked(rows)}, {what}, by data set" + (f" ({tiers})" if tiers else ""),
            f"protocol options {row['protocol_options']}",
        )
    title, details = _question_title(rows)
    return f"{title}; {what}, by {key}", details


def _asked(rows: pd.DataFrame) -> str:
    presets = "/".join(sorted(set(rows["preset"])))
    return f"{rows['protocol'].iloc[0]} ({presets}, version {rows['protocol_version'].iloc[0]})"


def _without(condition: str, key: str) -> tuple[str, str]:
    """``key=value``, empty where there is none, and the rest of the condition."""
    pairs = condition_pairs(condition)
    return (
        next((f"{name}={value}" for name, value in pairs if name == key), ""),
        ",".join(f"{name}={value}" for name, value in pairs if name != key),
    )
