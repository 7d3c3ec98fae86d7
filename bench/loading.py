"""From the samples of a split to the tensors that a method and a protocol work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.decoding import Decoded, decode, gather
from bench.errors import BenchError, did_you_mean
from bench.image_cache import ImageCache
from bench.landmarks import FIGURE_GROUND, LandmarkDataset, LandmarkSchema
from bench.progress import Progress
from bench.surfaces import FramedSurfaces, HasSurface


class Preprocessing(BaseModel):
    """How an image becomes the input of a method.

    The image is resized (antialiased bilinear, aspect ratio ignored) to a square working frame of
    ``image_size + 2 * margin`` pixels. Warps act on the working frame; then ``margin`` pixels are removed on
    each side.

    Convention:
        Points are corner-origin before and after. ``exact`` scales them as the pixels: q s. ``official`` is the
        arithmetic of DVE's and ContrastLandmarks' loaders, which scale coordinates whose origin is a pixel's
        centre: (q - 0.5) s + 0.5. It is off by 0.5 (1 - s) px and part of the published numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(default=96, ge=16, le=1024)
    margin: int = Field(default=0, ge=0, le=512)
    points: Literal["exact", "official"] = "exact"

    @property
    def working_size(self) -> int:
        return self.image_size + 2 * self.margin


PREPROCESSINGS = {
    "square-96": Preprocessing(),
    "dve-70": Preprocessing(image_size=70, margin=15, points="official"),
    "contrast-96": Preprocessing(image_size=96, margin=20, points="official"),
    "contrast-128": Preprocessing(image_size=128, margin=27, points="official"),
}
"""The papers' sizes: 100 to 70 (DVE's SmallNet); 136 to 96 (DVE's Hourglass, ContrastLandmarks, LEAD); 182 to 128,
ContrastLandmarks' larger images, whose sizes are not published: the margin keeps the proportion of 136 to 96."""


def named_preprocessing(name: str) -> Preprocessing:
    """One of ``PREPROCESSINGS``.

    Raises:
        BenchError: where there is none of that name.
    """
    if name not in PREPROCESSINGS:
        raise BenchError(f"no preprocessing is called {name!r}", hint=did_you_mean(name, PREPROCESSINGS))
    return PREPROCESSINGS[name]


@dataclass(frozen=True, eq=False)
class LoadedSplit:
    """A whole split, in memory or mapped from the cache of decoded images.

    Shapes:
        images: (N, 3, S, S), uint8.  points: (N, K, 2), float32, pixels of ``images``, corner origin.
        visible: (N, K), bool.
        masks: (N, S, S), uint8, the class of each pixel: that of the pixel of the original image in which its centre
            lies. UNLABELLED throughout for an image without a mask; None where no image has one.

    Attributes:
        classes: What the numbers in ``masks`` mean; 0 is background.
        margin: Pixels on each side of ``images`` that a method does not see.
        surfaces: Exact dense correspondences between the images, where the data set knows them.
        zoom_factors: Where images are cut around boxes: what the sides of each image's box are multiplied by.
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
    surfaces: FramedSurfaces | None = None
    zoom_factors: tuple[float, ...] | None = None
    masks: Tensor | None = None
    classes: tuple[str, ...] = FIGURE_GROUND

    @classmethod
    def empty(cls) -> LoadedSplit:
        """No images, for protocols that read none."""
        nothing = torch.empty(0)
        return cls(
            name="nothing",
            fingerprint="",
            ids=(),
            identities=(),
            images=nothing.new_empty(0, 3, 1, 1, dtype=torch.uint8),
            points=nothing.new_empty(0, 0, 2),
            visible=nothing.new_empty(0, 0, dtype=torch.bool),
            schema=LandmarkSchema(()),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of ``images``."""
        return (self.images.shape[-2], self.images.shape[-1])

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
            surfaces=None if self.surfaces is None else self.surfaces.take(indices),
            zoom_factors=self.zoom_factors and tuple(self.zoom_factors[i] for i in indices),
            masks=None if self.masks is None else self.masks[index],
        )

    def cropped(self) -> LoadedSplit:
        """The method's input: the working frame without its margin."""
        m = self.margin
        if m == 0:
            return self
        side = self.images.shape[-1]
        return replace(
            self,
            images=self.images[..., m : side - m, m : side - m],
            points=self.points - m,
            margin=0,
            surfaces=None if self.surfaces is None else self.surfaces.cropped(m),
            masks=None if self.masks is None else self.masks[..., m : side - m, m : side - m],
        )


def load_split(
    dataset: LandmarkDataset,
    preprocessing: Preprocessing,
    *,
    workers: int = 0,
    progress: Progress | None = None,
    cache: ImageCache | None = None,
) -> LoadedSplit:
    """Decode and resize every image of a split, in order; or map what the cache holds of it.

    Args:
        workers: Processes that decode; they never change a pixel.
        cache: Where decoded images are kept; None: they are decoded into memory.

    Raises:
        BenchError: names the first image that cannot be read; none is skipped silently or counted twice.
    """
    if len(dataset) == 0:
        raise BenchError(f"split {dataset.split!r} of {dataset.name!r} is empty")
    progress = progress or Progress.silent()
    side = preprocessing.working_size
    read = partial(decode, dataset, side, workers=workers, progress=progress)
    kept = None if cache is None else cache.open(dataset, side, read, progress)
    decoded = gather(read(), len(dataset)) if kept is None else kept
    factors = dataset.zoom_factors
    return LoadedSplit(
        name=f"{dataset.name}/{dataset.split}",
        fingerprint=dataset.fingerprint,
        ids=dataset.ids,
        identities=decoded.identities,
        images=decoded.images,
        points=_resized_points(decoded, preprocessing),
        visible=decoded.visible,
        schema=dataset.schema,
        margin=preprocessing.margin,
        surfaces=FramedSurfaces(dataset, tuple(range(len(dataset))), side)
        if isinstance(dataset, HasSurface)
        else None,
        zoom_factors=None if factors is None else tuple(factors[name] for name in dataset.ids),
        masks=decoded.masks,
        classes=dataset.classes,
    )


def _resized_points(decoded: Decoded, preprocessing: Preprocessing) -> Tensor:
    scale = preprocessing.working_size / decoded.sizes.double()[:, None, :]
    origin = 0.5 if preprocessing.points == "official" else 0.0
    return ((decoded.points.double() - origin) * scale + origin).float()
