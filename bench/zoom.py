"""Cuts around the objects of a data set, each zoomed out by a random factor of its own.

Convention: points are (x, y) in pixels, corner origin. A cut has whole pixels. Outside its image it is black, and
background in a mask; points outside the cut are not visible.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import LandmarkDataset, Sample
from bench.seeds import numpy_generator

_VERSION = 1
"""Raised with every change that changes a cut; part of the fingerprint."""

_WHERE_BOXES_ARE = (
    "Sets with boxes in larger images: synthetic-faces (and the other synthetic sets) with -D wild=true, "
    "celeba-wild, mafl-unaligned, and coco folders whose annotations have bbox."
)

Window = tuple[int, int, int, int]
"""(left, top, right, bottom) of a cut, pixels of the image; may reach beyond it."""


def zoomed(dataset: LandmarkDataset, factors: tuple[float, float], seed: int) -> LandmarkDataset:
    """The data set cut around its boxes; one that is already cut by factors of its own is left as it is."""
    return dataset if dataset.zoom_factors is not None else ZoomedDataset(dataset, factors, seed)


class ZoomedDataset(LandmarkDataset):
    """Every image cut to the box of its object, enlarged about its centre.

    The box's sides are multiplied by one factor, so that the cut keeps their ratio. An image's factor depends on the
    seed and its id alone, not on the order or the number of images.

    Args:
        factors: Range from which factors are drawn uniformly.
        seed: Of the factors.

    Raises:
        BenchError: where a sample without a box, or with one that lies outside its image, is asked for.
    """

    def __init__(self, dataset: LandmarkDataset, factors: tuple[float, float], seed: int) -> None:
        self.dataset, self.range, self.seed = dataset, factors, seed
        self.name, self.split = dataset.name, dataset.split
        self.info, self.schema, self.classes = dataset.info, dataset.schema, dataset.classes
        low, high = factors
        self.zoom_factors: Mapping[str, float] = {
            name: float(numpy_generator(seed, "zoom", name).uniform(low, high)) for name in dataset.ids
        }

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        return cut(sample, enlarged(_box(sample), self.zoom_factors[sample.id]))

    @property
    def ids(self) -> tuple[str, ...]:
        return self.dataset.ids

    @cached_property
    def _digest(self) -> str:
        recipe = {
            "zoom": _VERSION,
            "of": self.dataset.fingerprint,
            "range": list(self.range),
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        return self._digest


def enlarged(box: Sequence[float], factor: float) -> Window:
    """The box (x0, y0, x1, y1) with both sides times ``factor`` about its centre, at the nearest whole pixels."""
    x0, y0, x1, y1 = box
    x, y, half_width, half_height = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    corners = (
        x - factor * half_width,
        y - factor * half_height,
        x + factor * half_width,
        y + factor * half_height,
    )
    left, top, right, bottom = (math.floor(corner + 0.5) for corner in corners)
    return left, top, right, bottom


def cut(sample: Sample, window: Window) -> Sample:
    """The part of a sample that a window shows, with points, box, mask and labels in its pixels.

    Raises:
        BenchError: where the window is empty or shows nothing of the image.
    """
    left, top, right, bottom = window
    height, width = sample.image.shape[-2:]
    if right <= left or bottom <= top:
        raise BenchError(
            f"{sample.id}: a cut of {right - left} x {bottom - top} pixels around its box is empty"
        )
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise BenchError(
            f"{sample.id}: its box lies outside its image of {width} x {height} pixels",
            hint="Boxes and images must belong together: look for images of another size than the annotated ones.",
        )
    size = torch.tensor([right - left, bottom - top])
    origin = torch.tensor([left, top])
    points = sample.points - origin
    inside = ((points >= 0) & (points < size)).all(1)
    shown = partial(tvf.crop, top=top, left=left, height=bottom - top, width=right - left)
    return replace(
        sample,
        image=shown(sample.image),
        points=points,
        visible=sample.visible & inside,
        box=None if sample.box is None else sample.box - origin.repeat(2),
        mask=None if sample.mask is None else shown(sample.mask[None])[0],
        labels=None if sample.labels is None else shown(sample.labels[None])[0],
    )


def _box(sample: Sample) -> list[float]:
    if sample.box is None:
        raise BenchError(f"{sample.id} has no box, and a zoomed cut needs one", hint=_WHERE_BOXES_ARE)
    x0, y0, x1, y1 = sides = [float(edge) for edge in sample.box]
    if not (math.isfinite(sum(sides)) and x0 < x1 and y0 < y1):
        raise BenchError(
            f"{sample.id}: its box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is empty or not finite",
            hint="Correct the annotation: boxes are (x0, y0, x1, y1) with x0 < x1 and y0 < y1.",
        )
    return sides
