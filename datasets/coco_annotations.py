"""Reading a COCO-keypoints JSON file, and everything that can be wrong with one.

Convention: coordinates stay as in the file here: 0-based pixels, an integer is a pixel's centre.

Reference:
    Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BenchError

ANNOTATIONS = "annotations.json"

PointGroup = int | str | tuple[int | str, ...]
Key = int | str
_Box = tuple[float, float, float, float]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CocoImage(_Entry):
    """An entry of ``images``; ``identity`` (or ``individual``) is an addition to COCO."""

    id: Key
    file_name: str = Field(min_length=1)
    width: int | None = Field(None, ge=1, strict=False)
    height: int | None = Field(None, ge=1, strict=False)
    identity: Key | None = None
    individual: Key | None = None

    @property
    def who(self) -> str | None:
        who = self.identity if self.identity is not None else self.individual
        return None if who is None else str(who)


class CocoAnnotation(_Entry):
    """An entry of ``annotations``: ``keypoints`` is x, y, v of each point in turn."""

    id: Key | None = None
    image_id: Key
    category_id: Key | None = None
    keypoints: tuple[float | None, ...]
    bbox: _Box | None = None
    iscrowd: int = 0


class CocoCategory(_Entry):
    """An entry of ``categories``; all but ``keypoints`` is an addition to COCO. Indices are 0-based."""

    id: Key | None = None
    name: str = "object"
    keypoints: tuple[str, ...] = ()
    flip_indices: tuple[int, ...] | None = None
    normaliser: tuple[PointGroup, PointGroup] | None = None
    outer_eye_corners: tuple[PointGroup, PointGroup] | None = None
    eye_centre_groups: tuple[PointGroup, PointGroup] | None = None
    five_point_groups: tuple[PointGroup, ...] | None = None


class _Document(_Entry):
    info: dict[str, Any] = Field(default_factory=dict)
    licenses: tuple[dict[str, Any], ...] = ()
    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...]
    categories: tuple[CocoCategory, ...] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """The content of one file, one object per image, in the order of ``images``.

    Shapes:
        keypoints: (N, K, 2), float64, the file's own coordinates; 0 where ``flags`` is 0.
        flags: (N, K), int8: 0 not labelled, 1 labelled and occluded, 2 labelled and visible.
    """

    path: Path
    info: dict[str, Any]
    licences: tuple[str, ...]
    category: CocoCategory
    images: tuple[CocoImage, ...]
    keypoints: NDArray[np.float64]
    flags: NDArray[np.int8]
    boxes: tuple[_Box | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.category.keypoints


def read_annotations(path: Path, objects: Literal["only", "largest"]) -> CocoSplit:
    """Read and check an annotation file.

    Crowds (``iscrowd: 1``) are no objects; beside another object, one without any labelled point is none.

    Args:
        objects: With several objects in an image, ``only`` is an error and ``largest`` takes the one with the
            largest ``bbox`` (or, without one, the largest extent of its labelled points).

    Raises:
        BenchError: says what is wrong, in which entry, and how many further entries are.
    """
    document = _parse(path)
    _check_images(path, document.images)
    ids = [a.id for a in document.annotations if a.id is not None]
    _refuse_duplicates(path, "annotation id", ids)
    category = _category(path, document)
    chosen = _one_per_image(path, document, objects)
    points_count = len(category.keypoints)
    keypoints = np.zeros((len(document.images), points_count, 2))
    flags = np.zeros((len(document.images), points_count), dtype=np.int8)
    for row, image in enumerate(document.images):
        if image.id in chosen:
            keypoints[row], flags[row] = _points(path, image, chosen[image.id], category)
    boxes = [chosen[image.id].bbox if image.id in chosen else None for image in document.images]
    licences = tuple(str(entry["name"]) for entry in document.licenses if entry.get("name"))
    return CocoSplit(path, document.info, licences, category, document.images, keypoints, flags, tuple(boxes))


def _parse(path: Path) -> _Document:
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return _Document.model_validate_json(content, strict=True)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        if first["type"] == "json_invalid":
            reason = first["msg"].removeprefix("Invalid JSON: ")
            raise BenchError(
                f"{path} is not valid JSON: {reason}", hint="Was it cut off while it was written or copied?"
            ) from error
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise BenchError(
            f"{path} is not COCO-keypoints JSON: {where.lstrip('.')}: {first['msg']}{more}",
            hint="Expected: images (id, file_name), annotations (image_id, keypoints) and categories.",
        ) from error


def _check_images(path: Path, images: Sequence[CocoImage]) -> None:
    if not images:
        raise BenchError(f"{path} lists no images")
    _refuse_duplicates(path, "image id", [image.id for image in images])
    _refuse_duplicates(path, "file_name", [image.file_name for image in images])
    for image in images:
        # Read as a Windows path, both kinds of separators and drive letters are seen on every system.
        name = PureWindowsPath(image.file_name)
        if ".." in name.parts or name.anchor:
            raise BenchError(
                f"{path}: file_name {image.file_name!r} leads out of the split's folder",
                hint="file_name must be relative to the images/ folder.",
            )


def _refuse_duplicates(path: Path, what: str, values: Iterable[Key]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        shown = ", ".join(repr(value) for value in twice[:3])
        raise BenchError(f"{path}: {what} is not unique: {shown}{' ...' if len(twice) > 3 else ''}")


def _category(path: Path, document: _Document) -> CocoCategory:
    """The category that the annotations use, with names for its points."""
    by_id = {category.id: category for category in document.categories}
    used = dict.fromkeys(a.category_id for a in document.annotations if a.category_id is not None)
    unknown = [key for key in used if key not in by_id]
    if unknown:
        raise BenchError(f"{path}: category_id {unknown[0]!r} of an annotation is not among the categories")
    candidates = [by_id[key] for key in used] or [document.categories[0]]
    category = candidates[0]
    for other in candidates[1:]:
        if other.keypoints != category.keypoints:
            raise BenchError(
                f"{path}: categories {category.name!r} and {other.name!r} have different keypoints",
                hint="Make one folder per category.",
            )
    names = category.keypoints
    if not names and document.annotations:
        # Several public files (300W, WFLW of mmpose) leave the names out.
        count = len(document.annotations[0].keypoints) // 3
        names = tuple(f"point_{i}" for i in range(count))
    _refuse_duplicates(path, f"keypoint name of category {category.name!r}", names)
    flips = category.flip_indices
    if flips is not None and [flips[i] if 0 <= i < len(flips) else -1 for i in flips] != list(
        range(len(names))
    ):
        raise BenchError(
            f"{path}: flip_indices of category {category.name!r} must pair the {len(names)} points with each "
            "other (0-based, the mirror image of a mirror image is the point itself)"
        )
    return category.model_copy(update={"keypoints": names})


def _one_per_image(
    path: Path, document: _Document, objects: Literal["only", "largest"]
) -> dict[Key, CocoAnnotation]:
    names = {image.id: image.file_name for image in document.images}
    found: dict[Key, list[CocoAnnotation]] = {}
    for annotation in document.annotations:
        if annotation.image_id not in names:
            raise BenchError(
                f"{path}: annotation {annotation.id!r} is for image {annotation.image_id!r}, "
                "which is not among the images"
            )
        if not annotation.iscrowd:
            found.setdefault(annotation.image_id, []).append(annotation)
    chosen = {}
    crowded = []
    for key, candidates in found.items():
        labelled = [a for a in candidates if any(a.keypoints[2::3])]
        if len(labelled) > 1:
            crowded.append(names[key])
        chosen[key] = max(labelled or candidates[:1], key=_extent)
    if crowded and objects == "only":
        raise BenchError(
            f"{path}: {len(crowded)} images show several objects, e.g. {crowded[0]!r}",
            hint="Give one annotation per image (crop to the object), or choose -D objects=largest.",
        )
    return chosen


def _extent(annotation: CocoAnnotation) -> float:
    if annotation.bbox is not None:
        return annotation.bbox[2] * annotation.bbox[3]
    triples = np.array(annotation.keypoints, dtype=np.float64)
    triples = triples[: len(triples) // 3 * 3].reshape(-1, 3)
    seen = triples[triples[:, 2] > 0, :2]
    return float(np.prod(np.ptp(seen, axis=0))) if len(seen) else 0.0


def _points(
    path: Path, image: CocoImage, annotation: CocoAnnotation, category: CocoCategory
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    count = len(category.keypoints)
    if len(annotation.keypoints) != 3 * count:
        raise BenchError(
            f"{path}: the annotation of {image.file_name!r} has {len(annotation.keypoints)} keypoint values, "
            f"expected {3 * count} (x, y, v for each of {count} points)"
        )
    triples = np.array(annotation.keypoints, dtype=np.float64).reshape(count, 3)
    flags = triples[:, 2]
    wrong = ~np.isin(flags, (0, 1, 2))
    if wrong.any():
        i = int(wrong.argmax())
        raise BenchError(
            f"{path}: point {category.keypoints[i]!r} of {image.file_name!r} has visibility {flags[i]:g}, "
            "expected 0 (not labelled), 1 (occluded) or 2 (visible)"
        )
    points = np.where(flags[:, None] > 0, triples[:, :2], 0.0)
    broken = ~np.isfinite(points).all(axis=1)
    if broken.any():
        i = int(broken.argmax())
        raise BenchError(
            f"{path}: point {category.keypoints[i]!r} of {image.file_name!r} is labelled but has "
            f"the coordinates ({points[i, 0]:g}, {points[i, 1]:g})",
            hint="Give numbers, or visibility 0 where the point is not labelled.",
        )
    return points, flags.astype(np.int8)
