"""MAFL, aligned (``mafl``), cut by enlarged boxes (``mafl-wild``) and by zoomed-out boxes (``mafl-unaligned``).

MAFL is a choice of CelebA's images: the location is a copy of CelebA with MAFL's two lists. Splits: ``train``
(19,000) and ``test`` (1,000), in CelebA's order as DVE's loader has them; ``val`` is the last tenth of the
training list in that order and ``imm-train`` the rest (Jakab et al. 2018); ``pretrain`` is CelebA's training
part without MAFL.

Convention: as in CelebA. Cut images are zero outside the photograph; points outside the cut are not visible.

Reference: Zhang, Luo, Loy, Tang: Learning Deep Representation for Face Alignment with Auxiliary Attributes.
TPAMI 2016. Cuts in the wild: Karmali et al., LEAD, WACV 2022, Figures 9 and 10 and supplement A.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, Field
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import DatasetInfo
from bench.seeds import numpy_generator
from bench.zoom import Window, enlarged
from datasets.celeba import CelebaProvider
from datasets.celeba_family import (
    SCHEMA,
    CelebaCopy,
    CelebaFamilyProvider,
    Members,
)
from datasets.celeba_folder import LICENCE, FolderOptions
from datasets.celeba_lists import Kind
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import options_of

CITATION = (
    "Zhang, Luo, Loy, Tang: Learning Deep Representation for Face Alignment with Auxiliary Attributes. "
    "TPAMI 2016; images: Liu et al., ICCV 2015"
)


def _validation(copy: CelebaCopy) -> np.ndarray:
    training = copy.mafl("training.txt")
    return training[len(training) - len(training) // 10 :]


def _imm_training(copy: CelebaCopy) -> np.ndarray:
    training = copy.mafl("training.txt")
    return training[: len(training) - len(training) // 10]


_MEMBERS: Mapping[str, Members] = MappingProxyType(
    {
        "train": lambda copy: copy.mafl("training.txt"),
        "val": _validation,
        "test": lambda copy: copy.mafl("testing.txt"),
        "imm-train": _imm_training,
        "pretrain": CelebaCopy.pretraining,
    }
)


class MaflProvider(CelebaProvider):
    """Opens ``mafl:FOLDER``: other members of the same aligned images."""

    name: ClassVar[str] = "mafl"
    summary: ClassVar[str] = "MAFL: 19,000 + 1,000 aligned CelebA faces, 5 points (mafl:FOLDER of CelebA)"
    info: ClassVar[DatasetInfo] = DatasetInfo("MAFL", "published", LICENCE, CITATION, "human face")
    members: ClassVar[Mapping[str, Members]] = _MEMBERS


def _ordered(factors: tuple[float, float]) -> tuple[float, float]:
    if not 0 < factors[0] <= factors[1] < math.inf:
        raise ValueError(f"expected two positive factors, the smaller first, got {factors}")
    return factors


Factors = Annotated[tuple[float, float], AfterValidator(_ordered)]


class MaflWildOptions(FolderOptions):
    """By how much a box is enlarged, and where things lie."""

    enlarge: Factors = Field(
        (1.1, 1.2), description="each box's sides are multiplied by one factor from this range"
    )
    seed: int = Field(0, ge=0, description="root seed of the factors")


class MaflUnalignedOptions(FolderOptions):
    """How far boxes are zoomed out, and where things lie."""

    zoom_train: Factors = Field((1.0, 1.5), description="range of zoom-out factors of all splits but test")
    zoom_test: Factors = Field((1.0, 2.0), description="range of zoom-out factors of the test split")
    seed: int = Field(0, ge=0, description="root seed of the factors")


class BoxCuts(ListedDataset):
    """Photographs cut by their face boxes, each enlarged about its centre by a factor of its own.

    An image's factor depends on the seed, the data set and its id alone, not on the split or its order.

    Attributes:
        zoom_factors: Id -> factor by which the sides of its box were multiplied.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        info: DatasetInfo,
        entries: list[Entry],
        seed: int,
        factors: tuple[float, float],
    ) -> None:
        recipe = {"cut": "box", "factors": list(factors), "drawn for": name, "seed": seed}
        super().__init__(name=name, split=split, info=info, schema=SCHEMA, entries=entries, recipe=recipe)
        low, high = factors
        self.zoom_factors: Mapping[str, float] = {
            entry.id: float(numpy_generator(seed, name, "factor", entry.id).uniform(low, high))
            for entry in entries
        }
        boxless = [entry.id for entry in entries if not _has_area(entry)]
        if boxless:
            raise BenchError(
                f"{len(boxless)} images of {name} {split!r} have an empty face box, e.g. {boxless[0]}",
                hint="Get list_bbox_celeba.txt again: a cut needs a box.",
            )

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        whole = super().cut(entry, image)
        left, top, right, bottom = _window(entry, self.zoom_factors[entry.id])
        height, width = image.shape[-2:]
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise BenchError(
                f"the face box of {entry.file} lies outside the image of {width} x {height} pixels",
                hint="Boxes belong to the images in the wild (img_celeba), not to the aligned ones.",
            )
        size = torch.tensor([right - left, bottom - top])
        points = whole.points - torch.tensor([left, top])
        inside = ((points >= 0) & (points < size)).all(dim=1)
        return replace(
            whole,
            image=tvf.crop(image, top, left, bottom - top, right - left),
            points=points,
            visible=whole.visible & inside,
            box=None if whole.box is None else whole.box - torch.tensor([left, top, left, top]),
        )


class MaflWildProvider(CelebaFamilyProvider):
    """Opens ``mafl-wild:FOLDER``; ``pretrain`` are the whole photographs."""

    name: ClassVar[str] = "mafl-wild"
    summary: ClassVar[str] = "MAFL in the wild: boxes enlarged by 10 to 20 % (mafl-wild:FOLDER of CelebA)"
    Options: ClassVar[type[BaseModel]] = MaflWildOptions
    info: ClassVar[DatasetInfo] = DatasetInfo(
        "MAFL in the wild", "published", LICENCE, CITATION, "human face"
    )
    kind: ClassVar[Kind] = "wild"
    boxes: ClassVar[bool] = True
    members: ClassVar[Mapping[str, Members]] = _MEMBERS

    def dataset(self, split: str, entries: list[Entry], options: BaseModel) -> ListedDataset:
        choice = options_of(options, MaflWildOptions, self.name)
        return _box_cuts(self, split, entries, choice.seed, choice.enlarge)


class MaflUnalignedProvider(CelebaFamilyProvider):
    """Opens ``mafl-unaligned:FOLDER``; ``pretrain`` are the whole photographs."""

    name: ClassVar[str] = "mafl-unaligned"
    summary: ClassVar[str] = (
        "unaligned MAFL: boxes zoomed out by a known factor (mafl-unaligned:FOLDER of CelebA)"
    )
    Options: ClassVar[type[BaseModel]] = MaflUnalignedOptions
    info: ClassVar[DatasetInfo] = DatasetInfo("Unaligned MAFL", "published", LICENCE, CITATION, "human face")
    kind: ClassVar[Kind] = "wild"
    boxes: ClassVar[bool] = True
    members: ClassVar[Mapping[str, Members]] = _MEMBERS

    def dataset(self, split: str, entries: list[Entry], options: BaseModel) -> ListedDataset:
        choice = options_of(options, MaflUnalignedOptions, self.name)
        factors = choice.zoom_test if split == self.test_split else choice.zoom_train
        return _box_cuts(self, split, entries, choice.seed, factors)


def _box_cuts(
    provider: CelebaFamilyProvider,
    split: str,
    entries: list[Entry],
    seed: int,
    factors: tuple[float, float],
) -> ListedDataset:
    name, info = provider.name, provider.info
    if split == "pretrain":
        return ListedDataset(name=name, split=split, info=info, schema=SCHEMA, entries=entries)
    return BoxCuts(name=name, split=split, info=info, entries=entries, seed=seed, factors=factors)


def _has_area(entry: Entry) -> bool:
    return entry.box is not None and entry.box[0] < entry.box[2] and entry.box[1] < entry.box[3]


def _window(entry: Entry, factor: float) -> Window:
    if entry.box is None:
        raise BenchError(f"{entry.id} has no face box")
    return enlarged(entry.box, factor)
