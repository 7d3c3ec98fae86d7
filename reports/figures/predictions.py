"""What is stored of predicted landmarks: errors by image and landmark, read with distrust."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import Runs
from bench.store import Array

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PROTOCOLS = ("regression", "finetune", "discovered", "fewshot")
"""Those that store predictions of annotated landmarks."""

_DRAWN = re.compile(r"predictions_(\d{1,9})")
_LARGEST = 1e6  # pixels


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of the landmarks of N test images, in D draws of the annotated images (1 where there are none).

    Shapes:
        predictions: (D, N, K, 2), pixels of the image.  targets: (N, K, 2).  visible: (N, K).
        percent: (D, N, K), errors in percent of the distance that normalises them; None where there is none.
        counted: (N, K), which of these count.

    Attributes:
        annotations: Number of annotated images; None: all of them.
        side: The longer one of the image, pixels; None where it is not stored.
    """

    predictions: Numbers
    targets: Numbers
    visible: Flags
    percent: Numbers | None
    counted: Flags
    annotations: int | None
    side: float | None

    def distances(self) -> Numbers:
        """(D, N, K), pixels, NaN where nothing is visible."""
        apart = np.linalg.norm(self.predictions - self.targets, axis=-1)
        return np.where(self.visible, apart, np.nan)


def read(runs: Runs, record: RunRecord) -> Predicted | None:
    """What is stored with a record, of all annotations, or of the largest number that was drawn.

    None where nothing usable is stored: a figure leaves that run out.
    """
    try:
        return _understood(runs.per_sample(record.id))
    except (BenchError, ValueError, TypeError):
        return None


def _understood(stored: Mapping[str, Array]) -> Predicted | None:
    counts = [int(found[1]) for found in map(_DRAWN.fullmatch, stored) if found]
    if "predictions" in stored:
        suffix, annotations = "", None
    elif counts:
        suffix, annotations = f"_{max(counts)}", max(counts)
    else:
        return None
    targets, visible = stored.get("targets"), stored.get("visible")
    predictions = stored[f"predictions{suffix}"]
    if targets is None or visible is None:
        return None
    predictions = predictions if suffix else predictions[None]
    images, landmarks = visible.shape
    places = np.where(visible.astype(np.bool_)[..., None], targets.astype(np.float64), 0.0)
    found = predictions.astype(np.float64)
    if places.shape != (images, landmarks, 2) or found.shape[1:] != places.shape or not found.size:
        return None
    if max(np.abs(found).max(), np.abs(places).max()) > _LARGEST:
        return None
    percent, counted = stored.get(f"errors{suffix}"), stored.get("counted", visible)
    if percent is not None:
        percent = percent if suffix else percent[None]
        percent = percent.astype(np.float64) if percent.shape == found.shape[:3] else None
    if counted.shape != visible.shape:
        return None
    size = stored.get("image_size")
    side = float(size.max()) if size is not None and size.shape == (2,) else None
    return Predicted(
        found, places, visible.astype(np.bool_), percent, counted.astype(np.bool_), annotations, side
    )
