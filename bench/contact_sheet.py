"""Many samples of a data set in one picture: the first thing to look at."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from bench.errors import BenchError
from bench.landmarks import LandmarkDataset, Sample

_CELL = 160
_FINE = 4  # marks are drawn on a larger canvas and shrunk, which smooths their edges
_GROUPS = 7


def contact_sheet(dataset: LandmarkDataset, rows: int, columns: int, landmarks: bool = True) -> Image.Image:
    """A grid of samples, evenly spread over the data set; visible landmarks filled, occluded ones hollow.

    The colour of a landmark follows its index, so that a wrong order shows. Images keep their aspect ratio in square
    cells; small ones are enlarged. Cells beyond the last sample stay black.

    Raises:
        BenchError: for an empty grid or an empty data set.
    """
    if rows < 1 or columns < 1:
        raise BenchError(f"a contact sheet needs at least one row and column, got {rows} x {columns}")
    if len(dataset) == 0:
        raise BenchError(f"split {dataset.split!r} of {dataset.name!r} is empty")
    count = min(rows * columns, len(dataset))
    sheet = Image.new("RGB", (columns * _CELL, rows * _CELL))
    for cell in range(count):
        row, column = divmod(cell, columns)
        picture = _cell(dataset[cell * len(dataset) // count], landmarks)
        left = column * _CELL + (_CELL - picture.width) // 2
        sheet.paste(picture, (left, row * _CELL + (_CELL - picture.height) // 2))
    return sheet


def _cell(sample: Sample, landmarks: bool) -> Image.Image:
    height, width = sample.image.shape[-2:]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy()))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    if not landmarks or len(sample.points) == 0:
        return picture
    fine = picture.resize((size[0] * _FINE, size[1] * _FINE), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(fine)
    radius = (2.4 if len(sample.points) <= 12 else 1.3) * _FINE
    factor = np.array([fine.width / width, fine.height / height])
    for index, ((x, y), visible) in enumerate(
        zip(sample.points.numpy() * factor, sample.visible.tolist(), strict=True)
    ):
        colour = f"hsv({360 * (index % _GROUPS) // _GROUPS}, 100%, 100%)"
        box = (x - radius, y - radius, x + radius, y + radius)
        if visible:
            pen.ellipse(box, fill=colour, outline="black", width=_FINE // 4)
        else:
            pen.ellipse(box, outline=colour, width=_FINE // 2)
    return fine.resize(size, Image.Resampling.BOX)
