"""CelebA, aligned (``celeba:FOLDER``) and in the wild (``celeba-wild:FOLDER``).

Splits: ``train``, ``val`` and ``test`` are the official partition (162,770 / 19,867 / 19,962); ``pretrain`` is
its training part without the images of MAFL's training and test lists; ``dve-val`` is the first 2,000 of its
test part that are not in MAFL, which DVE watches during training.

Convention: the lists' whole pixel numbers are 0-based and get 0.5; order left eye, right eye, nose, left mouth
corner, right mouth corner, left and right as seen in the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from bench.landmarks import DatasetInfo
from datasets.celeba_family import (
    SCHEMA,
    AlignedFaces,
    CelebaCopy,
    CelebaFamilyProvider,
    Members,
)
from datasets.celeba_folder import LICENCE, FolderOptions
from datasets.celeba_lists import Kind
from datasets.listed import Entry, ListedDataset
from datasets.published import options_of

CITATION = "Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild. ICCV 2015"

_MEMBERS: Mapping[str, Members] = MappingProxyType(
    {
        "train": lambda copy: copy.partition(0),
        "val": lambda copy: copy.partition(1),
        "test": lambda copy: copy.partition(2),
        "pretrain": CelebaCopy.pretraining,
        "dve-val": CelebaCopy.dve_validation,
    }
)


class CelebaOptions(FolderOptions):
    """Which part of the aligned images, and where things lie."""

    crop: Literal["square", "whole"] = Field(
        "square",
        description="square: rows 30 to 207 of the 178 x 218 image, as DVE and ContrastLandmarks; whole: all rows",
    )


class CelebaProvider(CelebaFamilyProvider):
    """Opens ``celeba:FOLDER``."""

    name: ClassVar[str] = "celeba"
    summary: ClassVar[str] = "CelebA, aligned faces, 5 points; pre-training part without MAFL (celeba:FOLDER)"
    Options: ClassVar[type[BaseModel]] = CelebaOptions
    info: ClassVar[DatasetInfo] = DatasetInfo("CelebA, aligned", "published", LICENCE, CITATION, "human face")
    kind: ClassVar[Kind] = "aligned"
    members: ClassVar[Mapping[str, Members]] = _MEMBERS

    def dataset(self, split: str, entries: list[Entry], options: BaseModel) -> ListedDataset:
        recipe = {"crop": options_of(options, CelebaOptions, self.name).crop}
        return AlignedFaces(
            name=self.name, split=split, info=self.info, schema=SCHEMA, entries=entries, recipe=recipe
        )


class CelebaWildProvider(CelebaFamilyProvider):
    """Opens ``celeba-wild:FOLDER``: the whole photographs, with their face boxes."""

    name: ClassVar[str] = "celeba-wild"
    summary: ClassVar[str] = "CelebA, whole images in the wild, 5 points and boxes (celeba-wild:FOLDER)"
    Options: ClassVar[type[BaseModel]] = FolderOptions
    info: ClassVar[DatasetInfo] = DatasetInfo(
        "CelebA, in the wild", "published", LICENCE, CITATION, "human face"
    )
    kind: ClassVar[Kind] = "wild"
    boxes: ClassVar[bool] = True
    members: ClassVar[Mapping[str, Members]] = _MEMBERS

    def dataset(self, split: str, entries: list[Entry], options: BaseModel) -> ListedDataset:
        del options
        return ListedDataset(name=self.name, split=split, info=self.info, schema=SCHEMA, entries=entries)
