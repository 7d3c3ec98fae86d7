"""MNIST digits of one class, as Thewlis et al. 2017 show them: ``mnist:FOLDER``. There are no landmarks.

Layout: the four IDX files as published (``.gz``), in ``FOLDER`` or, as torchvision puts them, ``FOLDER/MNIST/raw``.

Splits: of the training file's images of one digit, the last 1,000 are ``val`` and the rest ``train`` (their
supplement gives the numbers, not which); ``test`` is the test file. Images are resized to 35 x 35 and padded with 5
black pixels on each side: 45 x 45.

References: LeCun et al., Gradient-based learning applied to document recognition, 1998. Thewlis et al. 2017,
supplement, sections 2 and 3.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.file_kinds import misfit
from bench.landmarks import (
    DatasetInfo,
    DatasetProvider,
    LandmarkDataset,
    LandmarkSchema,
    Requirement,
    Sample,
    no_landmarks,
)
from datasets.published import data_folder, options_of, require_count, require_split

INFO = DatasetInfo(
    title="MNIST, one digit",
    tier="published",
    licence="CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. Proceedings of "
    "the IEEE, 1998",
    category="handwritten digit",
)
SPLITS = ("train", "val", "test")
COUNTS = {"train": 60_000, "t10k": 10_000}
VALIDATION = 1_000
RESIZED, BORDER = 35, 5
PLACES = (".", "MNIST/raw")

_SITE = "https://ossci-datasets.s3.amazonaws.com/mnist/ (the mirror that torchvision uses)"
_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
_LAYOUT = "train-images-idx3-ubyte.gz and its three companions"


class MnistOptions(BaseModel):
    """Which digit, in which frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digit: int = Field(3, ge=0, le=9, description="the papers show 3, 5 and 6")
    frame: Literal["thewlis", "stored"] = Field("thewlis", description="45 x 45 with a border, or 28 x 28")
    validation: int = Field(VALIDATION, ge=1, description="images of the training file kept for val")
    check_counts: bool = Field(True, description="insist on 60,000 and 10,000 images")


class MnistProvider(DatasetProvider):
    """Opens ``mnist:FOLDER``."""

    name: ClassVar[str] = "mnist"
    summary: ClassVar[str] = "MNIST, one digit, without landmarks (mnist:FOLDER)"
    Options: ClassVar[type[BaseModel]] = MnistOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return SPLITS

    def open(self, split: str, location: str | None, options: BaseModel) -> MnistDataset:
        choice = options_of(options, MnistOptions, self.name)
        require_split(split, SPLITS, self.name)
        folder = data_folder(location, self.name, _LAYOUT)
        part = "t10k" if split == "test" else "train"
        images, labels = read_part(folder, part, check_counts=choice.check_counts)
        rows = np.flatnonzero(labels == choice.digit)
        if part == "train":
            if choice.validation >= len(rows):
                raise BenchError(
                    f"validation={choice.validation} of {len(rows)} images of digit {choice.digit}"
                )
            rows = rows[-choice.validation :] if split == "val" else rows[: -choice.validation]
        return MnistDataset(split, part, rows, images, choice)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        del options
        return tuple(
            Requirement(
                f"{name}.gz",
                f"IDX file {name}",
                _SITE,
                md5=(md5,),
                alternatives=tuple(f"{place}/{name}.gz" for place in PLACES[1:]),
            )
            for name, md5 in _MD5.items()
        )


class MnistDataset(LandmarkDataset):
    """The images of one digit, in memory; an id is the row in the file, such as ``train/00007``."""

    name = "mnist"
    info = INFO
    schema = LandmarkSchema(names=())

    def __init__(
        self, split: str, part: str, rows: np.ndarray, images: np.ndarray, options: MnistOptions
    ) -> None:
        self.split = split
        self._ids = tuple(f"{part}/{row:05d}" for row in rows)
        self._images = np.ascontiguousarray(images[rows])
        self._frame = options.frame

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        image = torch.from_numpy(self._images[index]).expand(3, -1, -1).clone()
        points, visible = no_landmarks()
        return Sample(
            self._ids[index], _framed(image) if self._frame == "thewlis" else image, points, visible
        )

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(json.dumps([self._ids, self._frame, RESIZED, BORDER]).encode())
        digest.update(self._images.tobytes())
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._digest


def _framed(image: Tensor) -> Tensor:
    resized: Tensor = tvf.resize(image, [RESIZED, RESIZED], antialias=True)
    padded: Tensor = tvf.pad(resized, [BORDER])
    return padded


def read_part(folder: Path, part: str, *, check_counts: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) and labels (N,) of ``train`` or ``t10k``, uint8.

    Raises:
        BenchError: names the file that is missing, damaged, of another kind, or of another length.
    """
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), 3)
    path = _find(folder, f"{part}-labels-idx1-ubyte")
    labels = read_idx(path, 1)
    if len(labels) != len(images):
        raise BenchError(f"{path} has {len(labels):,} labels for {len(images):,} images")
    if images.shape[1:] != (28, 28):
        raise BenchError(f"{part} images of {folder} are {images.shape[1:]}, expected 28 x 28")
    if check_counts:
        require_count(
            len(images), COUNTS[part], f"images of {part!r} in {folder}", f"Take them again from {_SITE}."
        )
    return images, labels


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A packed IDX file of unsigned bytes: magic 0, 0, 8, dimensions; big-endian sizes; the values."""
    again = f"Take it again from {_SITE}."
    wrong = misfit(path)
    if wrong is not None:
        raise BenchError(f"{path} is {wrong}", hint=again)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{path} is damaged: {error}", hint=again) from error
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < 4 + 4 * dimensions:
        raise BenchError(
            f"{path} begins with {content[:4].hex(' ')}, expected 00 00 08 {dimensions:02d}",
            hint="Images and labels exchanged? " + again,
        )
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    if len(values) != np.prod(sizes):
        raise BenchError(
            f"{path} announces {sizes} values and holds {len(values):,}: it is cut short", hint=again
        )
    return values.reshape(sizes)


def _find(folder: Path, name: str) -> Path:
    places = [folder / place / f"{name}.gz" for place in PLACES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise BenchError(f"{places[0]} is missing", hint=f"It is had from {_SITE}.")
    return found
