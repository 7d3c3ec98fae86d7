"""What is reported of points that were found again after a warp, beside what chance would give.

Reference: Rahaman et al., 2021, equation 6 and Figures 1 and 2.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from torch import Tensor

from bench.context import Arrays
from bench.errors import BenchError
from bench.protocol import MetricSpec, MetricValue, Scalar
from bench.samples import Median
from bench.seeds import derive_seed
from protocols.scores.accuracy_curve import Curve, area_under_curve, chance, draw_curves
from protocols.scores.metrics import PerPoint, accuracy_within, counted_values, point_errors
from protocols.stored import required_tensor

HEADLINE_PX = 20
"""At which the paper's text quotes its curves: 57 % end to end, 87 % in two steps."""

_POINTS = (
    "over all points that count, of all images; predictor=random: and over all pixels that could be drawn"
)

EQUIVARIANCE_METRICS = (
    MetricSpec(
        name=f"equivariance_acc@{HEADLINE_PX}px",
        definition=f"share of points whose prediction lies within {HEADLINE_PX} px of where the warp has moved them",
        unit="%",
        direction="higher",
        averaging=_POINTS,
    ),
    MetricSpec(
        name="equivariance_auc",
        definition="mean of Acc(d) over 0 <= d <= max_distance px: the normalised area under the accuracy curve",
        unit="1",
        direction="higher",
        averaging=_POINTS,
    ),
    MetricSpec(
        name="equivariance_error_mean",
        definition="distance from the prediction to where the warp has moved the point",
        unit="px",
        direction="lower",
        averaging=_POINTS,
    ),
    MetricSpec(
        name="equivariance_error_median",
        definition="distance from the prediction to where the warp has moved the point",
        unit="px",
        direction="lower",
        averaging="median over all points that count, of all images",
    ),
    MetricSpec(
        name="equivariance_acc",
        definition="the accuracy curve Acc(d): share of points whose prediction lies within d px (condition distance) "
        "of where the warp has moved them",
        unit="%",
        direction="higher",
        averaging=_POINTS,
    ),
)


def score(
    arrays: Arrays,
    *,
    side: int,
    scale_to: int,
    max_distance: int,
    seed: int,
    landmarks: tuple[str, ...] = (),
) -> tuple[MetricValue, ...]:
    """The metrics, from what the protocol stores per image: predicted, targets (N, K, 2) and counted (N, K).

    Args:
        side: Of the images that the method sees, in pixels.
        scale_to: All distances are those of an image scaled to this side.
        max_distance: The curve is that of d = 1, 2, ... up to this, and the area is the one below it.
        landmarks: Names of the K points, where they have names.

    Raises:
        BenchError: where no point counts.
    """
    counted = required_tensor(arrays, "counted")
    if not bool(counted.any()):
        raise BenchError(
            f"none of the {int(arrays['visible'].sum())} points lies inside its image before and after the warp",
            hint="Weaken the warp (-P rotation=10 -P elastic=0.1), or measure more images or points.",
        )
    targets = required_tensor(arrays, "targets")
    errors = point_errors(required_tensor(arrays, "predicted"), targets) * scale_to / side
    curve = range(1, max_distance + 1)
    random = chance(targets[counted], side, scale_to, {*curve, HEADLINE_PX}, max_distance)
    images = int(counted.any(1).sum())

    def found(metric: str, points: PerPoint, distance: int | None = None) -> MetricValue:
        low, high = points.interval(derive_seed(seed, "equivariance", "interval"))
        condition = _condition("features", distance)
        return MetricValue(
            metric,
            points.mean(),
            condition,
            low=low,
            high=high,
            count=images,
            samples=points.samples(landmarks),
        )

    def expected(metric: str, value: float, distance: int | None = None) -> MetricValue:
        return MetricValue(metric, value, _condition("random", distance), count=images)

    headline, area, mean, median, accuracy = (metric.name for metric in EQUIVARIANCE_METRICS)
    middle = float(np.median(errors[counted].numpy()))
    return (
        found(headline, accuracy_within(errors, HEADLINE_PX, counted)),
        expected(headline, random.accuracy[HEADLINE_PX]),
        found(area, area_under_curve(errors, max_distance, counted)),
        expected(area, random.area),
        found(mean, counted_values(errors, counted)),
        expected(mean, random.mean),
        MetricValue(median, middle, _condition("features"), count=images, samples=_median(errors, counted)),
        *(found(accuracy, accuracy_within(errors, d, counted), d) for d in curve),
        *(expected(accuracy, random.accuracy[d], d) for d in curve),
    )


def _median(errors: Tensor, counted: Tensor) -> Median:
    return Median(errors.double().numpy(), counted.numpy())


def _condition(predictor: Literal["features", "random"], distance: int | None = None) -> dict[str, Scalar]:
    return {"predictor": predictor} if distance is None else {"predictor": predictor, "distance": distance}


def drawing(values: tuple[MetricValue, ...], unit: str) -> np.ndarray[Any, Any]:
    """The accuracy curves among the values, (H, W, 3), uint8, RGB."""
    curve = [value for value in values if value.metric == "equivariance_acc"]
    features = [value for value in curve if value.condition["predictor"] == "features"]
    random = [value for value in curve if value.condition["predictor"] == "random"]
    return draw_curves(
        [int(value.condition["distance"]) for value in features],
        [
            Curve(
                "features",
                [value.value for value in features],
                [value.value if value.low is None else value.low for value in features],
                [value.value if value.high is None else value.high for value in features],
            ),
            Curve("uniformly random pixel", [value.value for value in random]),
        ],
        unit,
    )
