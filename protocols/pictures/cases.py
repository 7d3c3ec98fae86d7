"""Predictions and annotation on the images that went best, as usual, and worst."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.loading import LoadedSplit
from protocols.annotations import errors_on, has_normaliser
from protocols.pictures.canvas import FOUND, TRUE, Canvas, Picture, Row, sheet
from protocols.scores.metrics import point_errors

_COLUMNS = 4
_SIDE = 168
_FEW = 12  # landmarks; more have smaller marks


def draw_cases(predictions: Tensor, test: LoadedSplit) -> dict[str, Picture]:
    """``cases``: rows of test images with the smallest, the median and the largest mean error.

    Images without a landmark that counts are not among them; where none counts, there is no picture.

    Shapes:
        predictions: (N, K, 2), pixels of the images of ``test``.
    """
    errors, unit = _of_images(predictions, test)
    order = [i for i in np.argsort(errors, kind="stable").tolist() if np.isfinite(errors[i])]
    if not order:
        return {}
    rows = [
        Row(
            name,
            [_case(test, predictions, i) for i in chosen],
            [f"{errors[i]:.1f} {unit}" for i in chosen],
        )
        for name, chosen in best_median_worst(order, _COLUMNS)
    ]
    legend = [("ring", "annotated"), ("dot", "predicted")]
    return {"cases": sheet(rows, legend)}


def best_median_worst(order: list[int], most: int) -> list[tuple[str, list[int]]]:
    """At most so many of each, without repetition, of things ordered from the best to the worst."""
    if len(order) < 3:
        return [("best", order[:1]), ("worst", order[1:])][: len(order)]
    count = min(most, len(order) // 3)
    start = (len(order) - count) // 2
    return [
        ("best", order[:count]),
        ("median", order[start : start + count]),
        ("worst", order[-count:][::-1]),
    ]


def _of_images(
    predictions: Tensor, test: LoadedSplit
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], str]:
    """The mean error of each image, NaN where nothing counts, and its unit."""
    if has_normaliser(test):
        found = errors_on(test, predictions)
        values, counted, unit = found.values, found.counted, "%"
    else:
        values, counted, unit = point_errors(predictions.double(), test.points.double()), test.visible, "px"
    sums = torch.where(counted, values, 0.0).sum(1) / counted.sum(1)  # 0 / 0 is NaN
    return sums.double().numpy(), unit


def _case(test: LoadedSplit, predictions: Tensor, index: int) -> Picture:
    canvas = Canvas([test.images[index]], _SIDE)
    visible = test.visible[index].tolist()
    pairs = [
        ((float(truth[0]), float(truth[1])), (float(found[0]), float(found[1])))
        for truth, found, shown in zip(test.points[index], predictions[index], visible, strict=True)
        if shown
    ]
    radius = 3.2 if len(visible) <= _FEW else 1.9
    for truth, found in pairs:
        canvas.line(truth, found, FOUND, 1.4)
    for truth, _ in pairs:
        canvas.ring(truth, TRUE, radius + 0.6)
    for _, found in pairs:
        canvas.dot(found, FOUND, radius - 0.4)
    return canvas.picture()
