"""What ``bench runs`` prints."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.cache_folder import human
from bench.cli.printing import console, plain, visible
from bench.differences import ABSENT, Difference, RecordDifference, flat

if TYPE_CHECKING:
    from bench.pruning import Leftover
    from bench.record import MetricPart, RunRecord
    from bench.store import RunStore

_SHORTEST_ID = 8
_WIDE = 110  # characters, from which on the list has room for the weights
_COLUMN = 20
_FLEXIBLE = ("weights", "value")
_FEW = 12  # leftovers of a kind to name; a folder of thousands would fill the screen


@dataclass(frozen=True)
class Listed:
    """A record with when its file was written, in seconds since 1970."""

    record: RunRecord
    measured: float

    def content(self) -> dict[str, Any]:
        record = self.record
        main = record.metrics[0] if record.metrics else None
        return {
            "id": record.id,
            "status": record.status,
            "reason": record.reason,
            "method": record.method.model_dump(
                mode="json", include={"name", "weights_label", "weights_sha256"}
            ),
            "dataset": record.dataset and record.dataset.model_dump(mode="json", include={"name", "tier"}),
            "protocol": record.protocol.model_dump(mode="json", include={"name", "version", "preset"}),
            "seed": record.seed,
            "value": main and main.model_dump(mode="json", include={"metric", "condition", "value", "unit"}),
            "written": datetime.fromtimestamp(self.measured, UTC).isoformat(timespec="seconds"),
        }


def listed(record: RunRecord, store: RunStore) -> Listed:
    try:
        return Listed(record, (store.folder / f"{record.id}.json").stat().st_mtime)
    except FileNotFoundError:  # removed meanwhile
        return Listed(record, 0.0)


def print_list(rows: Sequence[Listed], *, of: int, folder: Path) -> None:
    out = console()
    if not rows:
        what = f"none of the {of} records in" if of else "no records in"
        out.print(f"{what} {plain(folder)}" + ("" if of else "; bench run measures one"), soft_wrap=True)
        return
    digits = distinct_digits([row.record.id for row in rows])
    columns: dict[str, list[str]] = {
        "id": [row.record.id[:digits] for row in rows],
        "method": [row.record.method.name for row in rows],
        "weights": [row.record.method.weights_label for row in rows],
        "data": ["" if row.record.dataset is None else row.record.dataset.name for row in rows],
        "protocol": [f"{row.record.protocol.name} {row.record.protocol.preset}" for row in rows],
        "seed": [str(row.record.seed) for row in rows],
        "value": [_main(row.record) for row in rows],
        "age": [_age(row.measured) for row in rows],
    }
    if out.width < _WIDE:
        del columns["weights"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        # what tells runs apart stays whole, the others share the rest of the line
        table.add_column(
            name, no_wrap=name not in _FLEXIBLE, max_width=None if name in _FLEXIBLE else _COLUMN
        )
    for number, row in enumerate(rows):
        style = "red" if row.record.status == "failed" else ""
        cells = (visible(texts[number]) for texts in columns.values())
        table.add_row(*(Text(cell, style, no_wrap=True, overflow="ellipsis") for cell in cells))
    out.print(table)
    failed = sum(row.record.status == "failed" for row in rows)
    out.print(f"{len(rows)} of {of} records" + (f", {failed} failed" if failed else ""))


def print_record(record: RunRecord, store: RunStore) -> None:
    from bench.cli.run import headline, result_table

    out = console()
    out.print(f"[bold]{record.id}[/bold] {record.status}")
    out.print(headline(record))
    if record.reason is not None:
        out.print(f"[red]{plain(record.reason)}[/red]")
    if record.metrics:
        out.print(result_table(record))
        for metric in {value.metric: value for value in record.metrics}.values():
            what = f"{plain(metric.metric)}: {plain(metric.definition)} ({plain(metric.averaging)})"
            out.print(f"[dim]{what}[/dim]")
    for note in record.notes:
        out.print(f"[dim]{plain(note)}[/dim]")
    if record.dataset is not None and record.dataset.tier == "procedural":
        out.print("[dim]Procedural data: not comparable with published numbers.[/dim]")
    for part, content in record.model_dump(
        mode="json", exclude={"metrics", "notes", "status", "reason"}
    ).items():
        leaves = flat(content) if isinstance(content, dict) else None
        if leaves:
            out.print(f"\n[bold]{part}[/bold]")
            out.print(
                Padding(_grid([(place, _text(value)) for place, value in leaves.items()]), (0, 0, 0, 2))
            )
        else:
            out.print(f"\n[bold]{part}[/bold] {plain(_text(content))}")
    out.print("\n[bold]files[/bold]")
    for file in store.files(record.id):
        out.print(f"  {plain(file)} ({human(file.stat().st_size)})", soft_wrap=True)


def print_difference(one: RunRecord, other: RunRecord, found: RecordDifference) -> None:
    out = console()
    if one.id == other.id:
        out.print(f"[bold]{one.id}[/bold]: the same run twice")
    sides = ("first", "second") if one.id == other.id else (one.id[:_SHORTEST_ID], other.id[:_SHORTEST_ID])
    for title, differences in (
        ("what can change a number", found.identity),
        ("what cannot", found.beside),
        ("provenance", found.provenance),
    ):
        if not differences:
            continue
        table = Table(title, *sides)
        for column in table.columns:
            column.overflow = "fold"
        for difference in differences:
            table.add_row(plain(difference.place), _side(difference.one), _side(difference.other))
        out.print(table)
    if not (found.identity or found.beside or found.provenance):
        changed = any(pair.one is None or pair.other is None or pair.change for pair in found.values)
        out.print("only values differ" if changed else "nothing differs")
    if not found.values:
        return
    table = Table("metric", "condition", *sides, "change")
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    for pair in found.values:
        condition = ", ".join(f"{key} {value}" for key, value in pair.declared.condition.items())
        change = pair.change
        table.add_row(
            plain(pair.declared.metric),
            plain(condition),
            _value(pair.one),
            _value(pair.other),
            "—" if change is None else f"{change:+.4g}" if change else "equal",
        )
    out.print(table)


def difference_content(found: RecordDifference) -> dict[str, Any]:
    """A place where a record has nothing lacks that record's key."""
    return {
        **{
            part: [_sides(difference) for difference in getattr(found, part)]
            for part in ("identity", "beside", "provenance")
        },
        "values": [
            {
                "metric": pair.declared.metric,
                "condition": pair.declared.condition,
                "unit": pair.declared.unit,
                "one": pair.one and pair.one.value,
                "other": pair.other and pair.other.value,
                "change": pair.change,
            }
            for pair in found.values
        ],
    }


def leftover_content(leftover: Leftover) -> dict[str, Any]:
    return {
        "kind": leftover.kind,
        "what": leftover.what,
        "bytes": leftover.bytes,
        "paths": [str(path) for path in leftover.paths],
    }


def print_leftovers(found: Sequence[Leftover], *, removed: bool) -> None:
    from bench.pruning import KINDS, MEANING

    out = console()
    if not found:
        out.print("nothing to remove")
        return
    for kind in KINDS:
        group = [leftover for leftover in found if leftover.kind == kind]
        if group:
            out.print(f"[bold]{kind}[/bold]: {len(group)} {MEANING[kind]}")
        for leftover in group[:_FEW]:
            out.print(f"  {plain(leftover.what)} [dim]({human(leftover.bytes)})[/dim]", soft_wrap=True)
        if len(group) > _FEW:
            out.print(f"  and {len(group) - _FEW} more; --json names all")
    total = human(sum(leftover.bytes for leftover in found))
    files = sum(len(leftover.paths) for leftover in found)
    if removed:
        out.print(f"removed {files} files and folders, {total}")
    else:
        out.print(f"{files} files and folders, {total}; nothing is removed without --yes")


def distinct_digits(ids: Sequence[str]) -> int:
    """How many digits tell all ids apart."""
    digits = _SHORTEST_ID
    while digits < 16 and len({one[:digits] for one in ids}) < len(ids):
        digits += 1
    return digits


def _main(record: RunRecord) -> str:
    if record.status == "failed":
        return f"failed: {record.reason or 'no reason'}"
    return f"{_value(record.metrics[0])} {record.metrics[0].metric}" if record.metrics else "—"


def _age(measured: float) -> str:
    seconds = max(0.0, time.time() - measured)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _grid(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(plain(name), plain(value))
    return grid


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _side(value: Any) -> str:
    return "[dim]—[/dim]" if value is ABSENT else plain(visible(_text(value)))


def _sides(difference: Difference) -> dict[str, Any]:
    sides = {"one": difference.one, "other": difference.other}
    return {"place": difference.place} | {key: side for key, side in sides.items() if side is not ABSENT}


def _value(part: MetricPart | None) -> str:
    return "—" if part is None else f"{part.value:.4g}"
