"""Rows that several papers have alike: ContrastLandmarks, DVE, and the baselines on ContrastLandmarks' protocols."""

from __future__ import annotations

from typing import Any

from bench.tables import CellRun, Training
from reports.tables.measurements import (
    DVE_REGRESSOR,
    bird_landmarks,
    face_fewshot,
    face_matching,
    face_regression,
)
from reports.tables.rows import Row
from reports.tables.weights import contrast, dve, projected_random

_HYPERCOLUMNS = {"ResNet18": 960, "ResNet50-half": 1920, "ResNet50": 3840}
_LARGEST_PROJECTION = 1280
_DVE_ON_BIRDS = ("weight_decay_above_100=0.0005",)
"""ContrastLandmarks' README: with more than 100 annotated images, less decay for DVE's features than for its own."""
TEST_SELECTION = "the baseline is the best of 2,000 epochs on the test set, which is not imitated"


def by_protocol(row: Row, method: str, weights: Training | None, **changes: Any) -> CellRun | None:
    """ContrastLandmarks' protocol of the row's kind."""
    if row.protocol == "matching":
        return face_matching(row, method, weights, **changes)
    if row.protocol == "regression":
        return face_regression(row, method, weights, **changes)
    if row.protocol == "fewshot":
        return face_fewshot(row, method, weights, **changes)
    return bird_landmarks(row, method, weights, **changes) if row.protocol == "pck" else None


def contrast_cell(row: Row, *, share: float = 1.0, size: int = 96, **changes: Any) -> CellRun | None:
    """A row of ContrastLandmarks: hypercolumn, conv4, or projected to ``dim`` channels."""
    trained_on = row.pretrained_on.partition(" (")[0]
    dim = projection(row)
    weights = contrast(row.network, trained_on, dim=dim, size=size, share=share)
    options: tuple[str, ...] = ()
    if dim is None:
        options = ("features=conv4",) if "conv4" in row.setting else ("features=hypercolumn",)
    elif row.protocol == "matching":
        # The released code projects at the resolution of the image.
        options = ("projected_stride=1",)
    return by_protocol(row, "contrast", weights, **{"method_options": options, **changes})


def projection(row: Row) -> int | None:
    """Channels of the projector; None where the encoder's own features are read."""
    dim = int(row.dim)
    if row.settings.get("proj") == "no" or "conv4" in row.setting or "hypercolumn" in row.setting:
        return None
    return None if dim in _HYPERCOLUMNS.values() or dim > _LARGEST_PROJECTION else dim


def dve_cell(row: Row, **changes: Any) -> CellRun | None:
    """A row of DVE in another paper, on that paper's protocol; regressions that are DVE's own, with its regressor."""
    trained_on = row.pretrained_on.partition(" (")[0]
    # A tick that is printed in the wrong column: LEAD's supplement quotes the row as in the wild.
    wild = trained_on == "CelebA" and row.settings.get("proj") == "yes"
    weights = dve(row.network, row.dim, "CelebA in-the-wild" if wild else trained_on)
    if row.network == "Smallnet":
        changes = {"preprocessing": "dve-70", **changes}
    # Those in the wild are not in DVE's log: later papers measured them.
    if row.protocol == "regression" and trained_on == "CelebA" and not wild:
        changes = {"paper_options": DVE_REGRESSOR, **changes}
    if row.protocol == "pck":
        changes = {"paper_options": _DVE_ON_BIRDS, **changes}
    return by_protocol(row, "dve", weights, **changes)


def baseline_cell(row: Row) -> CellRun | None:
    """Random and ImageNet features: hypercolumns, or projections of random ones."""
    if row.method == "ImageNet":
        return by_protocol(row, "imagenet", None) if projection(row) is None else None
    dim = projection(row)
    if dim is None:
        return by_protocol(row, "random", None, method_options=("network=contrast",))
    options = ("projected_stride=1",) if row.protocol == "matching" else ()
    return by_protocol(row, "contrast", projected_random(dim), method_options=options)
