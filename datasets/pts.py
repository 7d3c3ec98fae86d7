"""The ``.pts`` files of 300-W and its relatives: one face's landmarks as text between braces."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from datasets.text_lists import read_lines

_COUNT = re.compile(r"n_points\s*:\s*(\d+)")


def read_pts(path: Path, count: int, *, source: str) -> np.ndarray:
    """The points as the file has them: (count, 2), float64, (x, y), 1-based by MATLAB's convention.

    White space, line ends and a missing last newline vary between the published files: what counts are the
    numbers between the braces.

    Raises:
        BenchError: where the file is missing, a web page, cut off, or holds other than ``count`` points.
    """
    again = f"Get it again from {source}."
    before, opened, rest = "\n".join(read_lines(path, source=source)).partition("{")
    inside, closed, _ = rest.partition("}")
    if not opened:
        raise BenchError(f"{path} is not a .pts file: it has no '{{'", hint=again)
    if not closed:
        raise BenchError(f"{path} is cut off: no '}}' ends its points", hint=again)
    announced = _COUNT.search(before)
    if announced is not None and int(announced[1]) != count:
        raise BenchError(f"{path} announces {announced[1]} points, expected {count}", hint=again)
    try:
        values = np.array(inside.split(), dtype=np.float64)
    except ValueError as error:
        raise BenchError(f"{path} holds something else than numbers: {error}", hint=again) from error
    if values.size != 2 * count:
        raise BenchError(f"{path} holds {values.size} numbers, expected {2 * count}", hint=again)
    if not np.isfinite(values).all():
        raise BenchError(f"{path} holds coordinates that are not finite", hint=again)
    return values.reshape(count, 2)
