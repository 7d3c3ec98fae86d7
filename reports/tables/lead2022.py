"""Karmali et al., LEAD, WACV 2022, and its supplement, whose four tables are the paper's tables 7 to 10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from bench.tables import CellRun, Paper, Table
from reports.tables.contrast_rows import by_protocol, contrast_cell, dve_cell
from reports.tables.measurements import DATASETS, NME
from reports.tables.rows import QUOTED, Row, read_rows, tables_of
from reports.tables.weights import byol_nmf, contrast, lead

TITLES = {
    "table1": "Landmark matching",
    "table2": "Landmark regression, hypercolumns",
    "table3": "Projection head",
    "table4": "Feature dimension",
    "table5": "Few annotations",
    "table6": "Objectives of the two stages",
    "table7": "Pre-training in the wild",
    "table8": "Regression on MAFL in the wild",
    "table9": "Bird landmarks",
    "table10": "Cost of the regressor",
    "fig9": "Faces of unseen sizes",
    "fig10": "The same, in pictures",
    "supp-table1": "Table 7",
    "supp-table2": "Table 8",
    "supp-table3": "Table 9",
    "supp-table4": "Table 10",
}
_HYPERCOLUMN = 3840


def _recipe(row: Row) -> CellRun | None:
    if row.protocol == "flops":
        hypercolumn = int(row.dim) == _HYPERCOLUMN
        features = ("features=hypercolumn",) if hypercolumn else ("features=compact", f"dim={row.dim}")
        options = ("backbone=resnet50", "width=64", *features)
        return CellRun("lead", "flops", "regressor_gmacs", method_options=options)
    if row.protocol == "scale":
        return _scale(row)
    return _METHODS.get(row.method, _lead)(row) if row.dim else None


def _factorised(row: Row) -> CellRun | None:
    return by_protocol(row, "lead", byol_nmf(int(row.dim)))


def _lead(row: Row) -> CellRun | None:
    dim = None if int(row.dim) == _HYPERCOLUMN else int(row.dim)
    weights = lead(
        row.pretrained_on,
        dim=dim,
        stage1=row.settings.get("stage1_objective", "LEAD"),
        stage2=row.settings.get("stage2_objective", "LEAD"),
        head=row.settings.get("proj_head_out_dim"),
    )
    options = ("features=hypercolumn",) if dim is None else ()
    return by_protocol(row, "lead", weights, method_options=options)


def _scale(row: Row) -> CellRun:
    dim = int(row.dim)
    return CellRun(
        "lead" if row.method == "LEAD" else "contrast",
        "scale",
        NME,
        condition={"scales": row.settings["zoom"]},
        dataset=DATASETS[row.dataset],
        preprocessing="square-96",
        weights=lead(dim=dim) if row.method == "LEAD" else contrast("ResNet50", dim=dim),
    )


_METHODS: dict[str, Callable[[Row], CellRun | None]] = {
    "CL": contrast_cell,
    "DVE": dve_cell,
    "BYOL+NMF": _factorised,
}


def _barriers(row: Row) -> Sequence[str]:
    copied = {"table1": ("CL", "DVE"), "table9": ("CL",), "supp-table3": ("CL",)}
    return (QUOTED,) if row.method in copied.get(row.table, ()) else ()


class Lead2022(Paper):
    """All tables, and figures 9 and 10."""

    name: ClassVar[str] = "lead2022"
    summary: ClassVar[str] = "LEAD: compact features aligned with those of a first stage"
    reference: ClassVar[str] = (
        "Karmali et al., LEAD: Self-Supervised Landmark Estimation by Aligning Distributions, WACV 2022"
    )
    cited_as: ClassVar[str] = "Karmali et al., WACV 2022"

    def tables(self) -> tuple[Table, ...]:
        return tables_of(self.name, read_rows(self.name), TITLES, _recipe, _barriers)
