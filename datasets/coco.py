"""Your own images with COCO-keypoints JSON: ``coco:FOLDER``.

Layout, one sub-folder per split (``train`` and ``val`` or ``test``; any others are for pre-training)::

    FOLDER/train/annotations.json     images, annotations, categories
    FOLDER/train/images/...           file_name is relative to this folder
    FOLDER/val/...
    FOLDER/more/images/...            a folder of images alone, without annotation, for pre-training

Convention: the file's coordinates are 0-based pixels with an integer at a pixel's centre; 0.5 is added to
make them corner-origin. They refer to the stored pixels: an EXIF orientation is not applied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkDataset, Sample
from datasets.coco_annotations import ANNOTATIONS, CocoSplit, PointGroup
from datasets.coco_folder import check_sizes, locate_images, points_inside, read_split, split_names
from datasets.coco_points import select_points
from datasets.digests import file_digests
from datasets.images import read_rgb

Groups = tuple[PointGroup, ...]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


class CocoOptions(BaseModel):
    """Which landmarks, which objects, which splits. Indices are 0-based and count the file's keypoints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    landmarks: int | Literal["all"] = Field(
        "all", description="all, or 5 where the category has five_point_groups"
    )
    points: Groups | None = Field(
        None, description="choice of keypoints by index or name; a list stands for its mean"
    )
    normaliser: tuple[PointGroup, PointGroup] | None = Field(
        None, description="two keypoints (or groups) whose distance normalises errors; null: as the file says"
    )
    occluded: Literal["keep", "drop"] = Field(
        "keep", description="whether points of visibility 1 count as visible"
    )
    outside: Literal["error", "drop"] = Field(
        "error", description="points more than 1 px outside their image"
    )
    objects: Literal["only", "largest"] = Field(
        "only", description="what to do with several objects in an image"
    )
    train: str = Field("train", description="annotated training split")
    test: str | None = Field(None, description="test split; null: test or val, whichever exists")
    pretrain: Names | None = Field(None, description="splits for pre-training; null: all but test and val")

    @model_validator(mode="after")
    def _consistent(self) -> CocoOptions:
        if self.points is not None and self.landmarks != "all":
            raise ValueError("give landmarks or points, not both")
        if self.test is not None and self.test == self.train:
            raise ValueError(f"train and test are both {self.test!r}")
        if self.test is not None and self.pretrain is not None and self.test in self.pretrain:
            raise ValueError(f"pretrain holds the test split {self.test!r}")
        return self


class CocoProvider(DatasetProvider):
    """Opens ``coco:FOLDER``."""

    name: ClassVar[str] = "coco"
    summary: ClassVar[str] = (
        "your own images with COCO-keypoints JSON (coco:FOLDER, one sub-folder per split)"
    )
    Options: ClassVar[type[BaseModel]] = CocoOptions
    needs_location: ClassVar[bool] = True

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del options
        return split_names(_folder(location))

    def open(self, split: str, location: str | None, options: BaseModel) -> CocoDataset:
        choice = _options(options)
        folder = _folder(location)
        known = split_names(folder)
        if split not in known:
            raise BenchError(
                f"there is no split {split!r} in {folder}",
                hint=f"Splits that are there: {', '.join(known) or 'none'}. A split is a sub-folder with "
                f"{ANNOTATIONS} and images/.",
            )
        evaluated = split in (choice.train, _test_split(known, choice))
        return CocoDataset(folder, split, choice, needs_annotation=evaluated)

    def evaluation_splits(self, location: str | None, options: BaseModel) -> tuple[str, str]:
        choice, folder = _options(options), _folder(location)
        known = split_names(folder)
        test = _test_split(known, choice)
        if test is None:
            raise BenchError(
                f"{folder} has no test split: neither test/ nor val/ is there",
                hint=f"Splits that are there: {', '.join(known) or 'none'}. Choose one with -D test=NAME.",
            )
        return choice.train, test

    def validation_split(self, location: str | None, options: BaseModel) -> str | None:
        """``val``, where that is there beside the training and the test split."""
        known, evaluated = self.splits(location, options), self.evaluation_splits(location, options)
        return "val" if "val" in known and "val" not in evaluated else None

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        choice = _options(options)
        known = split_names(_folder(location))
        test = _test_split(known, choice)
        if choice.pretrain is None:
            return tuple(split for split in known if split not in {test, "test", "val"})
        if test in choice.pretrain:
            raise BenchError(
                f"pretrain holds the test split {test!r}", hint="Leave it out, or set -D test=NAME."
            )
        return choice.pretrain


class CocoDataset(LandmarkDataset):
    """One split. Opening reads the annotation and every image's header; pixels are decoded on access."""

    def __init__(self, folder: Path, split: str, options: CocoOptions, *, needs_annotation: bool) -> None:
        self.name = f"coco:{folder.resolve().name}"
        self.split = split
        root = folder / split
        content = read_split(root, options.objects, needs_annotation=needs_annotation)
        self._files = locate_images(root, content.images)
        sizes = check_sizes(content, self._files)
        selection = select_points(content.category, options.landmarks, options.points, options.normaliser)
        labelled = content.flags > (1 if options.occluded == "drop" else 0)
        labelled &= points_inside(content, sizes, labelled, options.outside)
        points, self._visible = selection.apply(content.keypoints, labelled)
        self._points = np.where(self._visible[:, :, None], points + 0.5, 0.0).astype(np.float32)
        self._images, self._boxes = content.images, content.boxes
        self.schema = selection.schema
        self.info = _info(folder, content)
        if needs_annotation and not self._visible.any():
            raise BenchError(
                f"no image of split {split!r} of {folder} is annotated",
                hint="Training and test splits need landmarks; put unlabelled images in another sub-folder.",
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image, box = self._images[index], self._boxes[index]
        corners = None
        if box is not None:  # in the frame of the points: most files derive it from them
            x, y, width, height = box
            corners = torch.tensor([x, y, x + width, y + height]) + 0.5
        return Sample(
            id=image.file_name,
            image=read_rgb(self._files[index]),
            points=torch.from_numpy(self._points[index].copy()),
            visible=torch.from_numpy(self._visible[index].copy()),
            identity=image.who,
            box=corners,
        )

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(image.file_name for image in self._images)

    @cached_property
    def _digest(self) -> str:
        content = {
            "ids": self.ids,
            "identities": [image.who for image in self._images],
            "names": self.schema.names,
            "normaliser": self.schema.normaliser,
            "flip_indices": self.schema.flip_indices,
            "boxes": self._boxes,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        digest.update(self._points.astype("<f4").tobytes())
        digest.update(self._visible.tobytes())
        for file_digest in file_digests(self._files):
            digest.update(bytes.fromhex(file_digest))
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._digest


def _options(options: BaseModel) -> CocoOptions:
    if not isinstance(options, CocoOptions):
        raise BenchError(f"data set 'coco' takes CocoOptions, got {type(options).__name__}")
    return options


def _folder(location: str | None) -> Path:
    if location is None:
        raise BenchError("data set 'coco' needs a folder", hint="For example: coco:path/to/folder.")
    folder = Path(location).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BenchError(f"{folder} {what}", hint="coco:FOLDER expects sub-folders such as train/ and val/.")
    return folder


def _test_split(known: Sequence[str], options: CocoOptions) -> str | None:
    if options.test is not None:
        return options.test
    return next((name for name in ("test", "val") if name in known and name != options.train), None)


def _info(folder: Path, content: CocoSplit) -> DatasetInfo:
    info = {key: str(value) for key, value in content.info.items() if isinstance(value, str | int | float)}
    citation = info.get("citation") or info.get("source") or info.get("url") or info.get("contributor") or ""
    return DatasetInfo(
        title=info.get("description") or folder.resolve().name,
        tier="own",
        licence="; ".join(content.licences) or info.get("licence") or info.get("license") or "not stated",
        citation=citation,
        category=content.category.name,
        extra={key: info[key] for key in ("version", "source", "url", "year") if key in info},
    )
