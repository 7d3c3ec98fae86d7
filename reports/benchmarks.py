"""The benchmark document: every measurement in tables, with what it took, as one Markdown file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench import registry
from bench.errors import BenchError
from bench.method import Method
from bench.record import RunRecord
from bench.report import Runs
from bench.shipped import ShippedWeights, shipped_entries
from reports.frame import frame_of, one_line
from reports.grid import TIERS, Entry, Grid
from reports.layout import by_question
from reports.markdown import markdown_table, markdown_text
from reports.markup import MARKS, markdown
from reports.pivot import questions
from reports.ranking import with_ranks

_CURVE = 12

COMMAND = "bench report --output docs/benchmarks.md"

_INTRODUCTION = f"""\
# Benchmarks

What the methods reach here, under one set of protocols. This page is made from the records of runs, by
`{COMMAND}`; it is not edited by hand. Equal records give an equal page.

- A section for each protocol, a table for each data set in it. Methods go down; metrics and their conditions go across.
- Only values that answer the same question are compared: the same protocol with the same options, on the same data.
- Rows marked as baseline have learned nothing. They stand last, and show what learning nothing gives.
- Results on procedural or own data are not comparable with numbers that papers print, and none stand beside them.
"""


def markdown_document(runs: Runs) -> str:
    """Title, what was measured on what, a section for each protocol, costs of the weights, and provenance.

    Equal records in any order give equal bytes.

    Raises:
        BenchError: where there are no records.
    """
    records = sorted(runs.records, key=lambda record: record.id)
    if not records:
        raise BenchError(
            "no runs to write of", hint="Measure one with: bench run --method NAME --protocol NAME"
        )
    ranked = with_ranks(frame_of(records))
    baselines = {part.name: tuple(part.baselines) for part in (record.protocol for record in records)}
    parts = [_INTRODUCTION, "\n".join(f"- {line}" for line in MARKS) + "\n", _data(ranked), _coverage(ranked)]
    for protocol, rows in ranked.groupby("protocol", sort=True):
        name = str(protocol)
        grids = [grid for question in questions(rows) for grid in _tables(question, baselines)]
        parts.append(f"## {markdown_text(name)}\n")
        marked = [_baselines_last(grid, baselines[name]) for grid in grids]
        parts.append(markdown(marked, level=3, baselines=baselines[name]))
    parts += [_weights(records), _provenance(records)]
    return "\n".join(part for part in parts if part)


def _tables(rows: pd.DataFrame, baselines: Mapping[str, Sequence[str]]) -> list[Grid]:
    """A table for each metric that has several conditions, and before them one for all that have a single value.

    A metric of very many conditions is a curve, and no table of it could be read: it is named and left to a figure.
    """
    counts = rows[rows["value"].notna()].groupby("metric", sort=False)["condition"].nunique()
    single = [name for name, count in counts.items() if count == 1]
    curves = [
        f"{name}: a curve of {count} points, not shown" for name, count in counts.items() if count > _CURVE
    ]
    several = [[name] for name, count in counts.items() if 1 < count <= _CURVE]
    grids = []
    for names in [*([single] if single or not several else []), *several]:
        # a method without these metrics keeps its row, and its gaps count
        (grid,) = by_question(rows.assign(value=rows["value"].where(rows["metric"].isin(names))), baselines)
        title = f"{grid.title}; {names[0]}" if names in several else grid.title
        grids.append(replace(grid, title=title))
    grids[0] = replace(grids[0], notes=(*grids[0].notes, *curves))
    return grids


def _baselines_last(grid: Grid, baselines: Sequence[str]) -> Grid:
    def is_baseline(entry: Entry) -> bool:
        return entry.method in baselines

    return replace(grid, entries=tuple(sorted(grid.entries, key=is_baseline)))


def _data(ranked: pd.DataFrame) -> str:
    """Which data sets, and what kind of data each is."""
    told = ranked[["dataset", "tier"]].drop_duplicates().sort_values(["tier", "dataset"])
    rows = [[name, TIERS[tier]] for name, tier in told.itertuples(index=False, name=None) if tier in TIERS]
    return _section("Data", ["data set", "kind"], rows)


def _coverage(ranked: pd.DataFrame) -> str:
    rows = []
    for (protocol, dataset), part in ranked.groupby(["protocol", "dataset"], sort=True):
        failed = part.loc[part["status"] == "failed", "record"].nunique()
        ok = part.loc[part["status"] == "ok", "record"].nunique()
        rows.append([protocol, dataset, part["method"].nunique(), part["seed"].nunique(), ok, failed])
    return _section("Coverage", ["protocol", "data set", "methods", "seeds", "runs", "failed runs"], rows)


def _weights(records: Iterable[RunRecord]) -> str:
    """What the weights cost that come with bench, of those that were measured."""
    used = {(record.method.name, record.method.weights_sha256) for record in records}
    found = [entry for name in sorted({name for name, _ in used}) for entry in _shipped(name)]
    rows = [
        [
            entry.method,
            entry.preset,
            f"{entry.images} images of {entry.dataset}",
            f"{entry.seconds / 60:.1f}",
            entry.device,
            f"{entry.bytes / 1e6:.1f}",
            entry.sha256[:12],
        ]
        for entry in found
        if (entry.method, entry.sha256) in used
    ]
    headings = ["method", "preset", "trained on", "minutes", "device", "MB", "sha256"]
    return _section("Training of the weights that come with bench", headings, rows) if rows else ""


def _shipped(name: str) -> tuple[ShippedWeights, ...]:
    if name not in registry.names("methods"):
        return ()
    method: Method = registry.load("methods", name)()
    return shipped_entries(method)


def _provenance(records: Iterable[RunRecord]) -> str:
    """With what the runs were made: how many by each set of versions and device."""
    counts: dict[tuple[str, ...], int] = {}
    for record in records:
        key = _made_with(record.provenance)
        counts[key] = counts.get(key, 0) + 1
    rows = [[*key, count] for key, count in sorted(counts.items())]
    return _section("Provenance", ["bench", "commit", "Python", "torch", "device", "system", "runs"], rows)


def _made_with(provenance: dict[str, Any]) -> tuple[str, ...]:
    """Of a file that anybody may have written: whatever is missing or of another shape is not known."""
    versions, git, device = (_dict(provenance.get(name)) for name in ("versions", "git", "device"))
    commit = str(git.get("commit", ""))[:12] + (" and changes" if git.get("dirty") else "")
    told = (
        versions.get("bench"),
        commit,
        versions.get("python"),
        versions.get("torch"),
        device.get("name"),
        provenance.get("os"),
    )
    return tuple(one_line(str(value)) if value else "unknown" for value in told)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _section(title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    escaped = [[markdown_text(str(value)) for value in row] for row in rows]
    numbers = {place for place in range(len(headings)) if all(isinstance(row[place], int) for row in rows)}
    table = markdown_table(headings, escaped, numbers)
    return f"## {title}\n\n{table}\n"
