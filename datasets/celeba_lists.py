"""The lists of CelebA and MAFL: which image is in which split, and where its five points are.

Both usual layouts are read: the official one (``Anno/``, ``Eval/``, ``Img/``, with ``MAFL/`` beside them) and
the flat one that torchvision unpacks.

Convention: landmark lists hold whole pixel numbers, 0-based as all public loaders read them, in the order left
eye, right eye, nose, left mouth corner, right mouth corner as seen in the IMAGE; 0.5 is added to make them
corner-origin. A box ``x y w h`` covers pixels x to x + w - 1: corners (x, y, x + w, y + h).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import BenchError
from datasets.five_points import require_upright
from datasets.text_lists import named_numbers, no_twice, read_lines, split_rows

Kind = Literal["aligned", "wild"]
Array = np.ndarray

ALIGNED_SIZE = (178, 218)
"""(width, height) of the aligned images."""

IMAGES = 202_599
PARTITIONS = (162_770, 19_867, 19_962)
MAFL_SIZES = {"training.txt": 19_000, "testing.txt": 1_000}

CELEBA_SITE = "the CelebA page of MMLab, CUHK: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
MAFL_SITE = "github.com/zhzhanp/TCDCN-face-alignment (folder MAFL)"

LANDMARK_LISTS: dict[Kind, str] = {
    "aligned": "list_landmarks_align_celeba.txt",
    "wild": "list_landmarks_celeba.txt",
}
IMAGE_FOLDERS: dict[Kind, tuple[str, ...]] = {
    "aligned": ("Img/img_align_celeba", "Img/img_align_celeba_hq", "img_align_celeba", "img_align_celeba_hq"),
    "wild": ("Img/img_celeba", "img_celeba"),
}
_POINT_COLUMNS = tuple(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)
_BOX_COLUMNS = ("x_1", "y_1", "width", "height")
_STRAY_SHARE = 0.01
_SHORTENED = "For a shortened copy of your own, add -D check_counts=false."


@dataclass(frozen=True, eq=False)
class CelebaIndex:
    """All images in the order of the partition list, which is the order of their names.

    Shapes:
        partition: (N,), 0 train, 1 val, 2 test.  points: (N, 5, 2), pixels of the stored image, corner origin.
        boxes: (N, 4), (x0, y0, x1, y1) in the image in the wild, where asked for.
    """

    names: tuple[str, ...]
    partition: Array
    points: Array
    identities: tuple[str, ...] | None
    boxes: Array | None


def read_index(root: Path, kind: Kind, *, boxes: bool = False, check_counts: bool = True) -> CelebaIndex:
    """Read the partition, landmark, identity (where it is there) and box lists and check them against each other.

    Raises:
        BenchError: names the file and line that is wrong.
    """
    names, partition = _partition(find(root, "list_eval_partition.txt"), check_counts)
    points = _points(find(root, LANDMARK_LISTS[kind]), kind, names)
    identity_file = find(root, "identity_CelebA.txt")
    identities = None
    if identity_file.is_file():
        rows = split_rows(identity_file, read_lines(identity_file, source=CELEBA_SITE), 2)
        _same_names(identity_file, [row[0] for row in rows], names)
        identities = tuple(row[1] for row in rows)
    corners = None
    if boxes:
        corners = _headed_list(find(root, "list_bbox_celeba.txt"), _BOX_COLUMNS, names)
        corners = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    return CelebaIndex(names, partition, points, identities, corners)


def find(root: Path, name: str) -> Path:
    """Where a list lies; where it should lie if it is nowhere."""
    folder = "Eval" if name == "list_eval_partition.txt" else "Anno"
    places = (root / folder / name, root / name)
    return next((place for place in places if place.is_file()), places[0])


def image_folder(root: Path, kind: Kind, chosen: str | None) -> Path:
    """The folder of the images: the chosen one, or the first of the usual ones.

    Raises:
        BenchError: where it is not there.
    """
    if chosen is not None:
        folder = root / chosen
        if not folder.is_dir():
            raise BenchError(f"there is no folder {folder}", hint="-D images is relative to the location.")
        return folder
    for name in IMAGE_FOLDERS[kind]:
        if (root / name).is_dir():
            return root / name
    raise BenchError(
        f"{root} has no folder of {'aligned' if kind == 'aligned' else 'in-the-wild'} CelebA images",
        hint=f"Unpack them as {root / IMAGE_FOLDERS[kind][0]}; they are had from {CELEBA_SITE}.",
    )


def read_mafl(
    folder: Path, known: tuple[str, ...], *, check_counts: bool = True
) -> dict[str, frozenset[str]]:
    """The names in MAFL's ``training.txt`` and ``testing.txt``, keyed by these.

    Raises:
        BenchError: where a list is missing, has another length than published, names what CelebA has not, or
            shares an image with the other.
    """
    lists: dict[str, frozenset[str]] = {}
    everything = set(known)
    for file, size in MAFL_SIZES.items():
        path = folder / file
        rows = split_rows(path, read_lines(path, source=MAFL_SITE), 1)
        names = [row[0] for row in rows]
        no_twice(path, names)
        if check_counts and len(names) != size:
            raise BenchError(
                f"{path} lists {len(names)} images, MAFL's {file} lists {size}",
                hint=f"Get it again from {MAFL_SITE}. {_SHORTENED}",
            )
        strangers = sorted(set(names) - everything)
        if strangers:
            raise BenchError(
                f"{path} names {len(strangers)} images that CelebA does not list, e.g. {strangers[0]!r}"
            )
        lists[file] = frozenset(names)
    shared = sorted(lists["training.txt"] & lists["testing.txt"])
    if shared:
        raise BenchError(
            f"{len(shared)} images are in both training.txt and testing.txt of {folder}, e.g. {shared[0]!r}",
            hint=f"MAFL's lists share none; get them again from {MAFL_SITE}.",
        )
    return lists


def _partition(path: Path, check_counts: bool) -> tuple[tuple[str, ...], Array]:
    names, values = named_numbers(path, read_lines(path, source=CELEBA_SITE), 1)
    no_twice(path, names)
    partition = values[:, 0]
    strange = np.flatnonzero(~np.isin(partition, (0, 1, 2)))
    if len(strange):
        raise BenchError(
            f"{path}, line {strange[0] + 1}: partition {partition[strange[0]]:g}, expected 0 (train), 1 (val) or "
            "2 (test)"
        )
    sizes = tuple(int((partition == part).sum()) for part in (0, 1, 2))
    if check_counts and sizes != PARTITIONS:
        raise BenchError(
            f"{path} has {sizes} images for train, val and test, the published list has {PARTITIONS}",
            hint=f"Get it again from {CELEBA_SITE}. {_SHORTENED}",
        )
    return tuple(names), partition.astype(np.int64)


def _points(path: Path, kind: Kind, names: tuple[str, ...]) -> Array:
    points = _headed_list(path, _POINT_COLUMNS, names).reshape(-1, 5, 2)
    hint = f"Expected columns: {' '.join(_POINT_COLUMNS)}. Get it again from {CELEBA_SITE}."
    require_upright(points, str(path), hint)
    if kind == "aligned":
        width, height = ALIGNED_SIZE
        outside = ((points < 0) | (points >= (width, height))).any(axis=(1, 2))
        if outside.mean() > _STRAY_SHARE:  # a stray point of one image is told by bench data verify
            first = int(np.argmax(outside))
            raise BenchError(
                f"{path}: the points of {int(outside.sum())} images are outside {width} x {height} pixels, e.g. "
                f"{names[first]}: {points[first].astype(int).tolist()}",
                hint=f"{LANDMARK_LISTS['wild']} under this name? The list of the aligned images is needed.",
            )
    return points + 0.5


def _headed_list(path: Path, columns: tuple[str, ...], names: tuple[str, ...]) -> Array:
    """A list whose line 1 is the number of rows and line 2 the names of the columns."""
    lines = read_lines(path, source=CELEBA_SITE)
    if len(lines) < 2 or not lines[0].isdigit():
        raise BenchError(
            f"{path} begins with {lines[0][:60]!r}, expected the number of its rows",
            hint="Line 1 is the count, line 2 the names of the columns, then one image a line.",
        )
    found = lines[1].split()
    if found not in (list(columns), ["image_id", *columns]):
        raise BenchError(f"{path}, line 2: columns {' '.join(found)}, expected {' '.join(columns)}")
    if len(lines) - 2 != int(lines[0]):
        raise BenchError(
            f"{path} announces {lines[0]} rows and has {len(lines) - 2}",
            hint=f"The file is incomplete: get it again from {CELEBA_SITE}.",
        )
    listed, values = named_numbers(path, lines[2:], len(columns), first=3)
    _same_names(path, listed, names)
    return values


def _same_names(path: Path, found: list[str], names: tuple[str, ...]) -> None:
    if tuple(found) == names:
        return
    if len(found) != len(names):
        raise BenchError(
            f"{path} has {len(found)} images, list_eval_partition.txt has {len(names)}",
            hint="Both lists have to come from one copy of CelebA.",
        )
    place = next(i for i, (a, b) in enumerate(zip(found, names, strict=True)) if a != b)
    raise BenchError(
        f"{path} and list_eval_partition.txt do not list the same images: row {place + 1} is {found[place]!r} "
        f"there and {names[place]!r} here"
    )
