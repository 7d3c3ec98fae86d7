"""The lists of the two five-point versions of AFLW: MTFL's text, DVE's table of crops, Zhang's MATLAB files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from bench.errors import BenchError
from datasets.five_points import require_upright
from datasets.matlab import read_mat
from datasets.text_lists import no_twice, numbers, read_lines, split_rows

MTFL_SITE = (
    "the MTFL archive of MMLab, CUHK (https://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html), or DVE's archive "
    "aflw-mtfl.tar.gz (https://www.robots.ox.ac.uk/~vgg/research/DVE/)"
)
CROPS_SITE = "DVE's archive aflw-mtfl.tar.gz (https://www.robots.ox.ac.uk/~vgg/research/DVE/)"
RECROP_SITE = (
    "DVE's archive aflw-recrop.tar.gz (https://www.robots.ox.ac.uk/~vgg/research/DVE/), made by Zhang et al. "
    "(https://github.com/YutingZhang/lmdis-rep)"
)

_MTFL_COLUMNS = 15
_MTFL_ATTRIBUTES = (("gender", 2), ("smile", 2), ("glasses", 2), ("pose", 5))
_CSV_NAMES = ("image_file", "crop_file", "set")
_CSV_POINTS = slice(4, 14)


@dataclass(frozen=True, eq=False)
class FaceList:
    """Faces in the order of their list.

    Shapes:
        points: (N, 5, 2), (x, y), as the file has them.
        sizes: (N, 2), width and height that the points refer to, where the file has them.

    Attributes:
        paths: Of the images, with ``/``.
        originals: Name of the photograph that each face was cut from.
    """

    paths: tuple[str, ...]
    points: np.ndarray
    originals: tuple[str, ...] = ()
    sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)


def read_mtfl(path: Path) -> FaceList:
    """A list of MTFL: ``path x1 .. x5 y1 .. y5 gender smile glasses pose``, 1-based, backslashes or slashes.

    Raises:
        BenchError: names the line that is wrong, or the image that is there twice; tells the older list of
            CNN_FacePoint, which has as many columns.
    """
    lines = read_lines(path, source=MTFL_SITE)
    rows = split_rows(path, lines, _MTFL_COLUMNS)
    values = numbers(path, [row[1:] for row in rows])
    for column, (name, most) in enumerate(_MTFL_ATTRIBUTES, start=10):
        strange = np.flatnonzero(~np.isin(values[:, column], range(1, most + 1)))
        if len(strange):
            raise BenchError(
                f"{path}, line {strange[0] + 1}: {name} is {values[strange[0], column]:g}, expected a whole number "
                f"from 1 to {most}",
                hint="Expected 'path x1..x5 y1..y5 gender smile glasses pose'. CNN_FacePoint's lists have as many "
                f"columns and another order. MTFL's is had from {MTFL_SITE}.",
            )
    points = values[:, :10].reshape(-1, 2, 5).transpose(0, 2, 1)
    require_upright(points, str(path), f"Expected all five x, then all five y. It is had from {MTFL_SITE}.")
    paths = tuple(row[0].replace("\\", "/") for row in rows)
    no_twice(path, list(paths))
    return FaceList(paths, points, tuple(PurePosixPath(name).name.rpartition("-")[2] for name in paths))


def read_crops(path: Path) -> tuple[FaceList, frozenset[str]]:
    """DVE's ``facedata_cropped.csv``: (the faces of set 1, names of the photographs of all sets).

    Columns are found by their names ``image_file``, ``crop_file``, ``set``; x1, y1 .. x5, y5 are the fifth to the
    fourteenth, 1-based.

    Raises:
        BenchError: names the column or line that is wrong.
    """
    header, *rows = csv.reader(read_lines(path, source=CROPS_SITE))
    header = [name.strip() for name in header]
    missing = [name for name in _CSV_NAMES if name not in header]
    if missing:
        raise BenchError(
            f"{path} has no column {', '.join(missing)}; line 1 has {', '.join(header)[:120]}",
            hint=f"The first line names the columns. It is had from {CROPS_SITE}.",
        )
    if not rows:
        raise BenchError(f"{path} has no faces below its first line", hint=f"Get it again from {CROPS_SITE}.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise BenchError(f"{path}, line {number}: {len(row)} columns, expected {len(header)}")
    image, crop, chosen = (header.index(name) for name in _CSV_NAMES)
    in_set = numbers(path, [[row[chosen]] for row in rows], first=2)[:, 0] == 1
    points = numbers(path, [row[_CSV_POINTS] for row in rows], first=2)
    if points.shape[1:] != (10,):
        raise BenchError(f"{path} has {len(header)} columns, expected the points in columns 5 to 14")
    originals = [PurePosixPath(row[image].strip().replace("\\", "/")).name for row in rows]
    faces = FaceList(
        tuple(row[crop].strip().replace("\\", "/") for row, there in zip(rows, in_set, strict=True) if there),
        points[in_set].reshape(-1, 5, 2),
        tuple(name for name, there in zip(originals, in_set, strict=True) if there),
    )
    no_twice(path, list(faces.paths))
    require_upright(faces.points, str(path), f"Expected columns 5 to 14 x1, y1 .. x5, y5, from {CROPS_SITE}.")
    return faces, frozenset(originals)


def read_recrop(images: Path, keypoints: Path) -> FaceList:
    """Zhang's recrop: a list of paths, and ``gt`` (N, 5, 2) as (y, x) with ``hw`` (N, 2) as (height, width).

    Raises:
        BenchError: where the two files do not belong together or hold something else.
    """
    paths = tuple(line.replace("\\", "/") for line in read_lines(images, source=RECROP_SITE))
    points = read_mat(keypoints, "gt", source=RECROP_SITE)
    sizes = read_mat(keypoints, "hw", source=RECROP_SITE)
    again = f"Take both again from {RECROP_SITE}."
    for name, array, shape in (("gt", points, (len(paths), 5, 2)), ("hw", sizes, (len(paths), 2))):
        if array.shape != shape:
            raise BenchError(
                f"{name!r} of {keypoints} is {array.shape}, expected {shape}, as {images.name} lists {len(paths)} "
                "images",
                hint=again,
            )
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise BenchError(f"{name!r} of {keypoints} is not made of finite numbers", hint=again)
    if (sizes < 1).any():
        raise BenchError(f"'hw' of {keypoints} holds sizes below 1", hint=again)
    swapped = points.astype(np.float64)[:, :, ::-1]
    require_upright(swapped, f"'gt' of {keypoints}", f"'gt' has to hold (y, x). {again}")
    return FaceList(paths, swapped, sizes=sizes[:, ::-1].astype(np.float64))
