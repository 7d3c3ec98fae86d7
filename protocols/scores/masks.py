"""How well predicted classes of pixels agree with annotated ones, kept per image; means are taken last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays
from bench.errors import BenchError
from bench.landmarks import UNLABELLED
from bench.protocol import MetricSpec, MetricValue
from bench.samples import Ratio
from bench.statistics import bootstrap_interval
from protocols.stored import required_array

MIOU = MetricSpec(
    name="miou",
    definition="Pixels of both annotation and prediction over pixels of either, for each class but the background; "
    "of an image the mean over the classes that occur in either.",
    unit="share, 0 to 1",
    direction="higher",
    averaging="mean over the test images with an annotated or predicted foreground",
)
PIXEL_ACCURACY = MetricSpec(
    name="pixel_accuracy",
    definition="Share of the annotated pixels, background included, whose class is predicted.",
    unit="% of pixels",
    direction="higher",
    averaging="over all annotated pixels of all test images",
)


COUNTED = ("intersection", "union", "correct")
"""What :func:`count_pixels` counts of a prediction; the rest is of the annotation alone."""


@dataclass(frozen=True, eq=False)
class PerImage:
    """A ratio in every image, as its two sides.

    Shapes:
        sums, counts: (N,), float64; an image with a count of 0 is left out.
    """

    sums: np.ndarray[Any, np.dtype[np.float64]]
    counts: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def images(self) -> int:
        return int((self.counts > 0).sum())

    def mean(self) -> float:
        """Sum of sums over sum of counts.

        Raises:
            BenchError: where nothing counts.
        """
        if not self.images:
            raise BenchError("no pixel of the test images counts: there is nothing to average")
        return float(self.sums.sum() / self.counts.sum())

    def interval(self, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval of :meth:`mean` over images."""
        return bootstrap_interval(self.sums, self.counts, seed=seed)


def count_pixels(predicted: Tensor, target: Tensor, classes: int) -> Arrays:
    """The agreement of every image; pixels whose target is UNLABELLED do not count anywhere.

    Shapes:
        predicted, target: (N, H, W), uint8.
        returns: ``intersection``, ``union`` (N, classes), ``correct``, ``labelled`` (N,); int64.

    Raises:
        BenchError: where the shapes differ.
    """
    if predicted.shape != target.shape or predicted.ndim != 3:
        raise BenchError(
            f"predicted and annotated classes must both be (N, H, W), got {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
    labelled = target != UNLABELLED
    found = [(predicted == number) & labelled for number in range(classes)]
    true = [target == number for number in range(classes)]
    pairs = list(zip(found, true, strict=True))
    return {
        "intersection": torch.stack([(f & t).sum((1, 2)) for f, t in pairs], 1).numpy(),
        "union": torch.stack([(f | t).sum((1, 2)) for f, t in pairs], 1).numpy(),
        "correct": ((predicted == target) & labelled).sum((1, 2)).numpy(),
        "labelled": labelled.sum((1, 2)).numpy(),
    }


def miou(counts: Arrays) -> PerImage:
    """Mean intersection over union of the classes other than the first that occur in an image."""
    intersection, union = (counts[name][:, 1:].astype(np.float64) for name in ("intersection", "union"))
    occurs = union > 0
    ratios = np.divide(intersection, union, out=np.zeros_like(union), where=occurs)
    number = occurs.sum(1)
    means = ratios.sum(1) / np.maximum(number, 1)
    return PerImage(means, (number > 0).astype(np.float64))


def class_iou(counts: Arrays, number: int) -> PerImage:
    """Intersection over union of one class, over the images in which it is annotated or predicted."""
    intersection, union = (counts[name][:, number].astype(np.float64) for name in ("intersection", "union"))
    ratios = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return PerImage(ratios, (union > 0).astype(np.float64))


def pixel_accuracy(counts: Arrays) -> PerImage:
    """In percent."""
    return PerImage(100 * counts["correct"].astype(np.float64), counts["labelled"].astype(np.float64))


def values_by_count(arrays: Arrays, annotations: Sequence[int], seed: int) -> tuple[MetricValue, ...]:
    """Both metrics for every number of annotations, from the counted pixels that a run stores of all draws.

    Raises:
        BenchError: where an array is missing.
    """
    names = tuple(str(name) for name in required_array(arrays, "class_names"))
    labelled = required_array(arrays, "labelled")
    values: list[MetricValue] = []
    for count in annotations:
        if f"union_{count}" not in arrays:
            continue  # skipped: there were not as many annotations
        by_name = {name: required_array(arrays, f"{name}_{count}") for name in COUNTED}
        draws = [
            {"labelled": labelled} | {name: array[draw] for name, array in by_name.items()}
            for draw in range(len(by_name["union"]))
        ]
        by_class = {
            name: _samples([class_iou(draw, number) for draw in draws])
            for number, name in enumerate(names)
            if number > 0
        }
        values.append(_value(MIOU, [miou(draw) for draw in draws], count, seed, by_class))
        values.append(_value(PIXEL_ACCURACY, [pixel_accuracy(draw) for draw in draws], count, seed))
    return tuple(values)


def _value(
    spec: MetricSpec,
    draws: list[PerImage],
    count: int,
    seed: int,
    by_class: Mapping[str, Ratio] | None = None,
) -> MetricValue:
    means = [draw.mean() for draw in draws]
    # The test images are the same in every draw.
    together = PerImage(
        np.sum([draw.sums for draw in draws], axis=0), np.sum([draw.counts for draw in draws], axis=0)
    )
    low, high = together.interval(seed)
    return MetricValue(
        spec.name,
        float(np.mean(means)),
        condition={"annotations": count},
        low=low,
        high=high,
        std=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        count=together.images,
        samples=replace(_samples(draws), parts=by_class or {}),
    )


def _samples(draws: list[PerImage]) -> Ratio:
    return Ratio(np.stack([draw.sums for draw in draws], 1), np.stack([draw.counts for draw in draws], 1))
