"""What CelebA and MAFL, aligned and in the wild, have in common: landmarks, folders, members of a split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.celeba_folder import FolderOptions, requirements
from datasets.celeba_lists import (
    ALIGNED_SIZE,
    CELEBA_SITE,
    MAFL_SIZES,
    CelebaIndex,
    Kind,
    image_folder,
    read_index,
    read_mafl,
)
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, require_split

SCHEMA = LandmarkSchema(
    names=("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
    normaliser=((0,), (1,)),
    normaliser_name="eye centres",
    flip_indices=(1, 0, 2, 4, 3),
)
Members = Callable[["CelebaCopy"], np.ndarray]

_LAYOUT = "Anno/, Eval/, Img/ and MAFL/, or torchvision's flat copy with MAFL/"
_DVE_VALIDATION = 2_000
_DVE_ROWS = (30, 208)


class CelebaCopy:
    """A copy of CelebA with MAFL's lists: its index, and the members of every split that a paper uses."""

    def __init__(self, root: Path, kind: Kind, options: FolderOptions, *, boxes: bool = False) -> None:
        self._images = image_folder(root, kind, options.images)
        self._options = options
        self._mafl_folder = options.mafl.expanduser() if options.mafl is not None else root / "MAFL"
        self.index: CelebaIndex = read_index(root, kind, boxes=boxes, check_counts=options.check_counts)

    def partition(self, part: int) -> np.ndarray:
        """Rows of the official partition: 0 train, 1 val, 2 test."""
        return np.flatnonzero(self.index.partition == part)

    def pretraining(self) -> np.ndarray:
        """The training partition without any image of MAFL."""
        training, testing = self._mafl()
        return np.flatnonzero((self.index.partition == 0) & ~training & ~testing)

    def dve_validation(self) -> np.ndarray:
        """The first 2,000 of the test partition that are not in MAFL."""
        training, testing = self._mafl()
        return np.flatnonzero((self.index.partition == 2) & ~training & ~testing)[:_DVE_VALIDATION]

    def mafl(self, file: str) -> np.ndarray:
        """Rows of ``training.txt`` or ``testing.txt``, in the order of CelebA, not of the list."""
        training, testing = self._mafl()
        return np.flatnonzero(training if file == "training.txt" else testing)

    def entries(self, rows: np.ndarray) -> list[Entry]:
        index = self.index
        seen = np.ones(len(SCHEMA.names), dtype=np.bool_)
        return [
            Entry(
                id=index.names[row],
                file=self._images / index.names[row],
                points=index.points[row],
                visible=seen,
                identity=None if index.identities is None else index.identities[row],
                box=None if index.boxes is None else tuple(index.boxes[row].tolist()),
            )
            for row in rows.tolist()
        ]

    def _mafl(self) -> tuple[np.ndarray, np.ndarray]:
        lists = read_mafl(self._mafl_folder, self.index.names, check_counts=self._options.check_counts)
        names = self.index.names
        return tuple(  # type: ignore[return-value]
            np.fromiter((name in lists[file] for name in names), dtype=np.bool_, count=len(names))
            for file in MAFL_SIZES
        )


class AlignedFaces(ListedDataset):
    """The 178 x 218 aligned images, or their rows 30 to 207: the square that DVE and ContrastLandmarks cut."""

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        check_aligned(entry, image)
        cut = super().cut(entry, image)
        if self.recipe["crop"] == "whole":
            return cut
        top, bottom = _DVE_ROWS
        cut.points[:, 1] -= top
        return replace(cut, image=cut.image[:, top:bottom].contiguous())


def check_aligned(entry: Entry, image: Tensor) -> None:
    """Raise BenchError where an image has not the size that the list's points refer to."""
    height, width = image.shape[-2:]
    if (width, height) != ALIGNED_SIZE:
        raise BenchError(
            f"image {entry.file} is {width} x {height}, aligned CelebA images are {ALIGNED_SIZE[0]} x "
            f"{ALIGNED_SIZE[1]}",
            hint=f"Is this the folder of the images in the wild? img_align_celeba is had from {CELEBA_SITE}.",
        )


class CelebaFamilyProvider(DatasetProvider):
    """Opens a copy of CelebA: ``NAME:FOLDER``.

    Attributes:
        kind: Which images and which list of points.
        boxes: Whether the list of face boxes is needed.
        members: Split -> its images.
    """

    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo]
    kind: ClassVar[Kind]
    boxes: ClassVar[bool] = False
    members: ClassVar[Mapping[str, Members]]

    @abstractmethod
    def dataset(self, split: str, entries: list[Entry], options: BaseModel) -> ListedDataset:
        """The split with these entries."""

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return tuple(self.members)

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, FolderOptions, self.name)
        require_split(split, tuple(self.members), self.name)
        copy = CelebaCopy(data_folder(location, self.name, _LAYOUT), self.kind, choice, boxes=self.boxes)
        return self.dataset(split, copy.entries(self.members[split](copy)), options)

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return ("pretrain",)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        choice = options_of(options, FolderOptions, self.name)
        return requirements(self.kind, choice, boxes=self.boxes)
