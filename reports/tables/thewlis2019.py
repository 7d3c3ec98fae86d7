"""Thewlis et al., descriptor vector exchange (DVE), ICCV 2019: the results that its repository logs.

The log has every digit; the repository's tables, like the papers that quote them, print two behind the point.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from bench.tables import CellRun, Paper, Table
from reports.tables.measurements import DATASETS, DVE_REGRESSOR, NME, PX70
from reports.tables.rows import Row, read_rows, tables_of
from reports.tables.weights import dve

TITLES = {
    "matching": "Landmark matching",
    "matching-tuned": "The same, tuned without labels",
    "regression": "Landmark regression",
    "regression-tuned": "The same, tuned without labels",
    "fewshot-tuned": "Few annotations, tuned",
}
_SPREAD = "the printed deviation is that of a population (ddof 0)"


def _recipe(row: Row) -> CellRun:
    finetuned = DATASETS[row.dataset] if ">" in row.pretrained_on else None
    settings: dict[str, Any] = {
        "dataset": DATASETS[row.dataset],
        "preprocessing": "contrast-96" if row.network == "Hourglass" else "dve-70",
        "weights": dve(row.network, row.dim, exchange=row.method == "DVE", finetuned_on=finetuned),
    }
    if row.protocol == "matching":
        condition = {"pairs": row.settings["identity"]}
        return CellRun("dve", "matching", PX70, condition=condition, paper_preset="dve", **settings)
    if row.protocol == "fewshot":
        return CellRun(
            "dve",
            "fewshot",
            NME,
            condition={"annotations": row.count},
            paper_preset="dve",
            protocol_options=("counts=[1,5,10,20]",),
            **settings,
        )
    return CellRun("dve", "regression", NME, paper_options=DVE_REGRESSOR, **settings)


def _as_printed(row: Row) -> Row:
    note = "; ".join(text for text in (row.note, _SPREAD if row.std else "") if text)
    std = f"{float(row.std):.2f}" if row.std else ""
    return replace(row, value=f"{float(row.value):.2f}", std=std, note=note)


class Thewlis2019(Paper):
    """The repository's log, by protocol."""

    name: ClassVar[str] = "thewlis2019"
    summary: ClassVar[str] = "DVE: descriptors exchanged between individuals (results of its repository)"
    reference: ClassVar[str] = (
        "Thewlis, Albanie, Bilen, Vedaldi: Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019"
    )
    cited_as: ClassVar[str] = "Thewlis et al., ICCV 2019, released log"

    def tables(self) -> tuple[Table, ...]:
        rows = [_as_printed(row) for row in read_rows(self.name)]
        return tables_of(self.name, rows, TITLES, _recipe)
