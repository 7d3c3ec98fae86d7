"""The accuracy curve Acc(d): the share of points that are predicted within d pixels, and what chance would give.

Reference: Rahaman et al., 2021, equation 6; a cumulative error distribution.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from bench.errors import BenchError
from protocols.scores.metrics import PerPoint, counted_values

_CHUNK_ELEMENTS = 2**18


def area_under_curve(distances: Tensor, largest: float, visible: Tensor) -> PerPoint:
    """The mean of these values is the mean of Acc(d) over 0 <= d <= ``largest``: 1 is perfect. Exact.

    Acc is a mean of steps, one at each point's own distance e; the area under such a step is max(0, largest - e).

    Shapes:
        distances: (N, K).  visible: (N, K), which of them count.
    """
    return counted_values((1 - distances / largest).clamp(min=0), visible)


@dataclass(frozen=True)
class Chance:
    """What a pixel drawn uniformly at random from the whole image is expected to score.

    Attributes:
        accuracy: Acc(d) in percent, by distance.
        area: Mean of Acc(d) as a fraction, see :func:`area_under_curve`.
        mean: Of the distances.
    """

    accuracy: dict[int, float]
    area: float
    mean: float


def chance(points: Tensor, side: int, scale_to: int, distances: Collection[int], largest: float) -> Chance:
    """Exact: every pixel is measured for every point, none is drawn.

    Args:
        side: Of the square image that the points lie in, in pixels.
        scale_to: All distances are those of an image scaled to this side.
        distances: Of which the accuracy is wanted, whole pixels.
        largest: Upper end of the area.

    Shapes:
        points: (P, 2), pixels, corner origin.

    Raises:
        BenchError: where there are no points.
    """
    if len(points) == 0:
        raise BenchError("there is no point to predict, so chance has nothing to hit")
    centres = torch.arange(side, dtype=torch.float64) + 0.5
    beyond = max(distances) + 1
    at_distance = torch.zeros(beyond + 1, dtype=torch.long)
    area = total = 0.0
    for part in points.double().split(max(1, _CHUNK_ELEMENTS // side**2)):
        across, down = (part[..., None] - centres).square().unbind(1)
        apart = (down[:, :, None] + across[:, None, :]).sqrt_().flatten() * scale_to / side
        # A pixel is within d where its distance, rounded up, is at most d.
        at_distance += torch.bincount(apart.ceil().clamp_(max=beyond).int(), minlength=beyond + 1)
        area += float((largest - apart).clamp_(min=0).sum()) / largest
        total += float(apart.sum())
    cells = len(points) * side**2
    within = (100 * at_distance.cumsum(0) / cells).tolist()
    return Chance({distance: within[distance] for distance in sorted(distances)}, area / cells, total / cells)


@dataclass(frozen=True)
class Curve:
    """One line of the drawing: values in percent at distances, with an interval where there is one."""

    label: str
    values: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def draw_curves(distances: Sequence[float], curves: Sequence[Curve], unit: str) -> np.ndarray[Any, Any]:
    """A drawing, (480, 640, 3), uint8; the first curve is solid, others are dashed (baselines).

    Args:
        unit: Of the distances, as the axis names it.
    """
    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, curve in enumerate(curves):
        colour, style = ("C0", "-") if i == 0 else ("black", "--")
        axes.plot(distances, curve.values, style, color=colour, label=curve.label)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(distances, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel=f"d ({unit})", ylabel="Acc(d) (% of points)", xlim=(0, max(distances)), ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
