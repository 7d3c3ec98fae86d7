"""300-W, cut around the annotated face box as DVE and its successors do: ``300w:FOLDER``.

Layout::

    FOLDER/Bounding Boxes/bounding_boxes_{afw,helen_trainset,helen_testset,lfpw_trainset,lfpw_testset,ibug}.mat
    FOLDER/afw/*.jpg                 and beside each image its landmarks, *.pts
    FOLDER/{helen,lfpw}/{trainset,testset}/...      FOLDER/ibug/...

Convention: landmarks and boxes are 1-based (x, y) as in MATLAB, an integer at a pixel's centre; 0.5 is taken
off to make them corner-origin. "left" and "right" in the names are the subject's own.

Reference: Sagonas et al., 300 Faces in-the-Wild Challenge, ICCV-W 2013; the split and the cut: Thewlis et al.,
Unsupervised learning of landmarks by descriptor vector exchange, ICCV 2019 (released code).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.face_window import FaceWindow
from datasets.listed import Cut, Entry, ListedDataset
from datasets.matlab import read_mat
from datasets.pts import read_pts
from datasets.published import data_folder, options_of, require_count, require_split
from datasets.synthetic_faces.layout import FLIP_68, NAMES_68

SOURCE = "the 300-W page of iBUG (https://ibug.doc.ic.ac.uk/resources/300-W/), or DVE's archive 300w.tar.gz"
LAYOUT = "the folders 'Bounding Boxes', afw, helen, lfpw and ibug"

SCHEMA = LandmarkSchema(
    names=NAMES_68, normaliser=((36,), (45,)), normaliser_name="outer eye corners", flip_indices=FLIP_68
)
INFO = DatasetInfo(
    title="300-W (300 Faces in-the-Wild)",
    tier="published",
    licence="research only, not for commercial use; the parts AFW, HELEN, LFPW and iBUG keep their own terms",
    citation="Sagonas, Tzimiropoulos, Zafeiriou, Pantic: 300 Faces in-the-Wild Challenge: The first facial "
    "landmark localization challenge. ICCV Workshops 2013",
    category="face",
)


@dataclass(frozen=True)
class Part:
    """A folder of 300-W, the name of its boxes' file, and its published number of faces."""

    folder: str
    boxes: str
    count: int
    suffix: str = ".jpg"
    prefix: str = ""

    @property
    def boxes_path(self) -> str:
        return f"Bounding Boxes/bounding_boxes_{self.boxes}.mat"


AFW = Part("afw", "afw", 337)
HELEN_TRAIN = Part("helen/trainset", "helen_trainset", 2000)
HELEN_TEST = Part("helen/testset", "helen_testset", 330)
LFPW_TRAIN = Part("lfpw/trainset", "lfpw_trainset", 811, ".png")
LFPW_TEST = Part("lfpw/testset", "lfpw_testset", 224, ".png")
IBUG = Part("ibug", "ibug", 135, prefix="image")  # its file lists images that were never released, too

SPLITS: dict[str, tuple[Part, ...]] = {
    "train": (AFW, HELEN_TRAIN, LFPW_TRAIN),
    "test": (HELEN_TEST, LFPW_TEST, IBUG),
    "common": (HELEN_TEST, LFPW_TEST),
    "challenging": (IBUG,),
}


class W300Options(BaseModel):
    """How a photograph becomes a face image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["face", "none"] = Field(
        "face", description="face: the box 52 px wide in a 100 px window; none: the whole photograph"
    )
    resize: Literal["nearest", "bicubic"] = Field(
        "nearest",
        description="filter of the first resize; nearest is what DVE's environment (Pillow 6) did without "
        "saying so, bicubic what the same code does since Pillow 7",
    )
    points: Literal["exact", "official"] = Field(
        "exact",
        description="exact: points stay on the pixels they mark; official: the released code's arithmetic, up "
        "to a pixel of the 100 beside it",
    )
    check_counts: bool = Field(True, description="insist on the published numbers of faces")


class W300Provider(DatasetProvider):
    """Opens ``300w:FOLDER``: 3,148 training faces (AFW, HELEN, LFPW), 689 test faces (HELEN, LFPW, iBUG).

    ``common`` (554) and ``challenging`` (135) are the two parts of the test split.
    """

    name: ClassVar[str] = "300w"
    summary: ClassVar[str] = "300-W: 68 points, 3,148 + 689 faces cut around their boxes (published)"
    Options: ClassVar[type[BaseModel]] = W300Options
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return tuple(SPLITS)

    def open(self, split: str, location: str | None, options: BaseModel) -> W300Dataset:
        choice = options_of(options, W300Options, self.name)
        folder = data_folder(location, self.name, LAYOUT)
        require_split(split, tuple(SPLITS), self.name)
        entries: list[Entry] = []
        for part in SPLITS[split]:
            found = list(read_part(folder, part))
            if choice.check_counts:
                hint = f"Take it again from {SOURCE}, or set -D check_counts=false for a part of the set."
                require_count(len(found), part.count, f"faces in {folder / part.boxes_path}", hint)
            entries += found
        return W300Dataset(split, entries, choice)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        whole = options_of(options, W300Options, self.name).check_counts
        needed = []
        for part in (*SPLITS["train"], *SPLITS["test"]):
            count = part.count if whole else None
            what = f"the {part.count:,} faces of {part.folder}"
            needed += [
                Requirement(part.boxes_path, f"face boxes of {what}", SOURCE),
                Requirement(f"{part.folder}/*{part.suffix}", f"images of {what}", SOURCE, count=count),
                Requirement(f"{part.folder}/*.pts", f"landmarks of {what}", SOURCE, count=count),
            ]
        return tuple(needed)


class W300Dataset(ListedDataset):
    """One split, in the order of the box files."""

    def __init__(self, split: str, entries: list[Entry], options: W300Options) -> None:
        self._options = options
        recipe: dict[str, Any] = {"crop": options.crop}
        if options.crop == "face":
            recipe |= {"resize": options.resize, "points": options.points}
        super().__init__(name="300w", split=split, info=INFO, schema=SCHEMA, entries=entries, recipe=recipe)

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        """The 100 x 100 window around the face, zeros beyond the photograph."""
        whole = super().cut(entry, image)
        if self._options.crop == "none" or entry.box is None:
            return whole
        x0, y0, x1, y1 = (edge + 0.5 for edge in entry.box)
        try:
            window = FaceWindow.around((x0, y0, x1, y1), image.shape[-1], image.shape[-2])
        except ValueError as error:
            raise BenchError(f"{entry.file} with face box {entry.box}: {error}") from error
        move = window.official if self._options.points == "official" else window.exact
        corners = None if whole.box is None else move(whole.box.reshape(2, 2)).reshape(4)
        return Cut(window.image(image, self._options.resize), move(whole.points), whole.visible, corners)


def read_part(folder: Path, part: Part) -> Iterator[Entry]:
    """The faces of one folder, in the order of its box file.

    Raises:
        BenchError: where the box file or a landmark file is missing or damaged, or a box is not around its face.
    """
    for name, box in read_boxes(folder / part.boxes_path):
        if not name.startswith(part.prefix):
            continue
        file = folder / part.folder / name
        landmarks = file.with_suffix(".pts")
        points = read_pts(landmarks, len(NAMES_68), source=SOURCE)
        x, y = points.mean(axis=0)
        if not (box[0] <= x <= box[2] and box[1] <= y <= box[3]):
            raise BenchError(
                f"the points of {landmarks} lie about ({x:.1f}, {y:.1f}), outside the face box "
                f"({', '.join(f'{edge:g}' for edge in box)}) that {part.boxes_path} has for {name}",
                hint="Points are (x, y) and boxes (xmin, ymin, xmax, ymax): look for swapped axes, or for "
                "images of another size than the annotated ones.",
            )
        edges = tuple(float(edge) - 0.5 for edge in box)
        yield Entry(
            id=f"{part.folder}/{name}",
            file=file,
            points=points - 0.5,
            visible=np.ones(len(points), dtype=np.bool_),
            box=(edges[0], edges[1], edges[2], edges[3]),
        )


def read_boxes(path: Path) -> list[tuple[str, np.ndarray]]:
    """(image name, (xmin, ymin, xmax, ymax) of the annotated face, 1-based) in the order of the file.

    Raises:
        BenchError: where the file is not laid out like the published ones, or names an image twice.
    """
    cells = read_mat(path, "bounding_boxes", source=SOURCE)
    boxes: dict[str, np.ndarray] = {}
    for number, cell in enumerate(cells.reshape(-1), 1):
        try:
            name = str(cell["imgName"][0, 0].item())
            box = np.array(cell["bb_ground_truth"][0, 0], dtype=np.float64).reshape(4)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise BenchError(
                f"cell {number} of 'bounding_boxes' in {path} is not a struct with imgName and bb_ground_truth: "
                f"{error}",
                hint=f"Take the file again from {SOURCE}.",
            ) from error
        # Written so that NaN is refused.
        if not (box[2] > box[0] and box[3] > box[1]):
            raise BenchError(
                f"the face box of {name} in {path} is {box.tolist()}, expected xmin < xmax and ymin < ymax",
                hint="The file's boxes are (xmin, ymin, xmax, ymax), not (x, y, width, height).",
            )
        if name in boxes:
            raise BenchError(f"{path} names {name} twice", hint=f"Take the file again from {SOURCE}.")
        boxes[name] = box
    return list(boxes.items())
