"""Cat heads with 9 points, of which the papers use 7: ``cat-head:FOLDER``.

Layout: ``CAT_00/`` to ``CAT_06/`` with ``NAME.jpg`` and ``NAME.jpg.cat``: one line, the number 9 and x1 y1 ... x9 y9.

``-D division=zhang2018`` (the default) is the split that Zhang et al. 2018 and Rahaman et al. 2021 use, 7,747 images
for training; it is known from the authors' lists alone, ``train.txt`` and ``test.txt`` in one folder
(``-D lists=FOLDER``), one path such as ``CAT_00/00000001_000.jpg`` a line. ``-D division=draw`` draws 8,609 training
images, as many as Thewlis et al. 2017 use, by a seed of ours; their own choice is not known.

The papers drop "the two annotations corresponding to the end of the ears" (Rahaman et al.), read as the tips here;
``-D dropped=outer`` reads it as the outer ends. How they cut heads out of the photographs is not published: here, a
square about the centre of the 9 points' bounding box, its side ``enlarge`` times the longer side; black beyond the
photograph.

Convention: whole pixels of the photograph, 0-based (they reach 0 and below); 0.5 is added to make points
corner-origin. Left and right are those of the IMAGE. Points beyond the photograph are annotated, and count as visible
where the cut holds them.

Reference: Zhang, Sun, Tang, Cat head detection - how to effectively exploit shape and texture features, ECCV 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from bench.seeds import numpy_generator
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, require_count, require_split
from datasets.text_lists import no_twice, read_lines

NAMES = (
    "left_eye", "right_eye", "mouth", "left_ear_outer", "left_ear_tip", "left_ear_inner", "right_ear_inner",
    "right_ear_tip", "right_ear_outer",
)  # fmt: skip
MIRROR = (1, 0, 2, 8, 7, 6, 5, 4, 3)
INFO = DatasetInfo(
    title="Cat head (CAT)",
    tier="published",
    licence="research use; the photographs belong to their authors on flickr",
    citation="Zhang, Sun, Tang: Cat Head Detection - How to Effectively Exploit Shape and Texture Features. ECCV 2008",
    category="cat head",
)
SPLITS = ("train", "test")
ZHANG_TRAIN = 7_747
THEWLIS_TRAIN = 8_609

_SITE = "the Internet Archive, https://archive.org/details/CAT_DATASET"
_LISTS_SITE = "their authors; ask at the code of Zhang et al. 2018, https://github.com/YutingZhang/lmdis-rep"
_LAYOUT = "CAT_00/ to CAT_06/ with NAME.jpg and NAME.jpg.cat"


class CatHeadOptions(BaseModel):
    """Which division and points, and how heads are cut out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    division: Literal["zhang2018", "draw"] = Field(
        "zhang2018", description="by the authors' lists, or drawn here"
    )
    lists: str = Field("zhang2018", description="folder of train.txt and test.txt, in FOLDER or absolute")
    train_count: int = Field(THEWLIS_TRAIN, ge=1, description="training images of division=draw")
    seed: int = Field(0, ge=0, description="seed of division=draw")
    landmarks: Literal[7, 9] = Field(7, description="without or with the ends of the ears")
    dropped: Literal["tips", "outer"] = Field("tips", description="which ear points landmarks=7 leaves out")
    crop: Literal["head", "none"] = Field("head", description="a square about the head, or the photograph")
    enlarge: float = Field(1.5, ge=1, le=4, description="side of the square / longer side of the points' box")
    check_counts: bool = Field(True, description="insist on the published number of training images")


class CatHeadProvider(DatasetProvider):
    """Opens ``cat-head:FOLDER``."""

    name: ClassVar[str] = "cat-head"
    summary: ClassVar[str] = "Cat heads, 7 or 9 points (cat-head:FOLDER)"
    Options: ClassVar[type[BaseModel]] = CatHeadOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return SPLITS

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, CatHeadOptions, self.name)
        require_split(split, SPLITS, self.name)
        folder = data_folder(location, self.name, _LAYOUT)
        chosen = (
            listed_split(folder, choice) if choice.division == "zhang2018" else drawn_split(folder, choice)
        )
        kept = kept_points(choice)
        return CatHeadDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=schema_of(kept),
            entries=[_entry(name, folder) for name in chosen[split]],
            kept=kept,
            crop=choice.crop,
            enlarge=choice.enlarge,
        )

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        choice = options_of(options, CatHeadOptions, self.name)
        folders = (
            Requirement(f"CAT_0{i}", f"photographs and points, part {i + 1} of 7", _SITE, "folder")
            for i in range(7)
        )
        if choice.division == "draw":
            return tuple(folders)
        count = ZHANG_TRAIN if choice.check_counts else None
        return (
            *folders,
            Requirement(
                f"{choice.lists}/train.txt",
                "the training images of Zhang et al. 2018",
                _LISTS_SITE,
                count=count,
            ),
            Requirement(f"{choice.lists}/test.txt", "the test images of Zhang et al. 2018", _LISTS_SITE),
        )


class CatHeadDataset(ListedDataset):
    """One split. Entries hold all 9 points, since these say where the head is; samples hold those that are kept."""

    def __init__(
        self,
        *,
        name: str,
        split: str,
        info: DatasetInfo,
        schema: LandmarkSchema,
        entries: Sequence[Entry],
        kept: Sequence[int],
        crop: str,
        enlarge: float,
    ) -> None:
        index = list(kept)
        self._heads = {entry.id: head_square(entry.points, enlarge) for entry in entries}
        self._crop = crop
        super().__init__(
            name=name,
            split=split,
            info=info,
            schema=schema,
            entries=[Entry(e.id, e.file, e.points[index], e.visible[index]) for e in entries],
            recipe={"crop": crop, "squares": list(self._heads.values()) if crop == "head" else None},
        )

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        height, width = image.shape[-2:]
        left, top, side = self._heads[entry.id]
        if self._crop == "head":
            image = tvf.crop(image, top, left, side, side)
            height, width = side, side
        else:
            left, top = 0, 0
        points = torch.from_numpy(entry.points - np.array([left, top]))
        inside = ((points >= 0) & (points <= torch.tensor([width, height]))).all(dim=1)
        return Cut(image, points, inside & torch.from_numpy(entry.visible))


def head_square(points: np.ndarray, enlarge: float) -> tuple[int, int, int]:
    """(left, top, side) in whole pixels of the square about the head.

    Shapes:
        points: (9, 2), corner origin.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(1, math.ceil(enlarge * float((high - low).max())))
    left, top = (math.floor(c - side / 2 + 0.5) for c in ((low + high) / 2).tolist())
    return left, top, side


def kept_points(options: CatHeadOptions) -> tuple[int, ...]:
    if options.landmarks == 9:
        return tuple(range(9))
    dropped = {"tips": (4, 7), "outer": (3, 8)}[options.dropped]
    return tuple(i for i in range(9) if i not in dropped)


def schema_of(kept: Sequence[int]) -> LandmarkSchema:
    return LandmarkSchema(
        names=tuple(NAMES[i] for i in kept),
        normaliser=((0,), (1,)),
        normaliser_name="eye centres",
        flip_indices=tuple(list(kept).index(MIRROR[i]) for i in kept),
    )


def read_cat(path: Path) -> np.ndarray:
    """The 9 points of a ``.cat`` file, (9, 2) as written.

    Raises:
        BenchError: names the file where it does not hold 9 points.
    """
    fields = " ".join(read_lines(path, source=_SITE)).split()
    try:
        values = [int(field) for field in fields]
    except ValueError as error:
        raise BenchError(f"{path} is not made of whole numbers: {' '.join(fields)[:80]!r}") from error
    if values[0] != len(NAMES) or len(values) != 1 + 2 * len(NAMES):
        raise BenchError(
            f"{path} announces {values[0]} points and holds {len(values) - 1} numbers, expected 9 and 18",
            hint=f"Take it again from {_SITE}.",
        )
    return np.array(values[1:], dtype=np.float64).reshape(len(NAMES), 2)


def listed_split(folder: Path, options: CatHeadOptions) -> dict[str, list[str]]:
    """Relative paths of the images, by the authors' lists."""
    lists = folder / options.lists
    if not lists.is_dir():
        raise BenchError(
            f"{lists} is missing: the lists of Zhang et al. 2018",
            hint=f"train.txt ({ZHANG_TRAIN:,} lines) and test.txt are needed; they are had from {_LISTS_SITE}. "
            "Name another folder with -D lists=FOLDER, or have a split drawn with -D division=draw.",
        )
    chosen = {}
    for split in SPLITS:
        path = lists / f"{split}.txt"
        chosen[split] = [line.removesuffix(".cat") for line in read_lines(path, source=_LISTS_SITE)]
        no_twice(path, chosen[split])
    shared = sorted(set(chosen["train"]) & set(chosen["test"]))
    if shared:
        raise BenchError(f"train.txt and test.txt of {lists} share {len(shared)} images, e.g. {shared[0]!r}")
    if options.check_counts:
        hint = f"The lists are had from {_LISTS_SITE}; for one of your own: -D check_counts=false."
        require_count(len(chosen["train"]), ZHANG_TRAIN, f"images in {lists / 'train.txt'}", hint)
    return chosen


def drawn_split(folder: Path, options: CatHeadOptions) -> dict[str, list[str]]:
    """Relative paths of all annotated images, ``train_count`` of them drawn for training."""
    images = sorted(p.relative_to(folder).as_posix() for p in folder.glob("CAT_*/*.jpg"))
    points = {p.relative_to(folder).as_posix().removesuffix(".cat") for p in folder.glob("CAT_*/*.jpg.cat")}
    if not images and not points:
        raise BenchError(f"{folder} holds no CAT_*/*.jpg", hint=f"Expected {_LAYOUT}, from {_SITE}.")
    odd = sorted(points.symmetric_difference(images))
    if odd:
        lacks = f"{odd[0]}.cat" if odd[0] not in points else odd[0]
        raise BenchError(
            f"{len(odd)} of the photographs and .cat files of {folder} lack their partner, e.g. {lacks} is missing",
            hint=f"Unpack the archives again; single files are had from {_SITE}.",
        )
    if options.train_count >= len(images):
        raise BenchError(
            f"train_count={options.train_count:,} leaves nothing to test on: {folder} has {len(images):,} images",
            hint="A half-unpacked copy? Otherwise choose a smaller -D train_count.",
        )
    order = numpy_generator(options.seed, "cat-head", "split").permutation(len(images))
    train = set(order[: options.train_count].tolist())
    return {
        "train": [image for i, image in enumerate(images) if i in train],
        "test": [image for i, image in enumerate(images) if i not in train],
    }


def _entry(name: str, folder: Path) -> Entry:
    points = read_cat(folder / f"{name}.cat") + 0.5
    return Entry(name, folder / name, points, np.ones(len(NAMES), dtype=np.bool_))
