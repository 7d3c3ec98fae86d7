"""Where on the object the errors are: every landmark at its mean place, with a circle of its mean error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.spatial.distance import cdist

from bench.report import Runs
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.landmark_scores import ranked
from reports.figures.predictions import PROTOCOLS, Numbers, Predicted, read
from reports.figures.series import Question, Series, questions, slug
from reports.figures.style import COLUMN, GREY, PAGE, SMALL, new_figure, paper_style
from reports.frame import Selection

_COLOURS = "viridis"  # grows evenly in lightness, so that it prints in grey
_MOST_PANELS = 8
_PER_ROW = 4
# Inches; four panels and the bar are a page wide, two are a column wide.
_BAR = 0.8
_PANEL = (PAGE - _BAR) / _PER_ROW
_WIDE_PANEL = (COLUMN - _BAR) / 2


@dataclass(frozen=True, eq=False)
class _Map:
    """Shapes: places (K, 2), pixels; distances (K,), pixels; errors (K,), in the unit of the colours."""

    series: Series
    places: Numbers
    distances: Numbers
    errors: Numbers
    in_percent: bool


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    for question in questions(runs, selection, PROTOCOLS):
        drawing = _draw(ranked(question), runs)
        if drawing is not None:
            yield drawing


LANDMARKS = FigureKind(
    "landmarks", "mean error of each landmark at its mean place, method beside method", PROTOCOLS, _each
)


def _draw(question: Question, runs: Runs) -> Drawing | None:
    maps: list[_Map] = []
    # Only as many as are shown are read.
    for each in question.series:
        predicted = read(runs, each.record)
        found = None if predicted is None else _map(each, predicted)
        if found is not None and (not maps or found.in_percent == maps[0].in_percent):
            maps.append(found)
        if len(maps) == _MOST_PANELS:
            break
    if not maps:
        return None
    ids = tuple(each.series.record.id for each in maps)
    unit = "% of inter-ocular distance" if maps[0].in_percent else "px of the image"
    scale = _scale(maps)
    with paper_style():
        figure = _panels(maps, unit, scale)
    size = "the mean distance" if scale == 1 else f"1/{round(1 / scale)} of the mean distance"
    left_out = question.left_out + len(question.series) - len(maps)
    more = f" The best {len(maps)} of {len(maps) + left_out} runs are shown." if left_out else ""
    caption = (
        f"Mean error of each landmark, drawn at its mean annotated place on {question.data()}, {question.asked()}. The "
        f"radius of a circle is {size} of the predictions, in the scale of the drawing; its colour is the "
        f"mean error in {unit}; the number is the mean over landmarks.{more}"
    )
    title = f"Error by landmark, {question.record.protocol.name} on {question.place()}"
    return Drawing(slug("landmarks", question.slug), "landmarks", title, caption, ids, figure)


def _map(each: Series, predicted: Predicted) -> _Map | None:
    """Means over the images that show a landmark, and over draws; landmarks never shown are left out."""
    visible, counted = predicted.visible, predicted.counted
    in_percent = predicted.percent is not None
    shown = visible.any(0) & (counted.any(0) if in_percent else True)
    if not shown.any():
        return None
    visible, counted = visible[:, shown], counted[:, shown]
    places = np.where(visible[..., None], predicted.targets[:, shown], 0.0).sum(0) / visible.sum(0)[:, None]
    apart = np.nan_to_num(predicted.distances()[..., shown]).mean(0).sum(0) / visible.sum(0)
    errors = apart
    if predicted.percent is not None:
        errors = np.where(counted, predicted.percent[..., shown], 0.0).mean(0).sum(0) / counted.sum(0)
    return _Map(each, places, apart, errors, in_percent)


def _panels(maps: list[_Map], unit: str, scale: float) -> Figure:
    rows = math.ceil(len(maps) / _PER_ROW)
    columns = min(len(maps), _PER_ROW)
    low, high = _frame(maps, scale)
    shape = float((high[1] - low[1]) / (high[0] - low[0]))
    panel = _PANEL if columns > 2 else _WIDE_PANEL
    figure = new_figure(columns * panel + _BAR, rows * (panel * min(max(shape, 0.5), 1.6) + 0.25) + 0.1)
    # One dark landmark must not make all others look alike.
    errors = np.concatenate(
        [each.errors for each in maps if not each.series.look.baseline] or [maps[0].errors]
    )
    largest = float(np.percentile(errors, 98)) or 1.0
    colours = ScalarMappable(Normalize(0, largest), _COLOURS)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, each in zip(grid.flat, maps, strict=False):
        _panel(axes, each, colours, (low, high), scale)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    clipped = any(float(each.errors.max()) > largest for each in maps)
    bar = figure.colorbar(
        colours, ax=grid, shrink=0.85, aspect=25, pad=0.02, extend="max" if clipped else "neither"
    )
    bar.set_label(f"mean error\n({unit})", fontsize=SMALL)
    bar.outline.set_visible(False)
    return figure


def _panel(
    axes: Axes, drawn: _Map, colours: ScalarMappable, frame: tuple[Numbers, Numbers], scale: float
) -> None:
    order = np.argsort(-drawn.distances, kind="stable")  # small circles lie on large ones
    circles = [
        Circle((float(x), float(y)), float(r))
        for (x, y), r in zip(drawn.places, drawn.distances * scale, strict=True)
    ]
    axes.add_collection(
        PatchCollection(
            [circles[i] for i in order],
            facecolor=np.asarray(colours.to_rgba(drawn.errors))[order],
            edgecolor="white",
            linewidth=0.4,
        )
    )
    axes.plot(*drawn.places.T, linestyle="none", marker=".", markersize=1.6, color=GREY)
    axes.set_title(f"{drawn.series.label}  {drawn.errors.mean():.1f}", pad=2)
    axes.set_aspect("equal")
    axes.set(xlim=(frame[0][0], frame[1][0]), ylim=(frame[1][1], frame[0][1]), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _scale(maps: list[_Map]) -> float:
    """Of the radii: 1, or 1 / n where circles would otherwise cover each other."""
    crowded = 0.0
    for each in maps:
        if len(each.places) > 1:
            apart = cdist(each.places, each.places) + np.diag(np.full(len(each.places), np.inf))
            crowded = max(crowded, float(np.median(each.distances) / max(np.median(apart.min(1)), 1e-6)))
    return 1 / max(1, math.ceil(crowded))


def _frame(maps: list[_Map], scale: float) -> tuple[Numbers, Numbers]:
    """What all panels show: all landmarks of all methods, with their circles."""
    low = np.min([(each.places - scale * each.distances[:, None]).min(0) for each in maps], axis=0)
    high = np.max([(each.places + scale * each.distances[:, None]).max(0) for each in maps], axis=0)
    margin = 0.03 * float((high - low).max()) + 0.5
    return low - margin, high + margin
