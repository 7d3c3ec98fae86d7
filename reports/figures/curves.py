"""Lines with bands, each named at its right end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from bench.record import MetricPart
from reports.figures.style import COLUMN, SMALL, Look, light_grid, new_figure
from reports.frame import one_line

Numbers = npt.NDArray[np.float64]

_LINE = 1.3 * SMALL / 72  # inches from one name to the next
_AROUND = 0.5  # inches of a figure's height that are not its axes
_MARKS = 10  # along a line, about
_LONG = 36  # letters, beside axes of two inches
_ARROWS = {"lower": "↓", "higher": "↑"}
_NAMES = {
    "nme_interocular": "NME",
    "pck_5pct_longer_side": "PCK at 5 % of the longer side",
    "pck_cl": "PCK (ContrastLandmarks)",
    "accuracy_6px": "accuracy at 6 px",
    "matching_error_px70": "matching error",
    "matching_error_iod": "matching error",
    "equivariance_acc": "accuracy",
    "miou": "mean IoU",
    "surface_error_px70": "surface matching error",
    "regressor_gmacs": "MACs of the regressor",
    "backbone_gmacs": "MACs of the features",
    "params_m": "parameters",
    "network_size_mb": "size of the network",
    "activation_proxy_mb": "activation proxy",
    "peak_train_mb": "peak of a training step",
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One line.

    Shapes:
        x, y, low, high: (P,), a gap where NaN.
    """

    label: str
    look: Look
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None


def curve_of(label: str, look: Look, points: Sequence[tuple[float, MetricPart]]) -> Curve:
    """A line through values; its band is the deviation over draws where there is one, else the interval."""
    x = np.array([place for place, _ in points])
    y = np.array([part.value for _, part in points])
    if any(part.std is not None for _, part in points):
        std = np.array([part.std or 0.0 for _, part in points])
        return Curve(label, look, x, y, y - std, y + std)
    if all(part.low is None for _, part in points):
        return Curve(label, look, x, y)
    low = np.array([part.value if part.low is None else part.low for _, part in points])
    high = np.array([part.value if part.high is None else part.high for _, part in points])
    return Curve(label, look, x, y, low, high)


def limits(curves: Sequence[Curve], bottom: float | None = None) -> tuple[float, float]:
    """Of the vertical axis: all lines, and bands as far as they do not dwarf the lines.

    Args:
        bottom: Begin here; None: a little below what is shown.
    """
    lines = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    edges = [
        edge[np.isfinite(edge)] for curve in curves for edge in (curve.low, curve.high) if edge is not None
    ]
    low, high = float(lines.min()), float(lines.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    all_edges = np.concatenate([lines, *edges])
    low = max(float(all_edges.min()), low - 4 * margin)
    high = min(float(all_edges.max()), high + 4 * margin)
    start = low - margin if bottom is None else bottom
    return start, max(high, start) + margin


def curve_figure(curves: Sequence[Curve]) -> tuple[Figure, Axes]:
    """Axes in one column's width, high enough for the names of all curves."""
    height = max(2.3, _LINE * (len(curves) + 1) + _AROUND)
    figure = new_figure(COLUMN, height)
    axes = figure.add_subplot()
    light_grid(axes)
    return figure, axes


def draw(axes: Axes, curves: Sequence[Curve], heading: str = "", listed: bool = False) -> None:
    """Draw curves and their names, on axes whose limits are set beforehand and stay.

    Args:
        heading: Stands above the names.
        listed: The names are a list in the order of the curves, for curves that end at one place; else each stands at
            the height of its end where there is room.
    """
    for number, curve in enumerate(curves):
        depth = 2 + len(curves) - number  # the first one on top
        if curve.low is not None and curve.high is not None and not curve.look.baseline:
            axes.fill_between(
                curve.x, curve.low, curve.high, color=curve.look.colour, alpha=0.13, linewidth=0, zorder=1
            )
        every = max(1, len(curve.x) // _MARKS)
        # Marks of curves that run together are staggered.
        marked = (number * every // len(curves), every)
        axes.plot(curve.x, curve.y, **curve.look.of_line(), markevery=marked, zorder=depth, clip_on=False)
    _name(axes, [curve for curve in curves if np.isfinite(curve.y).any()], heading, listed)


def axis_name(part: MetricPart) -> str:
    """Of a metric: name, unit and which way is better, in two lines where one is long."""
    told = told_in_unit(part)
    if len(told) > _LONG:
        told = told.replace(" (", "\n(", 1)
    return f"{told} {_ARROWS[part.direction]}"


def told_in_unit(part: MetricPart) -> str:
    """Name and unit of a metric, for a sentence."""
    unit = one_line(part.unit)
    return f"{metric_name(part.metric)} ({unit})" if unit not in ("", "1") else metric_name(part.metric)


def metric_name(metric: str) -> str:
    """In words; the definition itself is the metric's own name."""
    return _NAMES.get(metric, one_line(metric).replace("_", " "))


def spread(places: Sequence[float], gap: float) -> Numbers:
    """The places within [0, 1] that are nearest (least squares) to the given ones, in their order, a gap apart.

    More places than fit reach beyond the ends, evenly.
    """
    order = np.argsort(np.asarray(places), kind="stable")
    steps = gap * np.arange(len(order))
    room = max(1.0 - gap * (len(order) - 1), 0.0)
    moved = isotonic_regression(np.asarray(places, dtype=np.float64)[order] - steps).x
    found = np.empty(len(order))
    found[order] = np.clip(moved, 0.0, room) + steps
    return found


def _name(axes: Axes, curves: Sequence[Curve], heading: str, listed: bool) -> None:
    """The names right of the axes, each with a piece of its line."""
    line = _LINE / (axes.get_figure(root=True).get_size_inches()[1] - _AROUND)  # type: ignore[union-attr]
    ends = [_end(axes, curve) for curve in curves]
    places = (
        1 - line * np.arange(len(curves), dtype=np.float64) if listed else spread([y for _, y in ends], line)
    )
    beside: dict[str, Any] = {"clip_on": False, "transform": axes.transAxes}
    for curve, (x, y), place in zip(curves, ends, places, strict=True):
        if not listed:
            axes.plot([x + 0.01, 1.05], [y, place], color=curve.look.colour, linewidth=0.4, **beside)
        axes.plot([1.06, 1.105, 1.15], [place] * 3, **curve.look.of_line(), markevery=[1], **beside)
        axes.text(1.17, place, curve.label, fontsize=SMALL, va="center", transform=axes.transAxes)
    if heading:
        top = max(places) + 0.6 * line
        axes.text(1.06, top, heading, fontsize=SMALL, va="bottom", transform=axes.transAxes)


def _end(axes: Axes, curve: Curve) -> tuple[float, float]:
    """Where a line ends, in parts of the axes."""
    shown = np.isfinite(curve.y)
    x, y = (axes.transScale + axes.transLimits).transform((curve.x[shown][-1], curve.y[shown][-1]))
    return float(x), float(np.clip(y, 0, 1))
