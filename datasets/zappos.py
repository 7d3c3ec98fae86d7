"""UT Zappos50K shoes, as Thewlis et al. 2017 show them: ``zappos:FOLDER``. There are no landmarks.

Layout: ``ut-zap50k-images-square/`` or ``ut-zap50k-images/`` with ``Boots/``, ``Sandals/``, ``Shoes/``, ``Slippers/``.

Splits: 49,525 of the 50,025 images are ``train``, the other 500 ``val``; which is not published, so 500 are drawn by a
seed of ours. Images are padded with white to a square where they are none, resized to 64 x 64, and padded with 15
white pixels on each side: 94 x 94.

References: Yu and Grauman, Fine-Grained Visual Comparisons with Local Learning, CVPR 2014. Thewlis et al. 2017,
section 4 and supplement, section 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from bench.seeds import numpy_generator
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, part_of, require_count, require_split, unlabelled

INFO = DatasetInfo(
    title="UT Zappos50K",
    tier="published",
    licence="academic, non-commercial use; the images are property of Zappos.com",
    citation="Yu, Grauman: Fine-Grained Visual Comparisons with Local Learning. CVPR 2014",
    category="shoe",
)
IMAGES = 50_025
VALIDATION = 500
RESIZED, BORDER, WHITE = 64, 15, 255
CATEGORIES = ("Boots", "Sandals", "Shoes", "Slippers")

_SITE = "the UT Zappos50K page, https://vision.cs.utexas.edu/projects/finegrained/utzap50k/"


class ZapposOptions(BaseModel):
    """Which images are held out, in which frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Literal["ut-zap50k-images-square", "ut-zap50k-images"] = Field(
        "ut-zap50k-images-square", description="which of the two archives of pictures"
    )
    frame: Literal["thewlis", "stored"] = Field("thewlis", description="94 x 94 with a border, or as stored")
    validation: int = Field(VALIDATION, ge=1, description="images drawn for val")
    seed: int = Field(0, ge=0, description="seed of the draw")
    check_counts: bool = Field(True, description="insist on 50,025 images")


class ZapposProvider(DatasetProvider):
    """Opens ``zappos:FOLDER``."""

    name: ClassVar[str] = "zappos"
    summary: ClassVar[str] = "UT Zappos50K shoes without landmarks (zappos:FOLDER)"
    Options: ClassVar[type[BaseModel]] = ZapposOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return ("train", "val")

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, ZapposOptions, self.name)
        require_split(split, ("train", "val"), self.name)
        folder = data_folder(location, self.name, f"{choice.images}/ with {', '.join(CATEGORIES)}")
        root = part_of(folder, choice.images, self.name, _SITE)
        paths = find_images(root, check_counts=choice.check_counts)
        if choice.validation >= len(paths):
            raise BenchError(
                f"validation={choice.validation:,} leaves nothing to train on: {len(paths):,} images"
            )
        drawn = numpy_generator(choice.seed, "zappos", "validation").permutation(len(paths))
        held_out = set(drawn[: choice.validation].tolist())
        return ZapposDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=LandmarkSchema(names=()),
            entries=[
                unlabelled(path, root / path)
                for i, path in enumerate(paths)
                if (i in held_out) == (split == "val")
            ],
            recipe={"frame": choice.frame},
        )

    def evaluation_splits(self, location: str | None, options: BaseModel) -> tuple[str, str]:
        del location, options
        return "train", "val"

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        choice = options_of(options, ZapposOptions, self.name)
        count = IMAGES if choice.check_counts else None
        return (Requirement(choice.images, "the pictures of shoes", _SITE, "folder", count),)


class ZapposDataset(ListedDataset):
    """One split."""

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        whole = super().cut(entry, image)
        if self.recipe["frame"] == "stored":
            return whole
        return Cut(framed(image), whole.points, whole.visible)


def framed(image: Tensor) -> Tensor:
    """(3, H, W) to (3, 94, 94), all that is added white."""
    height, width = image.shape[-2:]
    left, top = max(0, height - width) // 2, max(0, width - height) // 2
    side = max(height, width)
    square = tvf.pad(image, [left, top, side - width - left, side - height - top], fill=WHITE)
    resized: Tensor = tvf.resize(square, [RESIZED, RESIZED], antialias=True)
    padded: Tensor = tvf.pad(resized, [BORDER], fill=WHITE)
    return padded


def find_images(root: Path, *, check_counts: bool) -> list[str]:
    """Relative paths of all pictures, sorted.

    Raises:
        BenchError: where a category is missing or their number is not the published one.
    """
    missing = [name for name in CATEGORIES if not (root / name).is_dir()]
    if missing and check_counts:
        raise BenchError(f"{root} lacks {', '.join(missing)}", hint=f"Unpack the archive again ({_SITE}).")
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    if check_counts:
        hint = f"A half-unpacked archive? It is had from {_SITE}; for a smaller copy: -D check_counts=false."
        require_count(len(paths), IMAGES, f"images in {root}", hint)
    return paths
