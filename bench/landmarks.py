"""Images with landmarks: what a data set hands to a protocol.

Convention: points are (x, y) in pixels of the sample's own image, corner origin: pixel (column j, row i)
covers [j, j+1) x [i, i+1) and its centre is (j + 0.5, i + 0.5). A data set converts from its native
convention at its border and says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

Tier = Literal["procedural", "own", "published"]

FIGURE_GROUND = ("background", "foreground")
UNLABELLED = 255
"""In a map of classes: nothing is known about this pixel."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a category with its annotation.

    Shapes:
        image: (3, H, W), uint8, RGB.
        points: (K, 2), float32, pixels of ``image``, corner origin; anything where ``visible`` is false.
        visible: (K,), bool. Visibility is this mask and never a sentinel coordinate.
        mask: (H, W), bool, foreground, where the set has one.
        labels: (H, W), uint8, the class of each pixel, 0 being background, where the set has more than two; numbers
            count ``LandmarkDataset.classes``, and UNLABELLED says that nothing is known.
        box: (4,), float32, (x0, y0, x1, y1) of the object, where the set has one.

    Attributes:
        id: Unique and stable within the data set and split.
        identity: Name of the individual, where the set has one; two samples with equal identities show the same.
    """

    id: str
    image: Tensor
    points: Tensor
    visible: Tensor
    identity: str | None = None
    mask: Tensor | None = None
    box: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True)
class LandmarkSchema:
    """What the K points of a data set are called and how errors on them are normalised.

    Attributes:
        names: K names, in the order of ``Sample.points``.
        normaliser: Two groups of point indices; an error is divided by the distance between the two group means
            (one index per group: two points; several: e.g. eye centres). None where no normaliser is known.
        normaliser_name: What the distance is, e.g. "outer eye corners".
        flip_indices: For each point the index of its mirror image, where known.
    """

    names: tuple[str, ...]
    normaliser: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    normaliser_name: str = ""
    flip_indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """Metadata that travels with every result on the data set."""

    title: str
    tier: Tier
    licence: str
    citation: str
    category: str = "object"
    extra: dict[str, Any] = field(default_factory=dict)


class LandmarkDataset(ABC):
    """One split of a collection of images with landmarks: sized, indexable, immutable.

    Opening a data set checks its annotation; images are read by ``__getitem__``.

    Attributes:
        zoom_factors: Where images are cut around their objects' boxes: id -> what the box's sides are multiplied by.
        classes: What the numbers in ``Sample.labels`` mean; of a mask: false and true.
    """

    name: str
    split: str
    info: DatasetInfo
    schema: LandmarkSchema
    zoom_factors: Mapping[str, float] | None = None
    classes: tuple[str, ...] = FIGURE_GROUND

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample; raises BenchError that names the file where an image cannot be read."""

    @property
    @abstractmethod
    def ids(self) -> tuple[str, ...]:
        """The ids of all samples, in order, without reading an image."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digest of everything in this split that can change a result (images, points, options)."""

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


class NoOptions(BaseModel):
    """For components that have nothing to choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Requirement:
    """A file or folder that a published data set consists of; the user puts it there, nothing is downloaded.

    Attributes:
        path: Relative to the data set's location; with ``*``, every match is meant.
        what: What it is, in words.
        source: Where it is had: name of the site and its address.
        count: Published number of non-blank lines of a file, of files in a folder (sub-folders included), or of
            the files that match a path with ``*``.
        sha256: Published digests of the file; one must fit. ``md5`` likewise.
        bytes: Published size of the file.
        optional: Whether the data set opens without it.
        alternatives: Other usual places, looked at in order where ``path`` is not there.
    """

    path: str
    what: str
    source: str
    kind: Literal["file", "folder"] = "file"
    count: int | None = None
    sha256: tuple[str, ...] = ()
    md5: tuple[str, ...] = ()
    bytes: int | None = None
    optional: bool = False
    alternatives: tuple[str, ...] = ()


class DatasetProvider(ABC):
    """What the entry-point group ``bench.datasets`` names: opens the splits of a data set.

    On the command line a data set is ``NAME`` or ``NAME:LOCATION``; its options are ``-D key=value``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[BaseModel]] = NoOptions
    needs_location: ClassVar[bool] = False
    train_split: ClassVar[str] = "train"
    test_split: ClassVar[str] = "test"
    info: ClassVar[DatasetInfo | None] = None
    """Metadata, where it does not depend on the location."""

    @abstractmethod
    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """The names of the splits that are there."""

    @abstractmethod
    def open(self, split: str, location: str | None, options: BaseModel) -> LandmarkDataset:
        """Open a split. Raises BenchError where it is missing or malformed."""

    def evaluation_splits(self, location: str | None, options: BaseModel) -> tuple[str, str]:
        """(annotated training split, test split) that protocols use unless told otherwise."""
        del location, options
        return self.train_split, self.test_split

    def validation_split(self, location: str | None, options: BaseModel) -> str | None:
        """The annotated split, apart from those of evaluation, that choices are made on; None: there is none."""
        del location, options
        return None

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        """The splits whose images pre-training may use (never the test split)."""
        return (self.evaluation_splits(location, options)[0],)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        """What must lie in the location; ``bench data verify`` checks it before anything is opened."""
        del options
        return ()


def no_landmarks(count: int = 0) -> tuple[Tensor, Tensor]:
    """(points, visible) of an image without annotation: ``count`` invisible points."""
    return torch.zeros(count, 2), torch.zeros(count, dtype=torch.bool)
