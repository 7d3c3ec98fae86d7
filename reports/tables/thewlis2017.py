"""Thewlis et al., factorized spatial embeddings, ICCV 2017, and its supplement.

The regressor of its cells is the paper's, Adam under warps: the detector reads ten views of each annotated image, and
those of all counts and draws are the same. Later papers, and ours elsewhere, solve it in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.tables import CellRun, Paper, Table
from reports.tables.measurements import DATASETS, discovered, supervised_landmarks
from reports.tables.rows import Row, copied, read_rows, tables_of
from reports.tables.weights import supervised, thewlis

TITLES = {
    "table1": "Number of discovered landmarks",
    "table2": "Against supervised detectors",
    "table3": "Against supervised detectors",
    "table4": "Few annotations",
    "table5": "Against supervised detectors",
    "sec4.3": "Few annotations, in the text",
    "supp-table2": "Few annotations, from scratch",
    "supp-fig1": "The same, plotted",
    "supp-table3": "Face segmentation",
    "supp-table4": "The same, few annotations",
}
_SUPPORTS = (1, 5, 10, 20)
_FRAME: dict[str, Any] = {"preprocessing": "square-96", "image_size": 80, "margin": 10}
"""100 pixels, cropped to 80 (supplement, section 2)."""

_ALL_OF_AFLW = 10122


def _recipe(row: Row) -> CellRun | None:
    if row.method == "Mean landmark location":
        return CellRun("mean-shape", "regression", "nme_interocular", dataset="aflw-m", **_FRAME)
    if row.method == "Supervised-from-scratch":
        return _supervised(row)
    if row.protocol == "segmentation":
        return _segmentation(row)
    return _discovered(row) if row.method == "Thewlis17" else None


def _discovered(row: Row) -> CellRun:
    finetuned = {"AFLW_M": "aflw-m", "300W": "300w"}.get(row.dataset) if ">" in row.pretrained_on else None
    weights = thewlis(int(row.settings["K"]), finetuned_on=finetuned)
    # Table 1 also fits the regressor on CelebA's own annotations.
    split = "pretrain" if row.settings.get("regressor_train") == "CelebA" else None
    return discovered(
        row, "thewlis", weights, _SUPPORTS, train_split=split, paper_options=("solver=adam",), **_FRAME
    )


def _supervised(row: Row) -> CellRun:
    network = "pooled" if "3pools" in row.network else "smallnet"
    few = None if row.annotations in ("", str(_ALL_OF_AFLW)) else row.count
    return supervised_landmarks(row, supervised(network, "aflw-m", 5, few), **_FRAME)


def _segmentation(row: Row) -> CellRun:
    scratch = row.method == "From scratch"
    finetune = scratch or "frozen" not in row.method
    return CellRun(
        "random" if scratch else "thewlis",
        "segmentation",
        "pixel_accuracy",
        condition={"annotations": row.count if row.annotations else 2000},
        dataset=DATASETS[row.dataset],
        preprocessing="square-96",
        method_options=("network=thewlis", 'options={"landmarks":50}') if scratch else (),
        paper_preset="parsing",
        protocol_options=(f"finetune={str(finetune).lower()}",),
        weights=None if scratch else thewlis(50),
    )


def _barriers(row: Row) -> Sequence[str]:
    barriers: list[str] = []
    if "tight crop" in row.pretrained_on:
        barriers.append("the tight crops of CelebA that it was fine-tuned on first are not published")
    if row.protocol == "segmentation":
        barriers.append("optimiser, loss and output size are not published")
    if row.settings.get("epoch") in ("5", "30"):
        barriers.append("read after few epochs of a schedule that is not published")
    if row.settings.get("train") == "CelebA+AFLW":
        barriers.append("trained on CelebA's annotations too")
    return barriers


class Thewlis2017(Paper):
    """All results tables of paper and supplement, and the numbers in its text."""

    name: ClassVar[str] = "thewlis2017"
    summary: ClassVar[str] = "Landmarks discovered by factorised spatial embeddings"
    reference: ClassVar[str] = (
        "Thewlis, Bilen, Vedaldi: Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017"
    )
    cited_as: ClassVar[str] = "Thewlis et al., ICCV 2017"

    def tables(self) -> tuple[Table, ...]:
        rows = read_rows(self.name)
        rows = (*rows, *copied(rows, "supp-table2", "supp-fig1"))
        return tables_of(self.name, rows, TITLES, _recipe, _barriers)
