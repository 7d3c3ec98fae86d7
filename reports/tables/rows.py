"""The numbers of a paper, as it prints them: ``reports/published/<paper>.csv``.

Columns: ``table`` (its name here), ``method`` and ``network`` (the paper's words), ``dim`` (channels of the features),
``pretrained_on``, ``protocol`` (kind of measurement), ``dataset``, ``metric``, ``annotations`` (annotated images that
are learned from), ``setting`` (``key=value`` pairs, parted by semicolons), ``value`` and ``std`` (every printed digit;
empty: plotted only), ``better``, ``quoted`` (``yes``: the paper has it from another one) and ``note``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.resources import files

from bench.tables import Cell, CellRun, Table

QUOTED = "quoted there from another paper"

_SHOWN_IN_ROWS = ("method", "network", "dim", "pretrained_on")
_SHOWN_IN_COLUMNS = ("metric", "dataset", "annotations")
_NOT_SHOWN = (
    "printed_as",
    "experiment",
    "supervised",
    "unit",
    "in_the_wild",
    "pretrain_fraction_pct",
    "batch",
)
_WORDS = {
    "iod_error_pct": "error, % IOD",
    "mean_pixel_error": "error, px of 70",
    "pck_pct": "PCK, %",
    "miou_fraction": "mean IoU",
    "pixel_accuracy_pct": "pixel accuracy, %",
    "acc_within_6px_pct": "within 6 px, %",
    "acc_at_20px_pct": "within 20 px, %",
    "accuracy_curve": "within d px, %",
    "params_M": "parameters, M",
    "network_size_MB": "network, MB",
    "memory_MB": "activations, MB",
    "GFLOPs_as_printed": "regressor, GMACs",
}
_SETTINGS = {
    "proj_head_out_dim": "head",
    "stage1_objective": "stage 1",
    "stage2_objective": "stage 2",
    "backbone_fixed": "frozen",
    "regressor_train": "regressor on",
    "n_points": "points",
    "tps_aug": "warps",
    "unsup_finetune": "tuned",
}
"""Keys that are told in other words."""


@dataclass(frozen=True)
class Row:
    """One line of the file."""

    table: str
    method: str
    network: str
    dim: str
    pretrained_on: str
    protocol: str
    dataset: str
    metric: str
    annotations: str
    setting: str
    value: str
    std: str
    better: str
    quoted: str
    note: str

    @cached_property
    def settings(self) -> Mapping[str, str]:
        pairs = (pair.partition("=") for pair in self.setting.split(";") if pair)
        return {key: value for key, _, value in pairs}

    @property
    def count(self) -> int:
        """Annotated images that are learned from."""
        return int(self.annotations)


def read_rows(paper: str) -> tuple[Row, ...]:
    """All rows of a paper's file, in its order."""
    text = (files("reports") / "published" / f"{paper}.csv").read_text(encoding="utf-8")
    names = [field.name for field in fields(Row)]
    return tuple(Row(**{name: line[name] for name in names}) for line in csv.DictReader(text.splitlines()))


Recipe = Callable[[Row], CellRun | None]
Barriers = Callable[[Row], Sequence[str]]


def tables_of(
    paper: str,
    rows: Sequence[Row],
    titles: Mapping[str, str],
    recipe: Recipe,
    barriers: Barriers = lambda _: (),
) -> tuple[Table, ...]:
    """The tables in the order of ``titles``, whose keys are their names."""
    return tuple(
        _table(f"{paper}:{name}", title, [row for row in rows if row.table == name], recipe, barriers)
        for name, title in titles.items()
    )


def copied(rows: Sequence[Row], source: str, name: str) -> tuple[Row, ...]:
    """The rows of a table once more under another name, for a figure that plots it."""
    return tuple(replace(row, table=name) for row in rows if row.table == source)


def _table(name: str, title: str, rows: Sequence[Row], recipe: Recipe, barriers: Barriers) -> Table:
    in_rows = _varying(rows, _SHOWN_IN_ROWS) or ("method",)
    in_columns = _varying(rows, _SHOWN_IN_COLUMNS)
    settings = [
        key for key in dict.fromkeys(k for row in rows for k in row.settings) if key not in _NOT_SHOWN
    ]
    shown = [key for key in settings if len({row.settings.get(key) for row in rows}) > 1]
    cells = []
    for row in rows:
        run = recipe(row)
        because = list(barriers(row))
        if row.quoted:
            because.insert(0, QUOTED)
        if run is None and not because:
            because.append("not a method of ours")
        cells.append(
            Cell(
                row=", ".join(_words(row, key) for key in in_rows if getattr(row, key)),
                column=", ".join(
                    [
                        *(_words(row, key) for key in in_columns if getattr(row, key)),
                        *(
                            f"{_SETTINGS.get(key, key)} {row.settings[key]}"
                            for key in shown
                            if key in row.settings
                        ),
                    ]
                )
                or _words(row, "metric"),
                method=row.method,
                value=row.value,
                std=row.std,
                run=run,
                barriers=tuple(because),
                notes=(row.note,) if row.note else (),
            )
        )
    return Table(
        name,
        title,
        tuple(cells),
        metrics=tuple(dict.fromkeys(_words(row, "metric") for row in rows)),
        datasets=tuple(dict.fromkeys(row.dataset for row in rows if row.dataset)),
    )


def _varying(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if len({getattr(row, name) for row in rows}) > 1)


def _words(row: Row, name: str) -> str:
    text: str = getattr(row, name)
    if name == "dim":
        return f"{text}-d"
    if name == "annotations":
        return f"n = {text}"
    if name == "pretrained_on":
        return f"on {text}"
    return _WORDS.get(text, text) if name == "metric" else text
