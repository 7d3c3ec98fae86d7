"""CUB-200-2011, birds with 15 parts: ``cub:FOLDER``.

``-D division=passeroidea`` (the default) is the benchmark of ContrastLandmarks and LEAD: 35 species of the
superfamily Passeroidea, at most 60 images of each, 1,241 for training, 382 for validation, 383 for the test. Which
images these are is known from its authors' lists alone; put them as ``train.txt``, ``val.txt`` and ``test.txt``
into one folder (``-D lists=FOLDER``), one image a line, by its path or its number of ``images.txt``.
``-D division=official`` is the split of CUB itself: all 200 species, 5,994 and 5,794 images.

Layout: ``CUB_200_2011/`` as unpacked, and ``segmentations/`` beside or in it for the masks.

Convention: (x, y) as in ``parts/part_locs.txt``. Whether its pixels count from 0 or 1 is documented nowhere; 1 is
assumed, and 0.5 subtracted to make points corner-origin (``-D base=0`` adds 0.5). Left and right are the bird's.
A box ``x y w h`` becomes (x - base, y - base, x - base + w, y - base + h).

References: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011. Cheng et al. 2021, supplement, section 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.cub_index import IMAGES, PARTS, SITE, read_index
from datasets.cub_splits import (
    LISTS_SITE,
    OFFICIAL_SIZES,
    PASSEROIDEA_SIZES,
    official_split,
    passeroidea_split,
)
from datasets.images import read_rgb
from datasets.listed import Cut, Entry, ListedDataset
from datasets.published import data_folder, options_of, part_of, require_split

SCHEMA = LandmarkSchema(
    names=tuple(part.replace(" ", "_") for part in PARTS),
    flip_indices=(0, 1, 2, 3, 4, 5, 10, 11, 12, 9, 6, 7, 8, 13, 14),
)
INFO = DatasetInfo(
    title="Caltech-UCSD Birds-200-2011",
    tier="published",
    licence="non-commercial research and educational use; the images belong to their photographers",
    citation="Wah, Branson, Welinder, Perona, Belongie: The Caltech-UCSD Birds-200-2011 Dataset. "
    "California Institute of Technology, CNS-TR-2011-001, 2011",
    category="bird",
)

_LAYOUT = "CUB_200_2011/ with images.txt, parts/part_locs.txt and images/"


class CubOptions(BaseModel):
    """Which division into splits, and how the files are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    division: Literal["passeroidea", "official"] = Field(
        "passeroidea", description="35 species by the authors' lists, or CUB's own split of all 200"
    )
    lists: str = Field(
        "passeroidea", description="folder of train.txt, val.txt, test.txt, in FOLDER or absolute"
    )
    masks: Literal["auto", "yes", "no"] = Field("auto", description="auto: where segmentations/ is there")
    base: Literal[0, 1] = Field(1, description="number of the first pixel in part_locs.txt")
    check_counts: bool = Field(True, description="insist on the published numbers of images and species")


class CubProvider(DatasetProvider):
    """Opens ``cub:FOLDER``."""

    name: ClassVar[str] = "cub"
    summary: ClassVar[str] = "CUB-200-2011: birds, 15 parts with visibility, masks (cub:FOLDER)"
    Options: ClassVar[type[BaseModel]] = CubOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location
        choice = options_of(options, CubOptions, self.name)
        return tuple(PASSEROIDEA_SIZES if choice.division == "passeroidea" else OFFICIAL_SIZES)

    def validation_split(self, location: str | None, options: BaseModel) -> str | None:
        return "val" if "val" in self.splits(location, options) else None

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, CubOptions, self.name)
        require_split(split, self.splits(location, options), self.name)
        folder = data_folder(location, self.name, _LAYOUT)
        root = part_of(folder, "CUB_200_2011", self.name, SITE)
        index = read_index(root, base=choice.base, check_counts=choice.check_counts)
        if choice.division == "official":
            chosen = official_split(root, index, check_counts=choice.check_counts)
        else:
            chosen = passeroidea_split(folder / choice.lists, index, check_counts=choice.check_counts)
        segmentations = _segmentations(folder, root, choice)
        return CubDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=SCHEMA,
            entries=[index.entry(number, root, segmentations) for number in chosen[split]],
            recipe={"division": choice.division, "masks": segmentations is not None},
        )

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        choice = options_of(options, CubOptions, self.name)
        counted = choice.check_counts
        base = "CUB_200_2011/"
        needed = [
            Requirement(
                "CUB_200_2011.tgz",
                "the archive, before it is unpacked",
                SITE,
                bytes=1_150_585_339,
                sha256=("0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",),
                optional=True,
            ),
            Requirement(
                "segmentations.tgz",
                "the archive of the masks, before it is unpacked",
                SITE,
                bytes=39_272_883,
                sha256=("dc77f6cffea0cbe2e41d4201115c8f29a6320ecb04fffd2444f51b8066e4b84f",),
                optional=True,
            ),
            _table(base + "images.txt", "numbers and paths of the images", IMAGES if counted else None),
            _table(base + "parts/part_locs.txt", "the 15 parts", 15 * IMAGES if counted else None),
            _table(base + "bounding_boxes.txt", "the birds' boxes", IMAGES if counted else None),
            Requirement(base + "images", "the images", SITE, "folder", IMAGES if counted else None),
            Requirement(
                "segmentations",
                "the masks",
                SITE,
                "folder",
                IMAGES if counted else None,
                optional=choice.masks != "yes",
                alternatives=("CUB_200_2011/segmentations",),
            ),
        ]
        if choice.division == "official":
            needed.append(
                _table(base + "train_test_split.txt", "CUB's own split", IMAGES if counted else None)
            )
        else:
            needed += [
                Requirement(
                    f"{choice.lists}/{split}.txt",
                    f"the {split} images of the 35 Passeroidea species",
                    LISTS_SITE,
                    count=count if counted else None,
                )
                for split, count in PASSEROIDEA_SIZES.items()
            ]
        return tuple(needed)


class CubDataset(ListedDataset):
    """One split; the whole images, as the papers use them (resized with the aspect ratio ignored)."""

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        cut = super().cut(entry, image)
        if cut.mask is not None and cut.mask.shape != image.shape[-2:]:
            raise BenchError(
                f"mask {entry.mask} is {tuple(cut.mask.shape)}, its image {tuple(image.shape[-2:])} (rows, columns)"
            )
        return cut

    def load_mask(self, path: Path) -> Tensor:
        """Foreground where most of the five annotators saw the bird; the grey value is their share of 255."""
        return read_rgb(path)[0] > 127


def _segmentations(folder: Path, root: Path, options: CubOptions) -> Path | None:
    if options.masks == "no":
        return None
    places = (folder / "segmentations", root / "segmentations")
    found = next((place for place in places if place.is_dir()), None)
    if found is None and options.masks == "yes":
        raise BenchError(
            f"{places[0]} is missing", hint=f"Unpack segmentations.tgz there; it is had from {SITE}."
        )
    return found


def _table(path: str, what: str, count: int | None) -> Requirement:
    return Requirement(path, what, SITE, count=count)
