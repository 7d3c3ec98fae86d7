"""One image, enlarged, with smooth marks; and sheets of such images with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = npt.NDArray[np.uint8]
Place = tuple[float, float]

DARK = "#101010"
TRUE = "#ffffff"
FOUND = "#19b5ff"
"""Blue stands out from skin, fur and leaves, for any colour vision."""
SEVERAL = ("#e69f00", "#56b4e9", "#00c08b", "#f0e442", "#4d8bff", "#ff7a2f", "#e38fc0", "#ffffff")
"""Of points that are told apart: bright forms of the palette of Okabe and Ito."""

_FINE = 3  # marks are drawn on a larger canvas and shrunk, which smooths their edges
_TEXT = 15
_GAP = 6


class Canvas:
    """Marks on one or several images side by side.

    Convention: places are (x, y) in pixels of the image, corner origin.
    """

    def __init__(self, images: Sequence[Tensor], side: int) -> None:
        """Images (3, H, W), uint8, are enlarged to so many pixels a side."""
        self._side = side * _FINE
        self._scale = [self._side / max(image.shape[-2:]) for image in images]
        self._picture = Image.new("RGB", (len(images) * self._side, self._side), "white")
        for number, image in enumerate(images):
            pixels = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
            size = (round(pixels.width * self._scale[number]), round(pixels.height * self._scale[number]))
            self._picture.paste(pixels.resize(size, Image.Resampling.BICUBIC), (number * self._side, 0))
        self._pen = ImageDraw.Draw(self._picture)

    def dot(self, place: Place, colour: str, radius: float, image: int = 0) -> None:
        """A filled circle; radii and widths are in pixels of the enlarged image."""
        self._pen.ellipse(self._box(place, radius, image), fill=colour, outline=DARK, width=_FINE // 2)

    def ring(self, place: Place, colour: str, radius: float, image: int = 0) -> None:
        self._pen.ellipse(self._box(place, radius + 0.6, image), outline=DARK, width=round(2.4 * _FINE))
        self._pen.ellipse(self._box(place, radius, image), outline=colour, width=round(1.4 * _FINE))

    def line(
        self, start: Place, end: Place, colour: str, width: float, images: tuple[int, int] = (0, 0)
    ) -> None:
        ends = [self._at(start, images[0]), self._at(end, images[1])]
        self._pen.line(ends, fill=colour, width=max(1, round(width * _FINE)))

    def picture(self) -> Picture:
        """(side, images * side, 3)."""
        size = (self._picture.width // _FINE, self._picture.height // _FINE)
        return np.asarray(self._picture.resize(size, Image.Resampling.BOX))

    def _at(self, place: Place, image: int) -> Place:
        return place[0] * self._scale[image] + image * self._side, place[1] * self._scale[image]

    def _box(self, place: Place, radius: float, image: int) -> tuple[float, float, float, float]:
        (x, y), reach = self._at(place, image), radius * _FINE
        return x - reach, y - reach, x + reach, y + reach


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures of one size side by side, a name on the left, and a text below each."""

    name: str
    pictures: Sequence[Picture]
    texts: Sequence[str] = ()


def sheet(rows: Sequence[Row], legend: Sequence[tuple[str, str]] = ()) -> Picture:
    """Rows below each other on white.

    Args:
        legend: (sign, meaning) pairs below everything; the signs are "ring" and "dot".
    """
    font = _font()
    left = max(round(font.getlength(row.name)) for row in rows)
    left += 2 * _GAP if left else 0
    below = [_TEXT + _GAP if row.texts else 0 for row in rows]
    heights = [row.pictures[0].shape[0] + extra + _GAP for row, extra in zip(rows, below, strict=True)]
    columns = max(sum(picture.shape[1] + _GAP for picture in row.pictures) for row in rows)
    foot = _TEXT + 2 * _GAP if legend else 0
    page = Image.new("RGB", (left + columns, sum(heights) + foot), "white")
    pen = ImageDraw.Draw(page)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        x = left
        tall = row.pictures[0].shape[0]
        pen.text((left - _GAP, top + tall / 2), row.name, fill=DARK, font=font, anchor="rm")
        for number, picture in enumerate(row.pictures):
            page.paste(Image.fromarray(picture), (x, top))
            if row.texts:
                middle = (x + picture.shape[1] / 2, top + tall + 2)
                pen.text(middle, row.texts[number], fill=DARK, font=font, anchor="ma")
            x += picture.shape[1] + _GAP
        top += height
    if legend:
        _draw_legend(page, legend, (left, top + foot // 2))
    return np.asarray(page)


def _draw_legend(page: Image.Image, legend: Sequence[tuple[str, str]], start: tuple[int, int]) -> None:
    pen, font = ImageDraw.Draw(page), _font()
    x, y = start
    for sign, meaning in legend:
        patch = Image.new("RGB", (3 * _TEXT, 3 * _TEXT), "#808080")
        own = ImageDraw.Draw(patch)
        middle, reach = 1.5 * _TEXT, 0.7 * _TEXT
        box = (middle - reach, middle - reach, middle + reach, middle + reach)
        if sign == "ring":
            own.ellipse(box, outline=TRUE, width=5)
        else:
            own.ellipse(box, fill=FOUND, outline=DARK, width=2)
        page.paste(patch.resize((_TEXT, _TEXT), Image.Resampling.BOX), (x, y - _TEXT // 2))
        pen.text((x + _TEXT + _GAP, y), meaning, fill=DARK, font=font, anchor="lm")
        x += _TEXT + 4 * _GAP + round(font.getlength(meaning))


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
