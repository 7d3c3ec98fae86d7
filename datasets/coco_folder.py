"""The folder of a data set on disk: which splits it has, and whether a split's images fit its annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from datasets.coco_annotations import ANNOTATIONS, CocoCategory, CocoImage, CocoSplit, read_annotations
from datasets.images import is_turned_by_exif, stored_size

# Rounding and half-pixel conventions put honest points up to a pixel beyond the border.
_TOLERANCE_PX = 1.0
_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def split_names(folder: Path) -> tuple[str, ...]:
    inside = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return tuple(sorted(e.name for e in inside if (e / ANNOTATIONS).is_file() or (e / "images").is_dir()))


def read_split(root: Path, objects: Literal["only", "largest"], *, needs_annotation: bool) -> CocoSplit:
    path = root / ANNOTATIONS
    if path.is_file():
        return read_annotations(path, objects)
    if needs_annotation:
        others = ", ".join(sorted(p.name for p in root.glob("*.json")))
        raise BenchError(
            f"{path} is missing", hint=f"Rename one of these to {ANNOTATIONS}: {others}." if others else None
        )
    return _unlabelled(root)


def _unlabelled(root: Path) -> CocoSplit:
    """A folder of images alone, in the order of their names."""
    folder = root / "images"
    files = sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES
    )
    if not files:
        raise BenchError(f"{folder} holds no images", hint=f"Known kinds: {', '.join(sorted(_SUFFIXES))}.")
    images = tuple(CocoImage(id=i, file_name=name) for i, name in enumerate(files))
    nothing = np.zeros((len(images), 0))
    return CocoSplit(
        root,
        {},
        (),
        CocoCategory(),
        images,
        nothing.reshape(len(images), 0, 2),
        nothing.astype(np.int8),
        (None,) * len(images),
    )


def locate_images(root: Path, images: Sequence[CocoImage]) -> tuple[Path, ...]:
    folder = root / "images"
    if not folder.is_dir():
        raise BenchError(f"{folder} is missing", hint="The images of a split lie in its sub-folder images/.")
    files = tuple(folder.joinpath(image.file_name.replace("\\", "/")) for image in images)
    missing = [file for file in files if not file.is_file()]
    if missing:
        shown = ", ".join(str(file) for file in missing[:3])
        raise BenchError(
            f"{len(missing)} of {len(files)} images are missing: {shown}{' ...' if len(missing) > 3 else ''}",
            hint="file_name must be relative to the split's images/ folder.",
        )
    return files


def check_sizes(content: CocoSplit, files: Sequence[Path]) -> NDArray[np.float64]:
    """(N, 2) widths and heights of the stored images, checked against the file's."""
    sizes = [stored_size(file) for file in files]
    for image, file, (width, height) in zip(content.images, files, sizes, strict=True):
        stated = (image.width or width, image.height or height)
        if stated != (width, height):
            hint = (
                "The points would not fit: annotate the image as it is stored, or correct width and height."
            )
            if stated == (height, width) and is_turned_by_exif(file):
                hint = (
                    "Its EXIF orientation swaps the sides, and the annotation was made on the upright image: "
                    "save the image upright, without that tag."
                )
            raise BenchError(
                f"image {file} is {width} x {height}, {content.path} says {stated[0]} x {stated[1]}",
                hint=hint,
            )
    return np.array(sizes, dtype=np.float64)


def points_inside(
    content: CocoSplit,
    sizes: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    outside: Literal["error", "drop"],
) -> NDArray[np.bool_]:
    corner_origin = content.keypoints + 0.5
    limit = sizes[:, None, :] + _TOLERANCE_PX
    inside = ((corner_origin >= -_TOLERANCE_PX) & (corner_origin <= limit)).all(axis=2)
    wrong = np.argwhere(labelled & ~inside)
    if outside == "error" and len(wrong):
        row, point = wrong[0]
        x, y = content.keypoints[row, point]
        width, height = sizes[row]
        raise BenchError(
            f"{content.path}: {len(wrong)} labelled points lie outside their image, the first is "
            f"{content.category.keypoints[point]!r} of {content.images[row].file_name!r} at ({x:g}, {y:g}), "
            f"the image is {width:g} x {height:g}",
            hint="Correct the annotation, or choose -D outside=drop to treat such points as not visible.",
        )
    return np.asarray(inside)
