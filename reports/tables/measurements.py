"""How the papers measure: from a row's words to a protocol of ours, with the settings that the paper gives."""

from __future__ import annotations

from typing import Any

from bench.tables import CellRun, Training
from reports.tables.rows import Row

DATASETS = {
    "MAFL": "mafl",
    "MAFL in-the-wild": "mafl-wild",
    "MAFL unaligned": "mafl-unaligned",
    "AFLW_M": "aflw-m",
    "AFLW_R": "aflw-r",
    "300W": "300w",
    "CUB35": "cub",
    "HELEN": "helen",
    "BBCPose": "bbcpose",
    "CatHead": "cat-head",
}
"""As the papers print them -> as the data sets are called here."""

_EPOCHS = {"MAFL": 120, "MAFL in-the-wild": 120, "AFLW_M": 45, "AFLW_R": 45, "300W": 80}
_EPOCHS_COMPACT = 150
_LARGEST_COMPACT = 1280
_CUB_SUPPORTS = (10, 50, 100, 250, 500, 1241)
_FACE_SUPPORTS = (1, 5, 10, 20, 50, 100)

DVE_REGRESSOR = (
    "epochs=300",
    "cosine_t_max=null",
    "divide_at=[101,251]",
    "beta1=0.9",
    "amsgrad=true",
)
"""How DVE trains the regressor on all annotations; its rate falls in the 102nd and the 252nd epoch."""

NME, PCK, PX70 = "nme_interocular", "pck_cl", "matching_error_px70"


def face_regression(row: Row, method: str, weights: Training | None, **changes: Any) -> CellRun:
    """All annotations, ContrastLandmarks' regressor (supplement, section 3): its epochs differ by data set."""
    compact = row.dim.isdigit() and int(row.dim) <= _LARGEST_COMPACT and "conv4" not in row.setting
    epochs = _EPOCHS_COMPACT if compact else _EPOCHS[row.dataset]
    settings: dict[str, Any] = {
        "dataset": DATASETS[row.dataset],
        "weights": weights,
        "paper_options": (f"epochs={epochs}",),
    }
    return CellRun(method, "regression", NME, **{**settings, **changes})


def face_fewshot(row: Row, method: str, weights: Training | None, **changes: Any) -> CellRun:
    """Few annotations. All cells of a row are numbers of one run."""
    settings: dict[str, Any] = {
        "condition": {"annotations": row.count},
        "dataset": DATASETS[row.dataset],
        "weights": weights,
        "protocol_options": (f"counts={list(_FACE_SUPPORTS)}".replace(" ", ""),),
    }
    return CellRun(method, "fewshot", NME, **{**settings, **changes})


def face_matching(row: Row, method: str, weights: Training | None, **changes: Any) -> CellRun:
    """ContrastLandmarks' matching: consecutive images, maps at the size of the image, cosines."""
    settings: dict[str, Any] = {
        "condition": {"pairs": row.settings["identity"]},
        "dataset": DATASETS[row.dataset],
        "weights": weights,
        "paper_preset": "contrast",
    }
    return CellRun(method, "matching", PX70, **{**settings, **changes})


def bird_landmarks(row: Row, method: str, weights: Training | None, **changes: Any) -> CellRun:
    """PCK on CUB by the released code's rule, after the epoch that is best on the validation split."""
    settings: dict[str, Any] = {
        "condition": {"annotations": row.count},
        "dataset": DATASETS[row.dataset],
        "weights": weights,
        "preprocessing": "square-96",
        "paper_preset": "birds",
        "protocol_options": (f"counts={list(_CUB_SUPPORTS)}".replace(" ", ""),),
    }
    return CellRun(method, "fewshot", PCK, **{**settings, **changes})


def supervised_landmarks(row: Row, weights: Training, **changes: Any) -> CellRun:
    """A network that predicts the annotated landmarks itself: nothing is fitted to its features."""
    metric = PCK if row.protocol == "pck" else NME
    settings: dict[str, Any] = {"dataset": DATASETS[row.dataset], "weights": weights}
    return CellRun("supervised", "regression", metric, **{**settings, **changes})


def discovered(row: Row, method: str, weights: Training, counts: tuple[int, ...], **changes: Any) -> CellRun:
    """Linear functions of discovered landmarks: of all annotated images, or of few."""
    few = row.annotations.isdigit() and row.count in counts
    settings: dict[str, Any] = {
        "condition": {"annotations": row.count} if few else {},
        "dataset": DATASETS[row.dataset],
        "weights": weights,
        "protocol_options": (f"counts={list(counts)}".replace(" ", ""),),
    }
    return CellRun(method, "discovered", **{"metric": NME, **settings, **changes})
