"""Cheng et al., ContrastLandmarks, ICCV 2021: the tables and figure 2 of the supplement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from bench.tables import CellRun, Paper, Table
from reports.tables.contrast_rows import TEST_SELECTION, baseline_cell, contrast_cell, dve_cell
from reports.tables.measurements import DATASETS, supervised_landmarks
from reports.tables.rows import QUOTED, Row, read_rows, tables_of
from reports.tables.weights import CONTRAST_NETWORKS, contrast, supervised

TITLES = {
    "table1": "All layers fine-tuned (conv4)",
    "table2": "Parameters and memory",
    "table3": "Resolution of the images",
    "table4": "Landmark matching",
    "table5": "Landmark regression",
    "table6": "Figure-ground segmentation of birds",
    "table7": "Few annotations",
    "table8": "Bird landmarks, few annotations",
    "table9": "Share of the unlabelled images",
    "fig2": "Matching by projection dimension",
}
_COSTS = {
    "params_M": "params_m",
    "network_size_MB": "network_size_mb",
    "memory_MB": "activation_proxy_mb",
}
_NETWORKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Hourglass": ("dve", ("network=hourglass", "dim=64")),
    **{
        printed: ("contrast", (f"backbone={name}", "width=64", "features=hypercolumn"))
        for printed, name in CONTRAST_NETWORKS.items()
    },
}
_BIRDS, _BIRD_IMAGES = "iNat17-Aves-100K", 1241
_MASK_SUPPORTS = (10, 50, 100, 250, 1241)


def _recipe(row: Row) -> CellRun | None:
    if row.protocol == "memory":
        return _memory(row)
    if row.protocol == "segmentation":
        return _segmentation(row)
    if row.method == "Supervised-from-scratch":
        return _supervised(row)
    if row.method in ("Random", "ImageNet"):
        return baseline_cell(row)
    if row.method == "DVE":
        return dve_cell(row)
    return _contrast(row)


def _contrast(row: Row) -> CellRun | None:
    size = int(row.settings.get("resolution", 96))
    share = int(row.settings.get("pretrain_fraction_pct", 100)) / 100
    run = contrast_cell(row, size=size, share=share)
    if run is None:
        return None
    if row.settings.get("finetune") == "yes":
        return replace(run, protocol="finetune")
    if size != 96 and row.dataset != "CUB35":
        return replace(run, preprocessing=f"contrast-{size}")
    return replace(run, image_size=size) if size != 96 else run


def _memory(row: Row) -> CellRun:
    method, network = _NETWORKS[row.network]
    size = int(row.settings["resolution"])
    return CellRun(
        method,
        "memory",
        _COSTS[row.metric],
        condition={"image_size": size} if row.metric == "memory_MB" else {},
        method_options=network,
        # What a training step really takes is measured too, and is not in this table.
        protocol_options=("peak_device=none",),
        free_options=("peak_device", "batch_size", "image_sizes"),
    )


def _segmentation(row: Row) -> CellRun:
    conv4 = "conv4" in row.setting
    method = {"Random": "random", "ImageNet": "imagenet"}.get(row.method, "contrast")
    features = "conv4" if conv4 else "hypercolumn"
    options = {
        "random": ("network=contrast", f'options={{"features":"{features}","colours":"imagenet"}}'),
        "imagenet": (f"features={features}",),
        "contrast": (f"features={features}",),
    }
    finetune = row.settings["backbone_fixed"] == "no"
    return CellRun(
        method,
        "segmentation",
        "miou",
        condition={"annotations": row.count},
        dataset=DATASETS[row.dataset],
        preprocessing="square-96",
        method_options=options[method],
        protocol_options=(
            f"counts={list(_MASK_SUPPORTS)}".replace(" ", ""),
            f"finetune={str(finetune).lower()}",
        ),
        weights=contrast("ResNet50", _BIRDS) if method == "contrast" else None,
    )


def _supervised(row: Row) -> CellRun:
    birds = row.protocol == "pck"
    everything = _BIRD_IMAGES if birds else 10122
    annotations = None if row.count == everything else row.count
    if birds:
        return supervised_landmarks(
            row, supervised("resnet18", "cub", 15, annotations), preprocessing="square-96"
        )
    # Table 7 repeats Thewlis et al.'s numbers, whose network takes 64 px.
    return supervised_landmarks(row, supervised("pooled", "aflw-m", 5, annotations), image_size=80, margin=10)


def _barriers(row: Row) -> Sequence[str]:
    barriers: list[str] = []
    on_faces = row.protocol in ("matching", "regression", "fewshot")
    if row.method == "DVE" and on_faces:
        barriers.append(QUOTED)
    if row.method in ("Random", "ImageNet") and row.protocol == "regression":
        barriers.append(TEST_SELECTION)
    if row.method == "ImageNet" and row.settings.get("proj") == "yes":
        barriers.append("projections of ImageNet features have no recipe here")
    return barriers


class Cheng2021(Paper):
    """The supplement's tables; the main paper's are among them."""

    name: ClassVar[str] = "cheng2021"
    summary: ClassVar[str] = "ContrastLandmarks: hypercolumns of momentum contrast (supplement)"
    reference: ClassVar[str] = (
        "Cheng, Su, Maji: On Equivariant and Invariant Learning of Object Landmark Representations, ICCV 2021"
    )
    cited_as: ClassVar[str] = "Cheng et al., ICCV 2021, supplement"

    def tables(self) -> tuple[Table, ...]:
        return tables_of(self.name, read_rows(self.name), TITLES, _recipe, _barriers)
