"""Cumulative distributions of the error of an image, and how many images fail.

Reference:
    Failures above 8 %: Sagonas et al., 300 Faces In-The-Wild Challenge, IVC 2016, as papers read its private test
    set. Above 10 %: Wu et al., Look at Boundary, CVPR 2018 (WFLW).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.report import Runs
from reports.figures.curves import Curve, curve_figure, draw
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.landmark_scores import ranked
from reports.figures.predictions import PROTOCOLS, Numbers, Predicted, read
from reports.figures.series import Question, Series, questions, slug
from reports.figures.style import INK, paper_style
from reports.frame import Selection

_PX = 128
"""Side of the image in whose pixels errors are told that nothing normalises, as in ``accuracy_px128``."""


@dataclass(frozen=True)
class _Scale:
    """In what errors are told, and above what an image fails."""

    unit: str
    failures: tuple[int, ...]
    rule: str


_PERCENT = _Scale(
    "% of inter-ocular distance",
    (8, 10),
    "An image fails where its error is above 10 % (WFLW's convention; dashed) or 8 % (300-W's private test set; "
    "dotted); the numbers are the shares of images above 10 %.",
)
_PIXELS = _Scale(
    f"px of a {_PX}-px image",
    (6,),
    "An image fails where its error is above 6 px (dashed); the numbers are the shares of images that do.",
)


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    for question in questions(runs, selection, PROTOCOLS):
        drawing = _draw(ranked(question), runs)
        if drawing is not None:
            yield drawing


ERRORS = FigureKind(
    "errors", "cumulative distribution of the images' errors, and how many fail", PROTOCOLS, _each
)


def _draw(question: Question, runs: Runs) -> Drawing | None:
    found = [
        (each, predicted) for each in question.series if (predicted := read(runs, each.record)) is not None
    ]
    scale = _PERCENT if any(predicted.percent is not None for _, predicted in found) else _PIXELS
    told = [
        (each, errors) for each, predicted in found if (errors := _of_images(predicted, scale)) is not None
    ]
    if not told:
        return None
    limit = scale.failures[-1]
    failing = {each.record.id: 100 * float((errors > limit).mean()) for each, errors in told}
    told.sort(key=lambda item: (item[0].look.baseline, failing[item[0].record.id], item[1].mean()))
    end = _end([errors for each, errors in told if not each.look.baseline] or [told[0][1]], limit)
    curves = [_curve(each, errors, failing[each.record.id], end) for each, errors in told]
    with paper_style():
        figure, axes = curve_figure(curves)
        axes.set_xlim(0, end)
        axes.set_ylim(0, 100)
        for threshold, dashes in zip(reversed(scale.failures), ((0, (4, 2)), (0, (1, 1.5))), strict=False):
            axes.axvline(threshold, color=INK, linewidth=0.6, linestyle=dashes, alpha=0.6, zorder=1)
        axes.set_xlabel(f"mean error of an image\n({scale.unit})")
        axes.set_ylabel("images with at most this error (%)")
        unit = "%" if scale is _PERCENT else "px"
        draw(axes, curves, heading=f"% of images above {limit} {unit}", listed=True)
    shown = [each for each, _ in told]
    caption = (
        f"Cumulative distribution of the mean error over the landmarks of an image, on {question.data()}, "
        f"{question.asked()}{_draws(found)}. {scale.rule}{question.remark()}{_missing(question, shown)}"
    )
    name = slug("errors", question.slug)
    title = f"Errors of the test images, {question.record.protocol.name} on {question.place()}"
    return Drawing(name, "errors", title, caption, tuple(each.record.id for each in shown), figure)


def _of_images(predicted: Predicted, scale: _Scale) -> Numbers | None:
    """The mean error of each image that counts, of all draws together, (M,)."""
    if scale is _PERCENT:
        if predicted.percent is None:
            return None
        errors, counts = predicted.percent, predicted.counted
    else:
        if predicted.side is None or predicted.side <= 0:
            return None
        errors, counts = np.nan_to_num(predicted.distances()) * _PX / predicted.side, predicted.visible
    there = counts.any(1)
    if not there.any():
        return None
    sums = np.where(counts, errors, 0.0).sum(2)[:, there]
    means: Numbers = (sums / counts.sum(1)[there]).reshape(-1)
    return means


def _curve(each: Series, errors: Numbers, failing: float, end: float) -> Curve:
    ordered = np.sort(errors)
    # A step at each image, thinned to what a column shows.
    x = np.linspace(0, end, 400)
    y = 100 * np.searchsorted(ordered, x, side="right") / len(ordered)
    return Curve(f"{failing:.1f}  {each.label}", each.look, x, y)


def _end(learned: list[Numbers], limit: int) -> float:
    """Where nearly all images of the methods are, and beyond the convention's threshold, but no more than six of it."""
    far = max(float(np.percentile(errors, 95)) for errors in learned)
    return float(min(max(5 * math.ceil(far / 5), 1.5 * limit), 6 * limit))


def _draws(found: list[tuple[Series, Predicted]]) -> str:
    counts = sorted({predicted.annotations for _, predicted in found if predicted.annotations is not None})
    if not counts:
        return ""
    return f", {' or '.join(str(count) for count in counts)} annotated images, all draws together"


def _missing(question: Question, shown: list[Series]) -> str:
    names = [each.label for each in question.series if each not in shown]
    return f" Not shown, because no usable predictions are stored: {', '.join(names)}." if names else ""
