"""How a comparison of two runs is shown: a table for people, and the same for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.run_reference import StoredRun
from reports.compare_runs import LEVEL, Compared, Row, describe
from reports.frame import natural_key, one_line
from reports.grid import decimals

_ARROWS = {"lower": "↓", "higher": "↑"}
_NAMES = {"first": "A", "second": "B"}
_CONDITIONS_ABREAST = 5


def shown(found: Compared) -> RenderableType:
    """Title, all values, the first metric by landmark, and what the columns mean."""
    parts: list[RenderableType] = [_title(found), _values(found.rows)]
    if found.parts:
        parts += [Text(f"{one_line(found.parts[0].metric.metric)}, part by part", style="bold")]
        parts += _by_part(found.parts)
    return Group(*parts, _notes(found))


def as_json(found: Compared) -> dict[str, Any]:
    """Everything that is shown, in full precision."""
    record = found.first.record
    return {
        "first": describe(found.first),
        "second": describe(found.second),
        "protocol": record.protocol.name,
        "protocol_version": record.protocol.version,
        "dataset": record.dataset.name if record.dataset else None,
        "tier": record.dataset.tier if record.dataset else None,
        "seed": record.seed,
        "samples": found.samples,
        "resamples": found.resamples,
        "level": LEVEL,
        "values": [_row_as_json(row) for row in found.rows],
        "parts": [{"part": row.part, **_row_as_json(row)} for row in found.parts],
        "left_out": [{"value": name, "reason": reason} for name, reason in found.left_out],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    result = row.result
    return {
        "metric": row.metric.metric,
        "condition": row.metric.condition,
        "unit": row.metric.unit,
        "direction": row.metric.direction,
        "first": row.first,
        "second": row.second,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "p_value": result.p_value,
        "p_corrected": row.p_corrected,
        "better": row.better,
        "samples": result.samples,
        "untested": result.untested,
    }


def _title(found: Compared) -> RenderableType:
    record = found.first.record
    data = ""
    if record.dataset is not None:
        data = f" on {one_line(record.dataset.name)} ({record.dataset.tier} data)"
    asked = f"{one_line(record.protocol.name)}{data}, {found.samples} samples"
    return Group(Text(asked, style="bold"), _named("A", found.first), _named("B", found.second))


def _named(letter: str, run: StoredRun) -> Text:
    method = run.record.method
    return Text.assemble(
        (f"{letter}  {one_line(method.name)}", "bold"),
        f", {one_line(method.weights_label)}, {method.feature_dim}-d, run {run.record.id}",
    )


def _values(rows: Sequence[Row]) -> Table:
    table = _table("metric")
    for row in rows:
        name = f"{one_line(row.metric.metric)} {_ARROWS[row.metric.direction]}"
        label = Text(name)
        if row.condition:
            label.append(f"\n{row.condition}", style="dim")
        table.add_row(label, *_cells(row, _digits([row])))
    return table


def _by_part(rows: Sequence[Row]) -> list[RenderableType]:
    conditions = sorted({row.condition for row in rows}, key=natural_key)
    digits = _digits(rows)
    if len(conditions) == 1:
        table = _table("part")
        for row in rows:
            table.add_row(Text(one_line(row.part or "")), *_cells(row, digits))
        return [table]
    return [
        _differences(rows, conditions[start : start + _CONDITIONS_ABREAST], digits)
        for start in range(0, len(conditions), _CONDITIONS_ABREAST)
    ]


def _differences(rows: Sequence[Row], conditions: Sequence[str], digits: int) -> Table:
    """Parts down, conditions across: B - A."""
    found = {(row.part, row.condition): row for row in rows}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("B − A", overflow="fold")
    for condition in conditions:
        table.add_column(Text(condition), justify="right", overflow="fold")
    for part in dict.fromkeys(row.part for row in rows):
        cells = []
        for condition in conditions:
            row = found.get((part, condition))
            text = "" if row is None else _signed(row.result.difference, digits)
            cells.append(Text(text + "*", style="bold") if row and row.better else Text(text + " "))
        table.add_row(Text(one_line(part or "")), *cells)
    return table


def _table(heading: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(heading, overflow="fold")
    for name in ("A", "B", "B − A", f"{LEVEL:.0%} interval", "p", "Holm p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("best", justify="center")
    return table


def _cells(row: Row, digits: int) -> list[Text]:
    result = row.result
    numbers = [f"{row.first:.{digits}f}", f"{row.second:.{digits}f}", _signed(result.difference, digits)]
    if result.low is None or result.high is None or result.p_value is None or row.p_corrected is None:
        return [*(Text(number) for number in numbers), Text("—"), Text("—"), Text("—"), Text("")]
    interval = f"{_signed(result.low, digits)} {_signed(result.high, digits)}"
    tests = [_p_text(result.p_value), _p_text(row.p_corrected)]
    style = "bold" if row.better else ""
    better = _NAMES[row.better] if row.better else ""
    return [Text(text, style=style) for text in (*numbers, interval, *tests, better)]


def _digits(rows: Sequence[Row]) -> int:
    return max(2, decimals(value for row in rows for value in (row.first, row.second)))


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def _p_text(value: float) -> str:
    return f"{value:.4f}" if value < 1 else "1"


def _notes(found: Compared) -> Text:
    marks = "bold, *" if found.parts else "bold"
    lines = [
        f"B − A with its {LEVEL:.0%} interval: paired bootstrap, {found.resamples} resamples.",
        f"p: two-sided. Holm p: corrected for all rows of its table; below {1 - LEVEL:.2g} one is better ({marks}).",
        "Samples count as independent. Several images of one person or video are not, and p is too small then.",
        "Nothing is said of another training: that takes runs of other seeds.",
    ]
    reasons = [row.result.untested for row in (*found.rows, *found.parts) if row.result.untested]
    lines += [f"—: not tested ({reason})." for reason in dict.fromkeys(reasons)]
    for reason in dict.fromkeys(reason for _, reason in found.left_out):
        names = [name for name, why in found.left_out if why == reason]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"Left out: {one_line(names[0])}{more} ({reason}).")
    return Text("\n".join(lines), style="dim")
