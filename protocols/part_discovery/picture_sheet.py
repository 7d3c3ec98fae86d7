"""Rows of pictures with names and a legend of colours: what segments and parts look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

Picture = np.ndarray[Any, Any]
Colours = np.ndarray[Any, np.dtype[np.float64]]

_INCH = 1.1  # side of a picture on the sheet
_DPI = 120
_MOST_NAMED = 24
_DARK = 0.15


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures of one kind.

    Attributes:
        name: Short; lines are broken at newlines.
        pictures: Each (H, W, 3), of one size, uint8, or floats in [0, 1].
    """

    name: str
    pictures: Sequence[Picture]


def palette(count: int) -> Colours:
    """(count, 3) colours in [0, 1] that are told apart: Tableau's for few, hues of alternating brightness for many."""
    if count <= 10:
        return np.asarray(matplotlib.colormaps["tab10"](np.arange(count)))[:, :3]
    if count <= 20:
        return np.asarray(matplotlib.colormaps["tab20"](np.arange(count)))[:, :3]
    place = np.arange(count)
    hsv = np.stack([place / count, np.where(place % 2, 0.6, 1.0), np.where(place % 3, 0.95, 0.65)], 1)
    return np.asarray(hsv_to_rgb(hsv))


def class_colours(count: int) -> Colours:
    """The background dark, the other classes as in :func:`palette`."""
    return np.concatenate([np.full((1, 3), _DARK), palette(count - 1)])


def painted(image: Picture, numbers: Picture, colours: Colours, strength: float | Picture = 0.7) -> Picture:
    """The image in grey with each pixel tinted by the colour of its number; numbers without a colour stay grey.

    Shapes:
        image: (H, W, 3), uint8.  numbers: (H, W), integers.  strength: in [0, 1], one, or (H, W).
    """
    grey = (image.astype(np.float64) @ [0.299, 0.587, 0.114] / 255)[..., None].repeat(3, -1)
    tinted = (numbers >= 0) & (numbers < len(colours))
    weight = np.where(tinted, strength, 0.0)[..., None]
    return (1 - weight) * grey + weight * colours[np.where(tinted, numbers, 0)]


def draw_sheet(rows: Sequence[Row], legend: Sequence[tuple[str, Colours]] = (), title: str = "") -> Picture:
    """One line of pictures per row, the names of the rows on the left, the legend below; (H, W, 3), uint8.

    Args:
        legend: (name, colour (3,)) pairs; of very many, none is printed.
    """
    columns = max(len(row.pictures) for row in rows)
    named = legend if len(legend) <= _MOST_NAMED else ()
    per_line = max(1, int((columns + 1) * _INCH / 1.3))
    bottom = 0.25 * -(-len(named) // per_line)
    top = 0.3 if title else 0.05
    width, height = (columns + 1) * _INCH, len(rows) * _INCH + bottom + top
    figure = Figure(figsize=(width, height), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    for i, row in enumerate(rows):
        low = (height - top - (i + 1) * _INCH) / height
        figure.text(
            0.96 * _INCH / width, low + _INCH / 2 / height, row.name, ha="right", va="center", fontsize=8
        )
        shape = (_INCH / width, low, len(row.pictures) * _INCH / width, 0.97 * _INCH / height)
        axes = figure.add_axes(shape)
        axes.imshow(_strip(row.pictures), aspect="auto")
        axes.set_axis_off()
    if title:
        figure.text(_INCH / width, 1 - 0.2 / height, title, fontsize=9, va="center")
    if named:
        lines = -(-len(named) // per_line)
        by_line = [named[line * per_line : (line + 1) * per_line] for line in range(lines)]
        # A legend is filled column by column, and read line by line.
        ordered = [line[place] for place in range(per_line) for line in by_line if place < len(line)]
        patches = [Patch(color=tuple(colour), label=name) for name, colour in ordered]
        figure.legend(handles=patches, loc="lower center", ncols=per_line, fontsize=7, frameon=False)
    return rendered(canvas)


def _strip(pictures: Sequence[Picture]) -> Picture:
    """Pictures side by side, a white gap after each; floats in [0, 1]. One image is drawn far faster than many."""
    parts = []
    for picture in pictures:
        values = picture / 255 if picture.dtype == np.uint8 else np.clip(picture, 0.0, 1.0)
        gap = max(1, round(0.03 * picture.shape[1]))
        parts.append(np.pad(values, ((0, 0), (0, gap), (0, 0)), constant_values=1.0))
    return np.concatenate(parts, axis=1)


def rendered(canvas: FigureCanvasAgg) -> Picture:
    """What is drawn on a canvas, (H, W, 3), uint8."""
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
