"""BBC Pose, 7 upper-body joints of sign-language interpreters: ``bbcpose:FOLDER``.

Splits by video: 1-10 ``train`` (joints tracked automatically; the papers use the images alone), 11-15 ``val`` (on
which the papers fit their regressor), 16-20 ``test`` (1,000 frames, annotated by hand). Videos after the 20th
belong to the extended set and are left out.

Layout: ``FOLDER/<video number>/<frame>.jpg``, ``FOLDER/code/bbcpose.mat``, ``FOLDER/code/results.mat``.

Frames of ``train`` are ``train_frames`` of ``bbcpose.mat``; those of ``val`` are its hand-annotated ``test_frames``
where a video has them, else ``train_frames``; those of ``test`` are ``gt`` of ``results.mat``. Frames are cut as in the
papers (``-D crop``): "window" is 300 x 300 about the centre of the joints' bounding box (the evaluation of Jakab et
al.), "loose" the bounding box with 60 pixels added on each side; what lies beyond the frame is black.

Convention: rows x, y of the (2, 7, N) arrays. Pixels count from 1, as in MATLAB (public loaders do not subtract it,
``-D base=0``); 0.5 is subtracted to make points corner-origin. Left and right are the person's.

Reference: Charles et al., Domain adaptation for upper body pose tracking in signed TV broadcasts, BMVC 2013.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, DatasetProvider, LandmarkSchema, Requirement
from datasets.listed import Cut, Entry, ListedDataset
from datasets.matlab import read_mat
from datasets.published import data_folder, options_of, require_count, require_split

JOINTS = (
    "head", "right_wrist", "left_wrist", "right_elbow", "left_elbow", "right_shoulder", "left_shoulder",
)  # fmt: skip
SCHEMA = LandmarkSchema(names=JOINTS, flip_indices=(0, 2, 1, 4, 3, 6, 5))
INFO = DatasetInfo(
    title="BBC Pose",
    tier="published",
    licence="non-commercial research under the agreement with the BBC",
    citation="Charles, Pfister, Magee, Hogg, Zisserman: Domain adaptation for upper body pose tracking in signed TV "
    "broadcasts. BMVC 2013",
    category="person, upper body",
)
VIDEOS = {"train": range(1, 11), "val": range(11, 16), "test": range(16, 21)}
TEST_FRAMES = 1_000
WINDOW = 300
LOOSE_MARGIN = 60

_SITE = "the BBC Pose page of VGG, Oxford, https://www.robots.ox.ac.uk/~vgg/data/pose/"
_LAYOUT = "code/bbcpose.mat, code/results.mat and folders 1 to 20 of frames"
_AGAIN = f"Take the .mat files again from {_SITE}; for a smaller copy: -D check_counts=false."

Array = np.ndarray[Any, Any]


class BBCPoseOptions(BaseModel):
    """How frames are cut and pixels counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["window", "loose", "none"] = Field(
        "window", description="300 x 300 about the joints' centre, their box and 60 px more, or whole frames"
    )
    base: Literal[0, 1] = Field(1, description="number of the first pixel in the .mat files")
    check_counts: bool = Field(True, description="insist on the published videos and number of test frames")


class BBCPoseProvider(DatasetProvider):
    """Opens ``bbcpose:FOLDER``."""

    name: ClassVar[str] = "bbcpose"
    summary: ClassVar[str] = "BBC Pose: sign-language interpreters, 7 upper-body joints (bbcpose:FOLDER)"
    Options: ClassVar[type[BaseModel]] = BBCPoseOptions
    needs_location: ClassVar[bool] = True
    info: ClassVar[DatasetInfo | None] = INFO

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return tuple(VIDEOS)

    def open(self, split: str, location: str | None, options: BaseModel) -> ListedDataset:
        choice = options_of(options, BBCPoseOptions, self.name)
        require_split(split, tuple(VIDEOS), self.name)
        folder = data_folder(location, self.name, _LAYOUT)
        if split == "test":
            frames = list(read_results(folder / "code" / "results.mat", check_counts=choice.check_counts))
        else:
            videos = read_videos(folder / "code" / "bbcpose.mat", check_counts=choice.check_counts)
            frames = [frame for video in videos if video.kind == split for frame in video.frames]
        if not frames:
            raise BenchError(f"{folder / 'code'} annotates no frame of {split!r}", hint=_AGAIN)
        return BBCPoseDataset(
            name=self.name,
            split=split,
            info=INFO,
            schema=SCHEMA,
            entries=[_entry(frame, folder, choice.base) for frame in frames],
            recipe={"crop": choice.crop},
        )

    def evaluation_splits(self, location: str | None, options: BaseModel) -> tuple[str, str]:
        """The regressor is fitted on the validation videos, as in the papers."""
        del location, options
        return "val", "test"

    def pretraining_splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        del location, options
        return ("train",)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        del options
        return (
            Requirement("code/bbcpose.mat", "joints of the training and validation videos", _SITE),
            Requirement("code/results.mat", "joints of the test frames, annotated by hand", _SITE),
            *(Requirement(str(v), f"frames of video {v}", _SITE, "folder") for v in range(1, 21)),
        )


class BBCPoseDataset(ListedDataset):
    """One split; every frame cut about its interpreter by whole pixels."""

    def cut(self, entry: Entry, image: Tensor) -> Cut:
        whole = super().cut(entry, image)
        left, top, width, height = crop_of(entry.points[entry.visible], self.recipe["crop"], image.shape[-2:])
        corner = torch.tensor([left, top], dtype=whole.points.dtype)
        return Cut(tvf.crop(image, top, left, height, width), whole.points - corner, whole.visible)


def crop_of(points: Array, crop: str, size: tuple[int, int] | torch.Size) -> tuple[int, int, int, int]:
    """(left, top, width, height) of what is cut out of a frame of ``size`` (height, width)."""
    if crop == "none" or len(points) == 0:
        return 0, 0, size[1], size[0]
    low, high = points.min(axis=0), points.max(axis=0)
    if crop == "window":
        left, top = (math.floor(c - WINDOW / 2 + 0.5) for c in (low + high) / 2)
        return left, top, WINDOW, WINDOW
    left, top = (math.floor(c - LOOSE_MARGIN) for c in low)
    right, bottom = (math.ceil(c + LOOSE_MARGIN) for c in high)
    return left, top, right - left, bottom - top


@dataclass(frozen=True, eq=False)
class Frame:
    """One annotated frame; joints (7, 2) in the file's own convention."""

    video: int
    number: int
    joints: Array


@dataclass(frozen=True)
class Video:
    """One of the 20 videos and the frames used of it."""

    kind: str
    frames: tuple[Frame, ...]


def read_videos(path: Path, *, check_counts: bool) -> list[Video]:
    """The videos of ``bbcpose.mat`` with their frames.

    Raises:
        BenchError: where a field is missing, an array has other axes, or a video is in another split than published.
    """
    table = read_mat(path, "bbcpose", source=_SITE)
    _require_fields(table, ("type", "train_frames", "train_joints", "test_frames", "test_joints"), path)
    published = {number: kind for kind, videos in VIDEOS.items() for number in videos}
    if check_counts and table.size < len(published):
        require_count(table.size, len(published), f"videos in {path}", _AGAIN)
    videos = []
    for number, row in enumerate(table.ravel()[: len(published)], 1):
        kind = str(np.asarray(row["type"]).ravel()[0]) if np.asarray(row["type"]).size else ""
        if kind not in VIDEOS or (check_counts and kind != published[number]):
            raise BenchError(
                f"{path}: video {number} is of type {kind!r}, expected "
                f"{published[number] if check_counts else ' or '.join(VIDEOS)}",
                hint="Published are videos 1-10 train, 11-15 val, 16-20 test.",
            )
        part = "test" if kind == "val" and np.asarray(row["test_frames"]).size else "train"
        where = f"{path}: video {number}, {part}_joints"
        joints = _joints(np.asarray(row[f"{part}_joints"]), where)
        frames = _whole_numbers(np.asarray(row[f"{part}_frames"]), where)
        _require_as_many(frames, joints, where)
        pairs = zip(frames, joints, strict=True)
        videos.append(Video(kind, tuple(Frame(number, frame, points) for frame, points in pairs)))
    return videos


def read_results(path: Path, *, check_counts: bool) -> Iterator[Frame]:
    """The test frames of ``results.mat``, in its order.

    Raises:
        BenchError: where a field is missing, an array has other axes, or counts and videos are not the published ones.
    """
    table = read_mat(path, "results", source=_SITE)
    _require_fields(table, ("gt",), path)
    names = table.dtype.names or ()
    row = table.ravel()[0]
    columns = []
    for word in ("frame", "video"):  # the rest of the fields' names differs between copies
        field = next((name for name in names if name.lower().startswith(word)), None)
        if field is None:
            raise BenchError(
                f"{path}: 'results' has no field {word}..., only {', '.join(names)}", hint=_AGAIN
            )
        columns.append(_whole_numbers(np.asarray(row[field]), f"{path}: {field}"))
    joints = _joints(np.asarray(row["gt"]), f"{path}: gt")
    for column in columns:
        _require_as_many(column, joints, f"{path}: gt")
    if check_counts:
        require_count(len(joints), TEST_FRAMES, f"test frames in {path}", _AGAIN)
        strange = sorted(set(columns[1]) - set(VIDEOS["test"]))
        if strange:
            raise BenchError(
                f"{path} holds frames of video {strange[0]}; videos 16-20 are the test set", hint=_AGAIN
            )
    for frame, video, points in zip(*columns, joints, strict=True):
        yield Frame(video, frame, points)


def _entry(frame: Frame, folder: Path, base: int) -> Entry:
    name = f"{frame.video}/{frame.number}.jpg"
    visible = np.asarray(np.isfinite(frame.joints).all(axis=1))
    points = frame.joints + (0.5 - base)
    return Entry(name, folder / name, points, visible, identity=f"video {frame.video}")


def _joints(array: Array, where: str) -> Array:
    """(2, 7, N), rows x and y, to (N, 7, 2)."""
    if array.size == 0:
        return np.zeros((0, len(JOINTS), 2))
    if array.ndim == 2:  # MATLAB drops the last axis where N is 1
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[:2] != (2, len(JOINTS)) or array.dtype.kind not in "iuf":
        swapped = ": its axes are in another order" if sorted(array.shape)[:2] == [2, len(JOINTS)] else ""
        raise BenchError(
            f"{where} is {array.dtype} {array.shape}, expected numbers (2, 7, N){swapped}", hint=_AGAIN
        )
    return array.astype(np.float64).transpose(2, 1, 0)


def _whole_numbers(array: Array, where: str) -> list[int]:
    """Numbers, or the numbers in texts such as 'video16' and '000123.jpg', each possibly in a cell."""
    return [_whole_number(cell, where) for cell in array.ravel()]


def _whole_number(cell: Any, where: str) -> int:
    value = cell.ravel()[0] if isinstance(cell, np.ndarray) and cell.size == 1 else cell
    digits = re.search(r"\d+", value) if isinstance(value, str) else None
    if digits is not None:
        return int(digits.group())
    if isinstance(value, int | float | np.number) and float(value).is_integer():
        return int(value)
    raise BenchError(f"{where}: {value} is no number of a frame or video", hint=_AGAIN)


def _require_fields(table: Array, fields: tuple[str, ...], path: Path) -> None:
    missing = [field for field in fields if field not in (table.dtype.names or ())]
    if missing or table.size == 0:
        raise BenchError(f"{path} lacks {', '.join(missing) or 'rows'}", hint=_AGAIN)


def _require_as_many(frames: list[int], joints: Array, where: str) -> None:
    if len(frames) != len(joints):
        raise BenchError(f"{where} has {len(joints)} frames, their numbers are {len(frames)}", hint=_AGAIN)
