"""Cropped Extended Yale B, faces under 64 lights: ``yaleb:FOLDER``. There are no landmarks.

Layout: ``CroppedYale/yaleB01/yaleB01_P00A+000E+00.pgm``, ...: 2,414 images of 38 people, 168 x 192. Files that the
authors mark as spoilt (``.pgm.bad``) and those taken without the flash (``_Ambient.pgm``) do not belong to these.

Images of one person are aligned, so any two of them differ by their light alone (:meth:`YaleBDataset.pairs`). Thewlis
et al. 2017 fine-tune on such pairs with the identity as the warp. They hold two people out and do not say which: here
the last two are ``test`` (``-D held_out``).

References: Georghiades et al., From few to many, PAMI 2001. Lee et al., Acquiring linear subspaces, PAMI 2005.
Thewlis et al. 2017, supplement, section 4.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError, did_you_mean
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.listed import ListedDataset
from datasets.published import data_folder, options_of, part_of, require_count, require_split, unlabelled

INFO = DatasetInfo(
    title="Extended Yale B, cropped",
    tier="published",
    licence="free for research; publications must name Extended Yale Face Database B",
    citation="Georghiades, Belhumeur, Kriegman: From Few to Many: Illumination Cone Models for Face Recognition under "
    "Variable Lighting and Pose. PAMI 2001; Lee, Ho, Kriegman: Acquiring Linear Subspaces for Face Recognition under "
    "Variable Lighting. PAMI 2005",
    category="human face",
)
SPLITS = ("train", "test")
IMAGES = 2_414
PEOPLE = 38

_SITE = "the Extended Yale B page of UCSD, http://vision.ucsd.edu/~leekc/ExtYaleDatabase/ExtYaleB.html"
_NAME = re.compile(r"(yaleB\d{2})_P00A[+-]\d{3}E[+-]\d{2}\.pgm")


class YaleBOptions(BaseModel):
    """Who is held out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    held_out: tuple[str, ...] = Field(
        ("yaleB38", "yaleB39"), min_length=1, description="people of the test split"
    )
    check_counts: bool = Field(True, description="insist on 2,414 images of 38 people")


class YaleBProvider(DatasetProvider):
    """Opens ``yaleb:FOLDER``."""

    name: ClassVar[str] = "yaleb"
    summary: ClassVar[str] = (
        "Extended Yale B, aligned faces under 64 lights, without landmarks (yaleb:FOLDER)"
    )
    Options: ClassVar[type[BaseModel]] = YaleBOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return SPLITS

    def open(self, split: str, location: str | None, options: BaseModel) -> YaleBDataset:
        choice = options_of(options, YaleBOptions, self.name)
        require_split(split, SPLITS, self.name)
        folder = data_folder(location, self.name, "CroppedYale/ with folders yaleB01 to yaleB39")
        root = part_of(folder, "CroppedYale", self.name, _SITE)
        images = find_images(root, check_counts=choice.check_counts)
        people = sorted(set(images.values()))
        for person in choice.held_out:
            if person not in people:
                raise BenchError(
                    f"held_out names {person!r}, who is not in {root}", hint=did_you_mean(person, people)
                )
        return YaleBDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=LandmarkSchema(names=()),
            entries=[
                unlabelled(path, root / path, person)
                for path, person in images.items()
                if (person in choice.held_out) == (split == "test")
            ],
        )

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        del options
        return (
            Requirement("CroppedYale", "the cropped images, folders yaleB01 to yaleB39", _SITE, "folder"),
        )


class YaleBDataset(ListedDataset):
    """One split; an identity is a person."""

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every two images of one person, as indices: aligned, under different light."""
        people: dict[str | None, list[int]] = {}
        for index, entry in enumerate(self.entries):
            people.setdefault(entry.identity, []).append(index)
        return tuple(pair for indices in people.values() for pair in combinations(indices, 2))


def find_images(root: Path, *, check_counts: bool) -> dict[str, str]:
    """Relative path -> person of all images with one light, sorted.

    Raises:
        BenchError: where nothing is there, or the numbers of images and people are not the published ones.
    """
    found = {}
    for path in sorted(root.glob("yaleB*/*.pgm")):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            if match.group(1) != path.parent.name:
                raise BenchError(f"{path} lies in the folder of another person")
            found[path.relative_to(root).as_posix()] = match.group(1)
    if not found:
        raise BenchError(
            f"{root} holds no yaleB*/yaleB*_P00A*E*.pgm",
            hint=f"Unpack CroppedYale.zip there; it is had from {_SITE}.",
        )
    if check_counts:
        hint = f"A half-unpacked archive? It is had from {_SITE}; for a smaller copy: -D check_counts=false."
        require_count(len(set(found.values())), PEOPLE, f"people in {root}", hint)
        require_count(len(found), IMAGES, f"images in {root}", hint)
    return found
