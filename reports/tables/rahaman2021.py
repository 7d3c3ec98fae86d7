"""Rahaman et al., 2021: pre-trained equivariant features, then landmarks on top of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.tables import CellRun, Paper, Table
from reports.tables.measurements import DATASETS, discovered
from reports.tables.rows import Row, read_rows, tables_of
from reports.tables.weights import rahaman

TITLES = {
    "table1": "Accuracy of joints",
    "table2": "The same, few annotations",
    "table3": "Few annotations, cats",
    "table4": "Landmark regression",
    "table5": "Few annotations, faces",
    "table6": "Ablation: end-to-end training",
    "fig1": "Equivariance, trained end-to-end",
    "fig2": "Equivariance, pre-trained",
    "fig6": "Accuracy curve of regressed landmarks",
}
_END_TO_END = "End-to-end"
_PRETRAINED_ON = {"BBCPose": "bbcpose", "CatHead": "cat-head", "MAFL": "celeba"}
_DEFAULT_LANDMARKS = 50
_SUPPORTS = {
    "BBCPose": (5, 10, 50, 100, 500),
    "CatHead": (5, 10, 100, 500, 1000),
    "MAFL": (1, 5, 10),
}
_PARTS = {
    "head": ("head",),
    "wrist": ("left_wrist", "right_wrist"),
    "elbow": ("left_elbow", "right_elbow"),
    "shoulder": ("left_shoulder", "right_shoulder"),
}


def _recipe(row: Row) -> CellRun | None:
    end_to_end = row.method.startswith(_END_TO_END)
    if not end_to_end and row.method != "Rahaman21":
        return None
    landmarks = int(row.settings.get("K", _DEFAULT_LANDMARKS))
    weights = rahaman(_PRETRAINED_ON[row.dataset], landmarks, end_to_end=end_to_end)
    frame: dict[str, Any] = {
        "preprocessing": "square-96",
        # 100 px do not halve four times; everything else is seen at 128.
        "image_size": 96 if row.dataset == "CatHead" else 128,
        "dataset_options": ("crop=loose",) if row.dataset == "BBCPose" else (),
    }
    if row.protocol == "equivariance_accuracy":
        layer = row.settings["feature"].removeprefix("Layer ")[0]
        return CellRun(
            "rahaman",
            "equivariance",
            "equivariance_acc@20px",
            dataset=DATASETS[row.dataset],
            weights=weights,
            method_options=(f"layer={layer}",),
            **frame,
        )
    frame["paper_options"] = ("alpha=0.1",)
    if row.protocol == "accuracy_curve":
        frame |= {"metric": "accuracy_px128", "condition": {"distance": 6}}
    elif row.protocol == "accuracy_at_6px":
        frame |= _accuracy(row)
    return discovered(row, "rahaman", weights, _SUPPORTS[row.dataset], **frame)


def _accuracy(row: Row) -> dict[str, Any]:
    """Within 6 px: of a part, whose left and right are averaged, or the mean over the landmarks."""
    if row.settings["part"] == "avg":
        few = row.count in _SUPPORTS[row.dataset]
        return {"metric": "accuracy_6px", "condition": {"annotations": row.count} if few else {}}
    first, *others = ({"landmark": name} for name in _PARTS[row.settings["part"]])
    return {"metric": "accuracy_6px", "condition": first, "also": tuple(others)}


def _barriers(row: Row) -> Sequence[str]:
    if row.protocol == "equivariance_accuracy":
        return ("the ranges of the deformations are not published",)
    if row.dataset == "CatHead" and row.network:
        return ("the paper's 100 px do not fit the network it describes; ours sees 96",)
    return ()


class Rahaman2021(Paper):
    """All tables, and the plotted figures."""

    name: ClassVar[str] = "rahaman2021"
    summary: ClassVar[str] = "Landmarks on features that were pre-trained to be equivariant"
    reference: ClassVar[str] = (
        "Rahaman et al.: Pretrained equivariant features improve unsupervised landmark discovery, 2021"
    )
    cited_as: ClassVar[str] = "Rahaman et al., 2021"

    def tables(self) -> tuple[Table, ...]:
        return tables_of(self.name, read_rows(self.name), TITLES, _recipe, _barriers)
