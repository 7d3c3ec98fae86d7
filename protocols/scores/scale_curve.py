"""The drawing of protocol ``scale``: error against zoom-out factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.protocol import MetricValue


def draw_zoom_curve(
    edges: Sequence[float], values: Sequence[MetricValue | None], seen: tuple[float, float]
) -> np.ndarray[Any, Any]:
    """The error of every bin at its centre with its 95 % interval; the range learned from is shaded.

    Args:
        edges: Of the bins, one more than there are values.
        values: None: nothing is counted in the bin, and the curve has a gap.
        seen: The range of factors of the training images.

    Shapes:
        returns: (480, 720, 3), uint8.
    """
    # Imported here: it takes long to load, and whoever lists protocols draws nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(7.2, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    centres = (np.array(edges[:-1]) + np.array(edges[1:])) / 2
    means, lows, highs = (
        np.array([np.nan if value is None else getattr(value, name) for value in values], dtype=np.float64)
        for name in ("value", "low", "high")
    )
    axes.axvspan(*seen, color="0.9", label="seen in training", zorder=0)
    axes.fill_between(centres, lows, highs, alpha=0.25, linewidth=0, label="95 % interval over images")
    axes.plot(centres, means, marker="o", label="mean over landmarks")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("zoom-out factor")
    axes.set_ylabel("error, % of inter-ocular distance")
    axes.legend(loc="upper left")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
