"""AFLW with five points, in the two versions that the papers use: ``aflw-m:FOLDER`` and ``aflw-r:FOLDER``.

AFLW_M (10,122 + 2,995 faces, crops of 150 x 150, test faces from MTFL)::

    FOLDER/MTFL/testing.txt                     and MTFL/AFLW/*.jpg
    FOLDER/aflw_cropped/facedata_cropped.csv    and aflw_cropped/cropped/*.jpg; rows of set 1 are trained on

AFLW_R (10,122 + 2,991 faces, cut more tightly by Zhang et al. 2018)::

    FOLDER/aflw_train_images.txt, aflw_train_keypoints.mat, aflw_test_images.txt, aflw_test_keypoints.mat
    FOLDER/output/{0,2,3}/*.jpg

Convention: AFLW_M's lists are 1-based: 0.5 is taken off to make them corner-origin. AFLW_R's ``gt`` is (y, x) and is
read as 0-based, as the released codes do: 0.5 is added. Left and right are as seen in the image.

Reference: DVE (Thewlis et al., ICCV 2019), released code, loaders AFLW_MTFL and AFLW.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, Requirement
from datasets.aflw_lists import (
    CROPS_SITE,
    MTFL_SITE,
    RECROP_SITE,
    FaceList,
    read_crops,
    read_mtfl,
    read_recrop,
)
from datasets.celeba_family import SCHEMA
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, require_count, require_split

_LICENCE = "research only, not for commercial use, no redistribution (AFLW agreement, TU Graz)"
_KOESTINGER = (
    "Köstinger, Wohlhart, Roth, Bischof: Annotated Facial Landmarks in the Wild. ICCV Workshops (BeFIT) 2011"
)
INFO_M = DatasetInfo(
    title="AFLW_M (AFLW, five points, split of MTFL)",
    tier="published",
    licence=_LICENCE,
    citation=f"{_KOESTINGER}; Zhang, Luo, Loy, Tang: Facial Landmark Detection by Deep Multi-task Learning. ECCV 2014",
    category="face",
)
INFO_R = DatasetInfo(
    title="AFLW_R (AFLW, five points, recropped)",
    tier="published",
    licence=_LICENCE,
    citation=f"{_KOESTINGER}; Zhang, Guo, Jin, Luo, He, Lee: Unsupervised Discovery of Object Landmarks as Structural "
    "Representations. CVPR 2018",
    category="face",
)

_M_COUNTS = {"train": 10_122, "test": 2_995}
_M_SIDE = 150
_M_TEST, _M_CSV = "MTFL/testing.txt", "aflw_cropped/facedata_cropped.csv"
_R_COUNTS = {"train": 10_122, "test": 2_991}
_R_FOLDERS = {"output/0": 7_074, "output/2": 2_993, "output/3": 2_918}
_R_REPEATS = 132 / 2_991  # of the published test list


class AflwMOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    check_counts: bool = Field(True, description="insist on the published numbers of faces")


class AflwROptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    hold_out_val: bool = Field(
        False, description="take split val, the last tenth of train, out of train (and of pre-training)"
    )
    check_counts: bool = Field(True, description="insist on the published numbers of faces")


class AflwMProvider(DatasetProvider):
    """Opens ``aflw-m:FOLDER``."""

    name: ClassVar[str] = "aflw-m"
    summary: ClassVar[str] = "AFLW_M: 5 points, 10,122 + 2,995 faces, test faces of MTFL (aflw-m:FOLDER)"
    Options: ClassVar[type[BaseModel]] = AflwMOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo] = INFO_M

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return tuple(_M_COUNTS)

    def open(self, split: str, location: str | None, options: BaseModel) -> SizedFaces:
        choice = options_of(options, AflwMOptions, self.name)
        folder = data_folder(location, self.name, "the folders MTFL and aflw_cropped")
        require_split(split, tuple(_M_COUNTS), self.name)
        # Both lists whichever is asked for: each is checked against the other.
        test = read_mtfl(folder / _M_TEST)
        train, photographs = read_crops(folder / _M_CSV)
        if choice.check_counts:
            again = "-D check_counts=false opens a part of the set."
            hint = f"It is had from {CROPS_SITE}. {again}"
            require_count(len(train), _M_COUNTS["train"], f"faces of set 1 in {folder / _M_CSV}", hint)
            hint = f"MTFL's training.txt under this name? It is had from {MTFL_SITE}. {again}"
            require_count(len(test), _M_COUNTS["test"], f"faces in {folder / _M_TEST}", hint)
        _keep_apart(train, test, photographs, folder)
        faces, root = (train, folder / "aflw_cropped") if split == "train" else (test, folder / "MTFL")
        sizes = np.full((len(faces), 2), float(_M_SIDE))
        return SizedFaces(self.name, split, INFO_M, _entries(faces.paths, root, faces.points - 0.5), sizes)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        whole = options_of(options, AflwMOptions, self.name).check_counts
        test, train = (_M_COUNTS[split] if whole else None for split in ("test", "train"))
        return (
            Requirement(_M_TEST, "MTFL's test faces and their points", MTFL_SITE, count=test),
            Requirement("MTFL/AFLW", "images of the test faces", MTFL_SITE, kind="folder", count=test),
            Requirement(_M_CSV, "DVE's table of the training crops", CROPS_SITE),
            Requirement("aflw_cropped/cropped", "training crops", CROPS_SITE, kind="folder", count=train),
        )


class AflwRProvider(DatasetProvider):
    """Opens ``aflw-r:FOLDER``. ``val`` is the last tenth of ``train``, and stays in it unless held out.

    The published test list of 2,991 faces names some images again (132, by DVE's account). They count as in the
    papers; their ids end in ``#2``.
    """

    name: ClassVar[str] = "aflw-r"
    summary: ClassVar[str] = (
        "AFLW_R: 5 points, 10,122 + 2,991 faces, recropped by Zhang et al. (aflw-r:FOLDER)"
    )
    Options: ClassVar[type[BaseModel]] = AflwROptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo] = INFO_R

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return ("train", "val", "test")

    def open(self, split: str, location: str | None, options: BaseModel) -> SizedFaces:
        choice = options_of(options, AflwROptions, self.name)
        folder = data_folder(location, self.name, "the content of aflw_release-2: four lists, and output")
        require_split(split, self.splits(location, options), self.name)
        lists = {part: read_recrop(*_recrop_files(folder, part)) for part in _R_COUNTS}
        for part, faces in lists.items():
            if choice.check_counts:
                hint = f"It is had from {RECROP_SITE}. -D check_counts=false opens a part of the set."
                what = f"faces in {_recrop_files(folder, part)[0]}"
                require_count(len(faces), _R_COUNTS[part], what, hint)
        shared = len(set(lists["train"].paths) & set(lists["test"].paths))
        if shared > _R_REPEATS * len(lists["test"]):
            raise BenchError(
                f"{shared} of {len(lists['test'])} images of aflw_test_images.txt are also in aflw_train_images.txt",
                hint=f"One list under both names? They are had from {RECROP_SITE}.",
            )
        faces = lists["test" if split == "test" else "train"]
        first_of_val = len(faces) - len(faces) // 10
        rows = slice(None)
        if split == "val":
            rows = slice(first_of_val, None)
        elif split == "train" and choice.hold_out_val:
            rows = slice(first_of_val)
        entries = _told_apart(_entries(faces.paths, folder / "output", faces.points + 0.5))[rows]
        return SizedFaces(self.name, split, INFO_R, entries, _sizes(faces)[rows])

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        whole = options_of(options, AflwROptions, self.name).check_counts
        needed = []
        for part, count in _R_COUNTS.items():
            images, keypoints = (file.as_posix() for file in _recrop_files(Path(), part))
            count_or_none = count if whole else None
            needed.append(Requirement(images, f"list of the {part} images", RECROP_SITE, count=count_or_none))
            needed.append(Requirement(keypoints, f"points and sizes of the {part} images", RECROP_SITE))
        needed += [
            Requirement(path, "images", RECROP_SITE, kind="folder", count=count if whole else None)
            for path, count in _R_FOLDERS.items()
        ]
        return tuple(needed)


class SizedFaces(ListedDataset):
    """Faces whose points refer to a stated image size.

    Shapes:
        sizes: (N, 2), width and height, in the order of ``entries``.
    """

    def __init__(
        self, name: str, split: str, info: DatasetInfo, entries: Sequence[Entry], sizes: np.ndarray
    ) -> None:
        self._sizes: Mapping[str, tuple[float, float]] = {
            entry.id: (float(width), float(height))
            for entry, (width, height) in zip(entries, sizes, strict=True)
        }
        super().__init__(
            name=name,
            split=split,
            info=info,
            schema=SCHEMA,
            entries=entries,
            recipe={"sizes": [list(size) for size in self._sizes.values()]},
        )

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        """The stored image; its points follow where the copy at hand is larger or smaller as a whole."""
        whole = super().cut(entry, image)
        expected_width, expected_height = self._sizes[entry.id]
        height, width = image.shape[-2:]
        if abs(height - width * expected_height / expected_width) > 1:
            turned = abs(height - width * expected_width / expected_height) <= 1
            raise BenchError(
                f"image {entry.file} is {width} x {height}, its points are for {expected_width:g} x "
                f"{expected_height:g}",
                hint="Are height and width swapped in the list?"
                if turned
                else "Is it another crop of the face?",
            )
        scale = torch.tensor([width / expected_width, height / expected_height], dtype=whole.points.dtype)
        return Cut(whole.image, whole.points * scale, whole.visible)


def _recrop_files(folder: Path, part: str) -> tuple[Path, Path]:
    return folder / f"aflw_{part}_images.txt", folder / f"aflw_{part}_keypoints.mat"


def _sizes(faces: FaceList) -> np.ndarray:
    return np.zeros((0, 2)) if faces.sizes is None else faces.sizes


def _entries(paths: Sequence[str], root: Path, points: np.ndarray) -> list[Entry]:
    seen = np.ones(len(SCHEMA.names), dtype=np.bool_)
    return [Entry(path, root / path, where, seen) for path, where in zip(paths, points, strict=True)]


def _told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """Entries of the same image get ids of their own."""
    times: Counter[str] = Counter()
    result = []
    for entry in entries:
        times[entry.id] += 1
        again = times[entry.id]
        result.append(entry if again == 1 else replace(entry, id=f"{entry.id}#{again}"))
    return result


def _keep_apart(train: FaceList, test: FaceList, photographs: frozenset[str], folder: Path) -> None:
    """DVE's own check of AFLW_M: by the photographs that the faces were cut from."""
    shared = set(train.originals) & set(test.originals)
    if shared:
        raise BenchError(
            f"{len(shared)} photographs of set 1 in {folder / _M_CSV} are also in {_M_TEST}, e.g. {min(shared)}",
            hint=f"A wrong split list: take both again from {CROPS_SITE}.",
        )
    unknown = [name for name in test.originals if name not in photographs]
    if unknown:
        raise BenchError(
            f"{len(unknown)} of {len(test)} photographs of {_M_TEST} are not in {folder / _M_CSV}, e.g. "
            f"{unknown[0]}",
            hint="The name behind the last '-' must occur there. Is this MTFL's training.txt, or a table cut short?",
        )
