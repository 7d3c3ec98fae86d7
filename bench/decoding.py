"""Every image of a split decoded and resized, in order, in this process or in workers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import UNLABELLED, LandmarkDataset, Sample
from bench.progress import Progress

DECODING_VERSION = 1
"""Raised with every change, here or in a data set's reading of images, that changes a pixel."""

_PER_CHUNK = 32  # images that a worker hands over at once


@dataclass(frozen=True, eq=False)
class Decoded:
    """Consecutive images of a split: resized pixels, and the annotation as the data set gave it.

    Shapes:
        images: (N, 3, S, S), uint8.
        points: (N, K, 2), float32, pixels of the image *before* it was resized, corner origin.
        visible: (N, K), bool.
        sizes: (N, 2), int32, (width, height) of the image before it was resized.
        masks: (N, S, S), uint8, class of the pixel in which the centre of each resized one lies; UNLABELLED throughout
            for an image that has none; None where no image has one.
    """

    images: Tensor
    points: Tensor
    visible: Tensor
    sizes: Tensor
    identities: tuple[str | None, ...]
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.identities)


def decode(
    dataset: LandmarkDataset, side: int, *, workers: int = 0, progress: Progress | None = None
) -> Generator[Decoded, None, None]:
    """Read every sample once, in order, resized to ``side`` x ``side`` (antialiased bilinear, aspect ignored).

    Raises:
        BenchError: names the first image that cannot be read, or that the split holds twice or in another
            place than it says.
    """
    ids = dataset.ids
    _require_distinct(ids, dataset)
    dataset[0]  # a procedural set renders itself here, with a bar of its own
    chunks = _Chunks(dataset, ids, side)
    loader = DataLoader(chunks, batch_size=None, num_workers=min(workers, len(chunks)), collate_fn=_unchanged)
    what = f"reading {dataset.name} {dataset.split}"
    with (progress or Progress.silent()).task(what, len(dataset)) as task:
        for chunk in loader:
            if isinstance(chunk, BenchError):
                raise chunk
            yield chunk
            task.advance(len(chunk))


def gather(parts: Iterable[Decoded], count: int) -> Decoded:
    """All parts of a split of ``count`` images in memory; the images are never held twice."""
    images = torch.empty(0)
    rest: list[Decoded] = []
    done = 0
    for part in parts:
        if not rest:
            images = torch.empty(count, *part.images.shape[1:], dtype=torch.uint8)
        images[done : done + len(part)] = part.images
        done += len(part)
        rest.append(without_images(part))
    return Decoded(images, *annotation_of(rest))


def without_images(part: Decoded) -> Decoded:
    """The annotation of a part, copied: each tensor that comes from a worker holds a file descriptor open."""
    return Decoded(
        part.images[:0].clone(),
        part.points.clone(),
        part.visible.clone(),
        part.sizes.clone(),
        part.identities,
        None if part.masks is None else part.masks.clone(),
    )


def annotation_of(
    parts: list[Decoded],
) -> tuple[Tensor, Tensor, Tensor, tuple[str | None, ...], Tensor | None]:
    """(points, visible, sizes, identities, masks) of consecutive parts together."""
    return (
        torch.cat([part.points for part in parts]),
        torch.cat([part.visible for part in parts]),
        torch.cat([part.sizes for part in parts]),
        tuple(identity for part in parts for identity in part.identities),
        _masks_of(parts),
    )


def _masks_of(parts: list[Decoded]) -> Tensor | None:
    shape = next((part.masks.shape[1:] for part in parts if part.masks is not None), None)
    if shape is None:
        return None
    masks = torch.full((sum(map(len, parts)), *shape), UNLABELLED, dtype=torch.uint8)
    for part, place in zip(parts, masks.split([len(part) for part in parts]), strict=True):
        if part.masks is not None:
            place.copy_(part.masks)
    return masks


class _Chunks(Dataset[Decoded | BenchError]):
    """Hands errors over as values: raised in a worker, they would arrive as the text of its traceback."""

    def __init__(self, dataset: LandmarkDataset, ids: tuple[str, ...], side: int) -> None:
        self.dataset, self.ids, self.side, self.per_chunk = dataset, ids, side, _PER_CHUNK

    def __len__(self) -> int:
        return math.ceil(len(self.ids) / self.per_chunk)

    def __getitem__(self, number: int) -> Decoded | BenchError:
        first = number * self.per_chunk
        indices = range(first, min(first + self.per_chunk, len(self.ids)))
        shape = (len(indices), len(self.dataset.schema.names))
        images = torch.empty(len(indices), 3, self.side, self.side, dtype=torch.uint8)
        points, visible = torch.zeros(*shape, 2), torch.zeros(shape, dtype=torch.bool)
        sizes = torch.empty(len(indices), 2, dtype=torch.int32)
        identities, masks = [], None
        try:
            for place, index in enumerate(indices):
                sample = self.dataset[index]
                _require_sound(sample, self.ids[index], shape[1], len(self.dataset.classes))
                images[place] = tvf.resize(sample.image, [self.side, self.side], antialias=True)
                if len(sample.points):
                    points[place], visible[place] = sample.points, sample.visible
                height, width = sample.image.shape[-2:]
                sizes[place] = torch.tensor([width, height])
                identities.append(sample.identity)
                classes = sample.mask if sample.labels is None else sample.labels
                if classes is not None:
                    if masks is None:
                        masks = torch.full_like(images[:, 0], UNLABELLED)
                    masks[place] = resize_classes(classes, self.side)
        except BenchError as error:
            return error
        return Decoded(images, points, visible, sizes, tuple(identities), masks)


def resize_classes(classes: Tensor, side: int) -> Tensor:
    """(H, W) -> (side, side), uint8: the value of the pixel in which each new centre lies; exact, in integers.

    Convention: corner origin, as images are resized. A centre on the border of two pixels lies in the later one.
    """
    height, width = classes.shape
    twice = 2 * torch.arange(side) + 1  # times 1 / (2 side): where the centres are
    rows, columns = twice * height // (2 * side), twice * width // (2 * side)
    return classes[rows][:, columns].to(torch.uint8)


def _unchanged(item: Any) -> Any:
    return item  # a named function, since spawned workers cannot receive a lambda


def _require_distinct(ids: tuple[str, ...], dataset: LandmarkDataset) -> None:
    name, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise BenchError(
            f"{dataset.name} {dataset.split} lists {name!r} {times} times, and every image counts once",
            hint="Remove the repeated rows of its list.",
        )
    if len(ids) != len(dataset):
        raise BenchError(f"{dataset.name} {dataset.split} has {len(dataset)} samples and {len(ids)} ids")


def _require_sound(sample: Sample, expected_id: str, landmarks: int, classes: int) -> None:
    image = sample.image
    if sample.id != expected_id:
        raise BenchError(f"the data set gave {sample.id!r} where its list says {expected_id!r}")
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise BenchError(
            f"{sample.id}: the image is {image.dtype} {tuple(image.shape)}, expected torch.uint8 (3, H, W)"
        )
    if len(sample.points) not in (0, landmarks):
        raise BenchError(f"{sample.id}: {len(sample.points)} landmarks, and the data set names {landmarks}")
    for what, kind in (("mask", torch.bool), ("labels", torch.uint8)):
        values: Tensor | None = getattr(sample, what)
        if values is None:
            continue
        if values.dtype != kind or values.shape != image.shape[1:]:
            raise BenchError(
                f"{sample.id}: its {what} is {values.dtype} {tuple(values.shape)}, expected {kind} "
                f"{tuple(image.shape[1:])}, the size of its image"
            )
        if what == "labels" and bool(((values >= classes) & (values != UNLABELLED)).any()):
            found = int(values[values != UNLABELLED].max())
            raise BenchError(
                f"{sample.id}: a pixel has class {found}, and the data set names {classes} classes"
            )
