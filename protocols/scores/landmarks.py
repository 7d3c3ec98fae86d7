"""What is reported of predicted landmarks, by whichever protocol predicted them.

``nme_interocular`` needs a distance that normalises errors. Where a set has none, as birds and bodies do, it is
left out; the accuracies are measured in parts of the image and are reported for every set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.protocol import MetricSpec, MetricValue, Scalar
from protocols.annotations import AnnotatedPoints, errors_on, has_normaliser
from protocols.scores.metrics import PerPoint
from protocols.scores.pck import accuracy_6px, accuracy_px128, pck_5pct_longer_side, pck_cl

NME_INTEROCULAR = MetricSpec(
    name="nme_interocular",
    definition="Distance between regressed and annotated landmark over the annotated inter-ocular distance.",
    unit="% of inter-ocular distance",
    direction="lower",
    averaging="mean over the visible landmarks of all test images",
)
PCK_5PCT = MetricSpec(
    name="pck_5pct_longer_side",
    definition="Share of landmarks predicted within 5 % of the longer side of the image.",
    unit="% of landmarks",
    direction="higher",
    averaging="mean over the visible landmarks of all test images",
)
PCK_CL = MetricSpec(
    name="pck_cl",
    definition="Share of landmarks whose distance on a 48-pixel box, truncated to a whole number, is below 2.4; "
    "annotations with x <= 0 or y <= 0 there do not count (released code of ContrastLandmarks).",
    unit="% of landmarks",
    direction="higher",
    averaging="per landmark within each 32 images, mean over the landmarks that occur, then over the 32s",
)
ACCURACY_6PX = MetricSpec(
    name="accuracy_6px",
    definition="Share of landmarks predicted within 6 pixels of a 128-pixel image; condition landmark: of one.",
    unit="% of landmarks",
    direction="higher",
    averaging="per landmark over the images that show it, then the mean over the landmarks",
)
ACCURACY_PX128 = MetricSpec(
    name="accuracy_px128",
    definition="Accuracy curve: share of landmarks predicted within so many pixels of a 128-pixel image.",
    unit="% of landmarks",
    direction="higher",
    averaging="mean over the visible landmarks of all test images",
)
LANDMARK_METRICS = (NME_INTEROCULAR, PCK_5PCT, PCK_CL, ACCURACY_6PX)
DETAIL_METRICS = (ACCURACY_PX128,)

CURVE = (2, 4, 6, 8, 10, 15, 20)
"""The reported points of the accuracy curve, px of a 128-pixel image; the stored distances give every other."""

_DRAWN = tuple(quarter / 4 for quarter in range(4 * CURVE[-1] + 1))

MOST_NAMED_LANDMARKS = 20
"""Sets of more landmarks (68 of a face) are not reported landmark by landmark: the stored distances tell."""


@dataclass(frozen=True, eq=False)
class Score:
    """A metric of one set of predictions, not yet averaged.

    Attributes:
        landmarks: Names of the points, where they can be told apart.
    """

    metric: str
    per_point: PerPoint
    condition: Mapping[str, Scalar] = field(default_factory=dict)
    landmarks: tuple[str, ...] = ()


def scores(predictions: Tensor, test: AnnotatedPoints) -> tuple[Score, ...]:
    """The metrics of predictions (N, K, 2), pixels of the images of ``test``."""
    found = [(NME_INTEROCULAR, errors_on(test, predictions))] if has_normaliser(test) else []
    rules: tuple[tuple[MetricSpec, Callable[..., PerPoint]], ...] = (
        (PCK_5PCT, pck_5pct_longer_side),
        (PCK_CL, pck_cl),
        (ACCURACY_6PX, accuracy_6px),
    )
    points = _points(predictions, test)
    found += [(spec, rule(*points)) for spec, rule in rules]
    return tuple(Score(spec.name, per_point, landmarks=test.schema.names) for spec, per_point in found)


def selection_rule(split: AnnotatedPoints) -> MetricSpec:
    """The metric by which one of several predictions of the landmarks of ``split`` is chosen."""
    return NME_INTEROCULAR if has_normaliser(split) else PCK_CL


def selection_score(predictions: Tensor, split: AnnotatedPoints) -> float:
    """:func:`selection_rule` of predictions (N, K, 2), with its sign turned where lower is better."""
    rule = selection_rule(split)
    value = next(score for score in scores(predictions, split) if score.metric == rule.name).per_point.mean()
    return value if rule.direction == "higher" else -value


def detailed_scores(predictions: Tensor, test: AnnotatedPoints) -> tuple[Score, ...]:
    """Accuracies landmark by landmark, where there are few, and the curve over distances."""
    points = _points(predictions, test)
    six = accuracy_6px(*points)
    names = test.schema.names if len(test.schema.names) <= MOST_NAMED_LANDMARKS else ()
    named = [(name, six.landmark(k)) for k, name in enumerate(names)]
    by_landmark = [Score(ACCURACY_6PX.name, one, {"landmark": name}) for name, one in named if one.images]
    curve = [
        Score(
            ACCURACY_PX128.name,
            accuracy_px128(*points, distance),
            {"distance": distance},
            test.schema.names,
        )
        for distance in CURVE
    ]
    return (*by_landmark, *curve)


def reported(
    draws: Sequence[Sequence[Score]], seed: int, condition: Mapping[str, Scalar] | None = None
) -> tuple[MetricValue, ...]:
    """The mean over draws of each metric, with its deviation (ddof = 1) where there are several.

    The test images are the same in every draw: for the interval, a point's value is its mean over the draws.
    """
    return tuple(_value(same, seed, condition or {}) for same in zip(*draws, strict=True))


def draw_curve(predictions: Tensor, test: AnnotatedPoints) -> np.ndarray[Any, Any]:
    """The accuracy curve of predictions (N, K, 2) as a drawing, (H, W, 3), uint8."""
    # Imported here: it takes long to load, and whoever lists protocols draws nothing.
    from protocols.scores.accuracy_curve import Curve, draw_curves  # noqa: PLC0415

    points = _points(predictions, test)
    accuracy = [accuracy_px128(*points, distance).mean() for distance in _DRAWN]
    return draw_curves(_DRAWN, [Curve("predicted landmarks", accuracy)], "px of a 128-pixel image")


def _value(draws: tuple[Score, ...], seed: int, condition: Mapping[str, Scalar]) -> MetricValue:
    first = draws[0]
    means = [score.per_point.mean() for score in draws]
    values = torch.stack([score.per_point.values for score in draws]).mean(0)
    averaged = replace(first.per_point, values=values)
    low, high = averaged.interval(seed)
    return MetricValue(
        first.metric,
        float(np.mean(means)),
        condition={**condition, **first.condition},
        low=low,
        high=high,
        std=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        count=averaged.images,
        samples=averaged.samples(first.landmarks),
    )


def _points(predictions: Tensor, test: AnnotatedPoints) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    return predictions.double(), test.points.double(), test.visible, test.image_size
