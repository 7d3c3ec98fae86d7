"""From the samples of a split to the tensors that a method and a protocol work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tvf

from bench.errors import BenchError
from bench.landmarks import LandmarkDataset, LandmarkSchema
from bench.progress import Progress


class Preprocessing(BaseModel):
    """How an image becomes the input of a method.

    The image is resized (antialiased bilinear, aspect ratio ignored) to a square working frame of
    ``image_size + 2 * margin`` pixels. Warps act on the working frame; then ``margin`` pixels are removed on
    each side. ContrastLandmarks' faces are ``image_size=96, margin=20`` (136 to 96).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(default=96, ge=16, le=1024)
    margin: int = Field(default=0, ge=0, le=512)

    @property
    def working_size(self) -> int:
        return self.image_size + 2 * self.margin


@dataclass(frozen=True, eq=False)
class LoadedSplit:
    """A whole split in memory.

    Shapes:
        images: (N, 3, S, S), uint8.  points: (N, K, 2), float32, pixels of ``images``, corner origin.
        visible: (N, K), bool.
    """

    name: str
    fingerprint: str
    ids: tuple[str, ...]
    identities: tuple[str | None, ...]
    images: Tensor
    points: Tensor
    visible: Tensor
    schema: LandmarkSchema
    margin: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: list[int]) -> LoadedSplit:
        """Some of the samples, in the given order."""
        index = torch.as_tensor(indices, dtype=torch.long)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in indices),
            identities=tuple(self.identities[i] for i in indices),
            images=self.images[index],
            points=self.points[index],
            visible=self.visible[index],
        )

    def cropped(self) -> LoadedSplit:
        """The method's input: the working frame without its margin."""
        m = self.margin
        if m == 0:
            return self
        side = self.images.shape[-1]
        return replace(
            self, images=self.images[..., m : side - m, m : side - m], points=self.points - m, margin=0
        )


_Item = tuple[Tensor, Tensor, Tensor, str | None]


class _Resized(Dataset[_Item | BenchError]):
    """Hands errors over as values: raised in a worker, they would arrive as the text of its traceback."""

    def __init__(self, dataset: LandmarkDataset, side: int) -> None:
        self.dataset, self.side = dataset, side

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Item | BenchError:
        try:
            sample = self.dataset[index]
        except BenchError as error:
            return error
        height, width = sample.image.shape[-2:]
        image = tvf.resize(sample.image, [self.side, self.side], antialias=True)
        scale = torch.tensor([self.side / width, self.side / height])
        return image, sample.points * scale, sample.visible, sample.identity


def _unchanged(item: Any) -> Any:
    return item  # a named function, since spawned workers cannot receive a lambda


def load_split(
    dataset: LandmarkDataset,
    preprocessing: Preprocessing,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> LoadedSplit:
    """Decode and resize every image of a split, in order.

    Raises:
        BenchError: names the first image that cannot be read; none is skipped silently.
    """
    if len(dataset) == 0:
        raise BenchError(f"split {dataset.split!r} of {dataset.name!r} is empty")
    side = preprocessing.working_size
    count, points_count = len(dataset), len(dataset.schema.names)
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    points = torch.zeros(count, points_count, 2)
    visible = torch.zeros(count, points_count, dtype=torch.bool)
    identities: list[str | None] = []
    loader = DataLoader(_Resized(dataset, side), batch_size=None, num_workers=workers, collate_fn=_unchanged)
    dataset[0]  # a procedural set renders itself here, with a bar of its own
    track = (progress or Progress.silent()).track(loader, f"reading {dataset.name} {dataset.split}", count)
    for i, item in enumerate(track):
        if isinstance(item, BenchError):
            raise item
        image, where, seen, identity = item
        images[i] = image
        if len(where):
            points[i], visible[i] = where, seen
        identities.append(identity)
    return LoadedSplit(
        name=f"{dataset.name}/{dataset.split}",
        fingerprint=dataset.fingerprint,
        ids=dataset.ids,
        identities=tuple(identities),
        images=images,
        points=points,
        visible=visible,
        schema=dataset.schema,
        margin=preprocessing.margin,
    )
