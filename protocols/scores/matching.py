"""The metrics of matching, from what was found where."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from bench.context import Arrays
from bench.errors import BenchError
from bench.landmarks import LandmarkSchema
from bench.protocol import MetricSpec, MetricValue
from bench.seeds import derive_seed
from protocols.scores.metrics import (
    PerPoint,
    accuracy_within,
    counted_values,
    normalised_errors,
    normaliser_lengths,
    point_errors,
    px70,
)
from protocols.stored import required_tensor

CONDITIONS = ("same", "different")
ACCURACY_LIMITS_PX70 = (2, 5, 10)

PointKind = Literal["landmarks", "surface"]


def _surface_accuracy(limit: int) -> str:
    return f"surface_acc@{limit}px70"


METRICS = (
    MetricSpec(
        name="matching_error_px70",
        definition="distance between the most similar cell and the landmark of the target, "
        "times 70 / side of the cropped image",
        unit="px of a 70-pixel image",
        direction="lower",
        averaging="over all landmarks that count, of all pairs",
    ),
    MetricSpec(
        name="matching_error_iod",
        definition="the same distance, in percent of the distance between the normalising landmarks, "
        "such as the eyes, of the warped target",
        unit="% of inter-ocular distance",
        direction="lower",
        averaging="over all landmarks that count, of all pairs whose target shows the normalisers",
    ),
    MetricSpec(
        name="surface_error_px70",
        definition="distance between the most similar cell and the exact place where the target shows the same "
        "spot of the surface, times 70 / side of the cropped image",
        unit="px of a 70-pixel image",
        direction="lower",
        averaging="over all drawn spots that both images show, of all pairs",
    ),
    *(
        MetricSpec(
            name=_surface_accuracy(limit),
            definition=f"share of spots whose surface_error_px70 is at most {limit}",
            unit="%",
            direction="higher",
            averaging="over all drawn spots that both images show, of all pairs",
        )
        for limit in ACCURACY_LIMITS_PX70
    ),
)


def score(
    arrays: Arrays, schema: LandmarkSchema, side: int, seed: int, points: PointKind = "landmarks"
) -> tuple[MetricValue, ...]:
    """The metrics, from the stored arrays of :class:`protocols.matching.Matching` alone.

    Args:
        side: Of the cropped images, in pixels.

    Raises:
        BenchError: where no point is visible in both images of any pair.
    """
    predicted, targets = required_tensor(arrays, "predicted"), required_tensor(arrays, "targets")
    counted, visible = required_tensor(arrays, "counted"), required_tensor(arrays, "target_visible")
    if not bool(counted.any()):
        raise BenchError("no point is visible in both images of any pair: there is nothing to average")
    found: list[tuple[str, str, PerPoint]] = []
    for i, condition in enumerate(CONDITIONS):
        if not bool(counted[:, i].any()):
            continue
        errors = point_errors(predicted[:, i], targets[:, i])
        if points == "surface":
            per_metric = _surface_values(px70(errors, side), counted[:, i])
        else:
            per_metric = {"matching_error_px70": counted_values(px70(errors, side), counted[:, i])}
            if schema.normaliser is not None:
                lengths, defined = normaliser_lengths(targets[:, i], schema.normaliser, visible[:, i])
                percent = normalised_errors(errors, counted[:, i], lengths, defined)
                if percent.images:
                    per_metric["matching_error_iod"] = percent
        found.extend((metric, condition, per_point) for metric, per_point in per_metric.items())
    order = [metric.name for metric in METRICS]
    # Spots of a surface are other ones in every pair: they have no names.
    names = schema.names if points == "landmarks" else ()
    return tuple(_value(*cell, seed, names) for cell in sorted(found, key=lambda cell: order.index(cell[0])))


def _surface_values(px: Tensor, counted: Tensor) -> dict[str, PerPoint]:
    shares = {limit: accuracy_within(px, limit, counted) for limit in ACCURACY_LIMITS_PX70}
    return {
        "surface_error_px70": counted_values(px, counted),
        **{_surface_accuracy(limit): share for limit, share in shares.items()},
    }


def _value(
    metric: str, condition: str, per_point: PerPoint, seed: int, names: tuple[str, ...]
) -> MetricValue:
    low, high = per_point.interval(derive_seed(seed, "matching", "interval"))
    return MetricValue(
        metric,
        per_point.mean(),
        {"pairs": condition},
        low=low,
        high=high,
        count=per_point.images,
        samples=per_point.samples(names),
    )


def left_out(
    values: tuple[MetricValue, ...], arrays: Arrays, schema: LandmarkSchema, points: PointKind
) -> tuple[str, ...]:
    """What the means are over where not all points count, or pairs are left out of matching_error_iod."""
    if points == "surface":
        most = arrays["counted"].shape[2]
        counts = zip(CONDITIONS, arrays["counted"].sum(2).mean(0), strict=True)
        return tuple(
            f"of up to {most} spots {count:.0f} count in an average {pairs} pair" for pairs, count in counts
        )
    images_of = {(value.metric, value.condition["pairs"]): value.count or 0 for value in values}
    notes: list[str] = []
    if schema.normaliser is None:
        return ()
    for (metric, condition), pixels in images_of.items():
        percent = images_of.get(("matching_error_iod", condition), 0)
        if metric == "matching_error_px70" and percent < pixels:
            missing = (
                f"{pixels - percent} of {pixels} {condition} targets do not show the normalising landmarks"
            )
            notes.append(f"{missing} and are left out of matching_error_iod")
    return tuple(notes)
