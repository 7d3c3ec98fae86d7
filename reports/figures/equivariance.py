"""Share of points that are found again after a warp, against the distance that counts as found."""

from __future__ import annotations

from collections.abc import Iterator

from bench.record import MetricPart, RunRecord
from bench.report import Runs
from reports.figures.curves import Curve, curve_figure, curve_of, draw
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.series import Question, drawable, questions, slug
from reports.figures.style import GREY, Look, paper_style
from reports.frame import Selection

_METRIC = "equivariance_acc"
_CHANCE = Look(GREY, "", ((0, (1, 1.5)),), baseline=True)


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    for question in questions(runs, selection, EQUIVARIANCE.protocols):
        found = question.ranked(_area, "higher")
        if found.series:
            yield _draw(found)


EQUIVARIANCE = FigureKind(
    "equivariance",
    "share of points found again after a warp, against the distance that counts",
    ("equivariance",),
    _each,
)


def _draw(question: Question) -> Drawing:
    curves = [curve_of(each.label, each.look, _points(each.record, "features")) for each in question.series]
    # The same for all methods: it depends on the points and the warps only.
    chance = curve_of("random pixel", _CHANCE, _points(question.record, "random"))
    shown: list[Curve] = [*curves, *([chance] if len(chance.x) else [])]
    width = _pixels(question.record)
    with paper_style():
        figure, axes = curve_figure(shown)
        axes.set_xlim(0, max(float(curve.x[-1]) for curve in shown))
        axes.set_ylim(0, 100)
        axes.set_xlabel(
            "distance that counts as found\n" + (f"(px of a {width}-px image)" if width else "(px)")
        )
        axes.set_ylabel("points found again (%) ↑")
        draw(axes, shown, listed=True)
    caption = (
        f"Share of points that their features find again after a rotation and an elastic deformation of the image, on "
        f"{question.data()}, {question.asked()}. Bands: 95 % bootstrap interval over images. Grey: a pixel drawn at "
        f"random.{question.remark()}"
    )
    title = f"Equivariance of features, {question.place()}"
    return Drawing(slug(question.slug), "equivariance", title, caption, question.ids, figure)


def _points(record: RunRecord, predictor: str) -> list[tuple[float, MetricPart]]:
    found = [
        (float(part.condition["distance"]), part)
        for part in record.metrics
        if part.metric == _METRIC and _is_point(part) and part.condition["predictor"] == predictor
    ]
    return sorted(found, key=lambda point: point[0])


def _is_point(part: MetricPart) -> bool:
    distance = part.condition.get("distance")
    return set(part.condition) == {"distance", "predictor"} and type(distance) is int and drawable(part)


def _area(record: RunRecord) -> float | None:
    points = _points(record, "features")
    return sum(part.value for _, part in points) / len(points) if points else None


def _pixels(record: RunRecord) -> int | None:
    """Side of the image whose pixels are meant."""
    side = record.dataset.preprocessing.get("image_size") if record.dataset else None
    width = record.protocol.options.get("scale_to") or side
    return width if type(width) is int else None
