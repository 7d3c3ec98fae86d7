"""The annotation tables of CUB-200-2011, checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from datasets.listed import Entry
from datasets.published import require_count
from datasets.text_lists import no_twice, numbers, read_lines, split_rows

PARTS = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape",
    "right eye", "right leg", "right wing", "tail", "throat",
)  # fmt: skip
IMAGES = 11_788
SITE = "the CUB-200-2011 page of Caltech, https://www.vision.caltech.edu/datasets/cub_200_2011/"
AGAIN = f"Unpack CUB_200_2011.tgz again ({SITE}); for a smaller copy: -D check_counts=false."


@dataclass(frozen=True, eq=False)
class CubIndex:
    """The annotation of all images, by row.

    Shapes:
        points: (N, 15, 2) and boxes: (N, 4), corner origin.  visible: (N, 15).
    """

    paths: tuple[str, ...]
    rows: dict[int, int]
    points: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray

    def entry(self, number: int, root: Path, segmentations: Path | None) -> Entry:
        """The image of a number of ``images.txt``."""
        row = self.rows[number]
        path = self.paths[row]
        x0, y0, x1, y1 = self.boxes[row].tolist()
        return Entry(
            id=path,
            file=root / "images" / path,
            points=self.points[row],
            visible=self.visible[row],
            box=(x0, y0, x1, y1),
            mask=None if segmentations is None else (segmentations / path).with_suffix(".png"),
        )


def read_index(root: Path, *, base: int, check_counts: bool) -> CubIndex:
    """Read ``images.txt``, ``parts/part_locs.txt`` and ``bounding_boxes.txt`` and check them against each other."""
    images = root / "images.txt"
    listed = split_rows(images, read_lines(images, source=SITE), 2)
    keys = numbers(images, [row[:1] for row in listed])[:, 0].astype(int).tolist()
    paths = [row[1] for row in listed]
    no_twice(images, paths)
    no_twice(images, [str(key) for key in keys])
    if check_counts:
        require_count(len(keys), IMAGES, f"images in {images}", AGAIN)
    locations, visible = _read_parts(root / "parts" / "part_locs.txt", keys)
    boxes = _read_boxes(root / "bounding_boxes.txt", keys)
    boxes[:, :2] -= base
    boxes[:, 2:] += boxes[:, :2]
    index = CubIndex(
        paths=tuple(paths),
        rows={key: row for row, key in enumerate(keys)},
        points=locations + (0.5 - base),
        visible=visible,
        boxes=boxes,
    )
    check_axes(index, root / "parts" / "part_locs.txt")
    return index


def _read_parts(path: Path, keys: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    table = numbers(path, split_rows(path, read_lines(path, source=SITE), 5))
    if len(table) != len(PARTS) * len(keys):
        raise BenchError(
            f"{path} has {len(table):,} rows, expected {len(PARTS)} for each of {len(keys):,} images",
            hint=AGAIN,
        )
    expected = np.stack(
        [np.repeat(keys, len(PARTS)), np.tile(np.arange(1, len(PARTS) + 1), len(keys))], axis=1
    )
    wrong = np.flatnonzero((table[:, :2] != expected).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        found = "{:g} part {:g}".format(*table[row, :2])
        raise BenchError(
            f"{path}, line {row + 1}: image {found}, expected image {expected[row, 0]} part {expected[row, 1]}",
            hint="Rows go image by image in the order of images.txt, parts 1 to 15 each.",
        )
    flags = table[:, 4]
    odd = np.flatnonzero((flags != 0) & (flags != 1))
    if len(odd):
        raise BenchError(f"{path}, line {odd[0] + 1}: visibility {flags[odd[0]]:g}, expected 0 or 1")
    shape = (len(keys), len(PARTS))
    return table[:, 2:4].reshape(*shape, 2), flags.reshape(shape) == 1


def _read_boxes(path: Path, keys: Sequence[int]) -> np.ndarray:
    table = numbers(path, split_rows(path, read_lines(path, source=SITE), 5))
    if len(table) != len(keys) or (table[:, 0] != keys).any():
        raise BenchError(
            f"{path} does not list the {len(keys):,} images of images.txt in their order", hint=AGAIN
        )
    return table[:, 1:].copy()


def check_axes(index: CubIndex, path: Path) -> None:
    """Parts lie in the birds' boxes: raises BenchError where they do not, or would better with x and y exchanged."""
    boxes = index.boxes[:, None]
    slack = 0.1 * (boxes[..., 2:] - boxes[..., :2])

    def share_inside(points: np.ndarray) -> float:
        inside = (points >= boxes[..., :2] - slack) & (points <= boxes[..., 2:] + slack)
        return float(inside.all(axis=-1)[index.visible].mean()) if index.visible.any() else 1.0

    share, exchanged = share_inside(index.points), share_inside(index.points[..., ::-1])
    if share < 0.9 or exchanged > share:
        raise BenchError(
            f"{path}: {100 * share:.1f} % of the visible parts lie in their birds' boxes, with x and y exchanged "
            f"{100 * exchanged:.1f} %",
            hint="Columns are image, part, x, y, visible; those of boxes image, x, y, width, height.",
        )
