"""Error against how small the object is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.record import MetricPart, RunRecord
from bench.report import Runs
from reports.figures.curves import axis_name, curve_figure, curve_of, draw, limits, told_in_unit
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.series import Question, drawable, questions, slug, value_of
from reports.figures.style import INK, SMALL, paper_style
from reports.frame import Selection, one_line

_BIN = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    for question in questions(runs, selection, SCALE.protocols):
        for metric in question.metrics(selection, lambda part: _centre(part) is not None)[:1]:
            drawing = _draw(question, metric)
            if drawing is not None:
                yield drawing


SCALE = FigureKind(
    "scale", "error against how small the object is shown, seen and unseen sizes", ("scale",), _each
)


def _draw(question: Question, metric: str) -> Drawing | None:
    question = question.ranked(
        lambda record: value_of(record, metric, scales="unseen") if _points(record, metric) else None, "lower"
    )
    if not question.series:
        return None
    curves = [curve_of(each.label, each.look, _points(each.record, metric)) for each in question.series]
    first = _points(question.record, metric)[0][1]
    with paper_style():
        figure, axes = curve_figure(curves)
        axes.set_xlim(*_range(question.record, "test_zoom", (curves[0].x[0], curves[0].x[-1])))
        axes.set_ylim(*limits(curves, 0.0))
        seen = _range(question.record, "train_zoom", (0.0, 0.0))
        if seen[1] > seen[0]:
            axes.axvspan(*seen, color=INK, alpha=0.07, linewidth=0, zorder=0)
            middle = (max(seen[0], axes.get_xlim()[0]) + min(seen[1], axes.get_xlim()[1])) / 2
            across = axes.get_xaxis_transform()
            axes.text(
                middle, 0.97, "seen in training", ha="center", va="top", fontsize=SMALL, transform=across
            )
        axes.set_xlabel("zoom-out factor\n(larger: smaller object)")
        axes.set_ylabel(axis_name(first))
        draw(axes, curves)
    caption = (
        f"{told_in_unit(first)} against the factor by which the sides of the object's box are multiplied, on "
        f"{question.data()}, {question.asked()}. Shaded: the factors of the training images. Bands: 95 % bootstrap "
        f"interval over the test images of a bin.{question.remark()}"
    )
    title = f"Sensitivity to scale, {question.place()}"
    return Drawing(slug(question.slug), "scale", title, caption, question.ids, figure)


def _points(record: RunRecord, metric: str) -> list[tuple[float, MetricPart]]:
    """At the centres of the bins."""
    found = [(_centre(part), part) for part in record.metrics if one_line(part.metric) == one_line(metric)]
    return sorted(((x, part) for x, part in found if x is not None), key=lambda point: point[0])


def _centre(part: MetricPart) -> float | None:
    zoom = part.condition.get("zoom")
    if set(part.condition) != {"zoom"} or not isinstance(zoom, str) or not drawable(part):
        return None
    ends = _BIN.fullmatch(zoom)
    return (float(ends[1]) + float(ends[2])) / 2 if ends else None


def _range(record: RunRecord, option: str, otherwise: tuple[float, float]) -> tuple[float, float]:
    given = record.protocol.options.get(option)
    if not isinstance(given, list) or len(given) != 2 or not all(type(end) in (int, float) for end in given):
        return otherwise
    low, high = (float(end) for end in given)
    return (low, high) if 0 < low < high < 1000 else otherwise
