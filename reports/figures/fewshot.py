"""Error against the number of annotated images."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.record import MetricPart, RunRecord
from bench.report import Runs
from reports.figures.curves import axis_name, curve_figure, curve_of, draw, limits, told_in_unit
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.series import Question, drawable, questions, slug
from reports.figures.style import paper_style
from reports.frame import Selection, one_line

_COUNT = "annotations"


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    for question in questions(runs, selection, FEWSHOT.protocols):
        metrics = question.metrics(selection, _is_point)
        for metric in metrics:
            name = slug(
                "fewshot", question.slug.removeprefix("fewshot-"), *([metric] if len(metrics) > 1 else [])
            )
            drawing = _draw(question, metric, name)
            if drawing is not None:
                yield drawing


FEWSHOT = FigureKind(
    "fewshot",
    "error against the number of annotated images, with bands",
    ("fewshot", "discovered"),
    _each,
)


def _draw(question: Question, metric: str, name: str) -> Drawing | None:
    direction = next(
        (part.direction for each in question.series for part in _points(each.record, metric)), "lower"
    )
    question = question.ranked(lambda record: _last(record, metric), direction)
    if not question.series:
        return None
    first = _points(question.record, metric)[0]
    curves = [
        curve_of(
            each.label,
            each.look,
            [(float(part.condition[_COUNT]), part) for part in _points(each.record, metric)],
        )
        for each in question.series
    ]
    with paper_style():
        figure, axes = curve_figure(curves)
        counts = sorted({int(x) for curve in curves for x in curve.x})
        axes.set_xscale("log")
        axes.set_xlim(counts[0] / 1.15, counts[-1] * 1.15)
        axes.xaxis.set_major_locator(FixedLocator(_apart(counts)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(*limits(curves))
        axes.set_xlabel("annotated images")
        axes.set_ylabel(axis_name(first))
        draw(axes, curves)
    caption = (
        f"{told_in_unit(first)} against the number of annotated images on {question.data()}, "
        f"{question.asked()}. {_bands(question, metric)}{question.remark()}"
    )
    title = f"{one_line(metric)} from few annotations, {question.place()}"
    return Drawing(name, "fewshot", title, caption, question.ids, figure)


def _bands(question: Question, metric: str) -> str:
    points = [part for each in question.series for part in _points(each.record, metric)]
    if any(part.std is not None for part in points):
        return "Bands: one standard deviation over draws of the annotated images."
    if any(part.low is not None for part in points):
        return "Bands: 95 % bootstrap interval over test images (one draw of the annotated images)."
    return ""


def _points(record: RunRecord, metric: str) -> list[MetricPart]:
    """By number of annotated images."""
    found = [part for part in record.metrics if part.metric == metric and _is_point(part)]
    return sorted(found, key=lambda part: float(part.condition[_COUNT]))


def _last(record: RunRecord, metric: str) -> float | None:
    points = _points(record, metric)
    return points[-1].value if points else None


def _is_point(part: MetricPart) -> bool:
    count = part.condition.get(_COUNT)
    return set(part.condition) == {_COUNT} and type(count) is int and 0 < count < 10**9 and drawable(part)


def _apart(counts: list[int]) -> list[int]:
    """The counts whose numbers do not run into each other, the first and the last among them."""
    kept = [counts[0]]
    for count in counts[1:-1]:
        if count >= 1.35 * kept[-1] and counts[-1] >= 1.35 * count:
            kept.append(count)
    return kept + counts[-1:] if len(counts) > 1 else kept
