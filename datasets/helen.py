"""HELEN with the segments of Smith et al., for face parsing: ``helen:FOLDER``.

Layout (2,000 + 230 + 100 images)::

    FOLDER/exemplars.txt, tuning.txt, testing.txt      lines "number , name"
    FOLDER/images/NAME.jpg
    FOLDER/labels/NAME/NAME_lbl00.png ... NAME_lbl10.png

There are no landmarks. A sample's mask is everything but the background; its labels tell the eleven classes apart.
"left" and "right" in the names are the set's own. Thewlis et al. (ICCV 2017, supplement) speak of ten classes and do
not say which; here nothing is merged or left out.

Reference: Smith, Zhang, Brandt, Lin, Yang: Exemplar-Based Face Parsing. CVPR 2013.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.digests import file_digests
from datasets.images import read_rgb
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, require_count, require_split
from datasets.text_lists import no_twice, read_lines

SOURCE = (
    "the page of Exemplar-Based Face Parsing, University of Wisconsin "
    "(https://pages.cs.wisc.edu/~lizhang/projects/face-parsing/)"
)
LABEL_NAMES = (
    "background",
    "face_skin",
    "left_eyebrow",
    "right_eyebrow",
    "left_eye",
    "right_eye",
    "nose",
    "upper_lip",
    "inner_mouth",
    "lower_lip",
    "hair",
)
INFO = DatasetInfo(
    title="HELEN, segments for face parsing",
    tier="published",
    licence="research; the photographs are from Flickr and keep their own terms",
    citation="Smith, Zhang, Brandt, Lin, Yang: Exemplar-Based Face Parsing. CVPR 2013; Le, Brandt, Lin, Bourdev, "
    "Huang: Interactive Facial Feature Localization. ECCV 2012",
    category="face",
    extra={"label_names": list(LABEL_NAMES)},
)

_LISTS: Mapping[str, tuple[str, int]] = {
    "train": ("exemplars.txt", 2_000),
    "val": ("tuning.txt", 230),
    "test": ("testing.txt", 100),
}
_HALF = 127.5


class HelenOptions(BaseModel):
    """Nothing but whether the copy is whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check_counts: bool = Field(True, description="insist on the published numbers of images")


class HelenProvider(DatasetProvider):
    """Opens ``helen:FOLDER``: ``train`` are the exemplars, ``val`` the tuning and ``test`` the testing images."""

    name: ClassVar[str] = "helen"
    summary: ClassVar[str] = (
        "HELEN face parsing: 11 classes, 2,000 + 230 + 100 images, no landmarks (helen:FOLDER)"
    )
    Options: ClassVar[type[BaseModel]] = HelenOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return tuple(_LISTS)

    def open(self, split: str, location: str | None, options: BaseModel) -> HelenDataset:
        choice = options_of(options, HelenOptions, self.name)
        folder = data_folder(location, self.name, "exemplars.txt, tuning.txt, testing.txt, images and labels")
        require_split(split, tuple(_LISTS), self.name)
        names = {part: read_names(folder / file) for part, (file, _) in _LISTS.items()}
        for part, (file, count) in _LISTS.items():
            if choice.check_counts:
                hint = f"Get it again from {SOURCE}, or set -D check_counts=false for a part of the set."
                require_count(len(names[part]), count, f"images in {folder / file}", hint)
        for part in ("train", "val"):
            shared = set(names[part]) & set(names["test"])
            if shared:
                raise BenchError(
                    f"{len(shared)} images of {folder / _LISTS['test'][0]} are also in {_LISTS[part][0]}, e.g. "
                    f"{min(shared)}",
                    hint=f"A wrong split list: get both again from {SOURCE}.",
                )
        return HelenDataset(folder, split, names[split])

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        whole = options_of(options, HelenOptions, self.name).check_counts
        total = sum(count for _, count in _LISTS.values())
        lists = [
            Requirement(file, f"list of the {part} images", SOURCE, count=count if whole else None)
            for part, (file, count) in _LISTS.items()
        ]
        labels = [
            Requirement(
                f"labels/*/*_lbl{k:02}.png", f"segments of {name}", SOURCE, count=total if whole else None
            )
            for k, name in enumerate(LABEL_NAMES)
            if k > 0
        ]
        images = Requirement("images/*.jpg", "images", SOURCE, count=total if whole else None)
        return (*lists, images, *labels)


class HelenDataset(ListedDataset):
    """One split, in the order of its list."""

    classes = LABEL_NAMES

    def __init__(self, folder: Path, split: str, names: list[str]) -> None:
        self._labels = {name: _label_files(folder, name) for name in names}
        entries = [
            Entry(name, folder / "images" / f"{name}.jpg", np.zeros((0, 2)), np.zeros(0, dtype=np.bool_))
            for name in names
        ]
        schema = LandmarkSchema(names=())
        super().__init__(name="helen", split=split, info=INFO, schema=schema, entries=entries)

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        whole = super().cut(entry, image)
        labels = self._paint(entry)
        if labels.shape != image.shape[-2:]:
            raise BenchError(
                f"image {entry.file} is {_size(image)}, its labels are {_size(labels)}",
                hint="Images and labels have to come from one version of the set (there is a resized one).",
            )
        return Cut(whole.image, whole.points, whole.visible, mask=labels > 0, labels=labels)

    def labels(self, index: int) -> Tensor:
        """The class of every pixel of the image of sample ``index``; numbers count ``classes``.

        Later segments are painted over earlier ones where both are more than half there, as in DVE's loader.

        Shapes:
            Returns (H, W), uint8.

        Raises:
            BenchError: names the label file that is missing or damaged.
        """
        return self._paint(self.entries[index])

    def _paint(self, entry: Entry) -> Tensor:
        files = self._labels[entry.id]
        segments = [read_rgb(file)[0] > _HALF for file in files]
        labels = torch.zeros(segments[0].shape, dtype=torch.uint8)
        for number, (file, inside) in enumerate(zip(files, segments, strict=True), 1):
            if inside.shape != labels.shape:
                raise BenchError(f"{file} is {_size(inside)}, {files[0].name} is {_size(labels)}")
            labels[inside] = number
        return labels

    @cached_property
    def _with_labels(self) -> str:
        digest = hashlib.sha256(super().fingerprint.encode())
        for file_digest in file_digests([file for files in self._labels.values() for file in files]):
            digest.update(bytes.fromhex(file_digest))
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._with_labels


def read_names(path: Path) -> list[str]:
    """The names of a list with lines ``number , name``.

    Raises:
        BenchError: names the line that is something else, and a name that is there twice.
    """
    names = []
    for number, line in enumerate(read_lines(path, source=SOURCE), 1):
        first, comma, name = (part.strip() for part in line.partition(","))
        if not comma or not first.isdigit() or not name or "," in name:
            raise BenchError(
                f"{path}, line {number}: {line[:60]!r}, expected 'number , name'",
                hint=f"Get it again from {SOURCE}.",
            )
        names.append(name)
    no_twice(path, names)
    return names


def _label_files(folder: Path, name: str) -> tuple[Path, ...]:
    return tuple(folder / "labels" / name / f"{name}_lbl{k:02}.png" for k in range(1, len(LABEL_NAMES)))


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
