"""The one interface of every method: images in, a :class:`FeatureMap` out.

A feature map holds its **levels at native resolution** and the size on which the dense map is *defined*. The
dense map is the concatenation over channels of all levels, each resized bilinearly (``align_corners=False``) to
that size. Protocols ask for projections, samples and similarities of the dense map; because these commute with
bilinear resizing they are computed, exactly, without ever building it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.inner_products import gram, squared_norms
from bench.interpolation import resize, resize_matrix, resize_sum, taps

Capability = Literal["dense", "landmarks", "annotated"]
"""What a method can give: features at every cell; discovered landmarks; the annotated landmarks themselves."""

Normalisation = Literal["none", "joint", "per_level"]
"""How descriptors are scaled before a dot product: not at all, to unit length over all channels (cosine), or to
unit length within each level (sum of the levels' cosines, as ContrastLandmarks matches hypercolumns)."""

_TINY = 1e-12
_RANGE_SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Dense features of a batch of images, kept at native resolution.

    Shapes:
        levels: each (B, C_l, h_l, w_l); the dense channel order is the order of the levels.
        size: (H, W) on which the dense map (B, sum of C_l, H, W) is defined.
        image_size: (height, width) of the input images, in pixels.

    Convention:
        Points are (x, y) in pixels of the input image, corner origin. Cell (i, j) of a map of size (H, W) has its
        centre at x = (j + 0.5) * width / W, y = (i + 0.5) * height / H.
    """

    levels: tuple[Tensor, ...]
    size: tuple[int, int]
    image_size: tuple[int, int]
    normalisation: Normalisation = "joint"

    def __post_init__(self) -> None:
        if not self.levels:
            raise BenchError("a feature map needs at least one level")
        batches = {level.shape[0] for level in self.levels}
        if len(batches) != 1 or any(level.ndim != 4 for level in self.levels):
            shapes = ", ".join(str(tuple(level.shape)) for level in self.levels)
            raise BenchError(f"levels must be (B, C, h, w) with one batch size B, got {shapes}")

    # --- size, slicing, moving ---------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return sum(level.shape[1] for level in self.levels)

    @property
    def layout(self) -> tuple[tuple[int, int, int], ...]:
        """(C, h, w) of every level."""
        return tuple((lv.shape[1], lv.shape[2], lv.shape[3]) for lv in self.levels)

    def __len__(self) -> int:
        return self.levels[0].shape[0]

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> FeatureMap:
        """The maps of some images of the batch (the batch axis is kept)."""
        picked = index if isinstance(index, slice) else torch.as_tensor(index, device=self.levels[0].device)
        return replace(self, levels=tuple(level[picked] for level in self.levels))

    def split(self, batch_size: int) -> Iterator[FeatureMap]:
        return (self[i : i + batch_size] for i in range(0, len(self), batch_size))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> FeatureMap:
        return replace(self, levels=tuple(level.to(device=device, dtype=dtype) for level in self.levels))

    def defined_at(self, size: tuple[int, int]) -> FeatureMap:
        """The same levels with another size of the dense map."""
        return replace(self, size=size)

    def condensed(self) -> FeatureMap:
        """The same dense map from no more cells than it has: levels finer than it are resized now, once. Exact.

        A projection of a level commutes with its resizing, so this only moves the resizing to where it is cheaper:
        before many projections instead of after each.
        """
        cells = math.prod(self.size)
        coarse = (resize(lv, self.size) if math.prod(lv.shape[-2:]) > cells else lv for lv in self.levels)
        return replace(self, levels=tuple(coarse))

    def scaled(self, factor: float) -> FeatureMap:
        """The same maps, every number times ``factor``."""
        return replace(self, levels=tuple(level * factor for level in self.levels))

    def rounded_to_half(self) -> FeatureMap:
        """The nearest numbers that float16 can hold, in the type that they had.

        Raises:
            BenchError: where a number is too large for float16.
        """
        halves = self.to(dtype=torch.float16)
        for level, half in zip(self.levels, halves.levels, strict=True):
            if half.isinf().any():
                raise BenchError(
                    f"features up to {float(level.abs().max()):g} do not fit into float16, which ends at 65504",
                    hint="Keep them as they are: --feature-dtype float32.",
                )
        return replace(
            self, levels=tuple(h.to(lv.dtype) for h, lv in zip(halves.levels, self.levels, strict=True))
        )

    def mean_length(self) -> float:
        """Root of the mean squared length of the dense descriptors, over all cells and images."""
        batches = (torch.stack(part.squared_norms()).sum(0).double().mean((1, 2)) for part in self.split(64))
        return float(torch.cat(list(batches)).mean().sqrt())

    def with_normalisation(self, normalisation: Normalisation) -> FeatureMap:
        return replace(self, normalisation=normalisation)

    @staticmethod
    def cat(maps: Sequence[FeatureMap]) -> FeatureMap:
        """Join batches of one kind of map."""
        first = maps[0]
        levels = zip(*(m.levels for m in maps), strict=True)
        return replace(first, levels=tuple(torch.cat(parts) for parts in levels))

    # --- the straightforward tensor ----------------------------------------------------------------------------

    def dense(self, size: tuple[int, int] | None = None) -> Tensor:
        """The dense map (B, C, H, W) itself; large: for tests, for drawing, and for those who want it."""
        return torch.cat([resize(level, size or self.size) for level in self.levels], dim=1)

    # --- what protocols ask for --------------------------------------------------------------------------------

    def project(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """A 1x1 convolution of the dense map, computed at native resolution. Exact.

        Shapes:
            weight: (M, C) or (M, C, 1, 1).  bias: (M,).  returns: (B, M, H, W).
        """
        total = resize_sum(self.project_native(weight), self.size)
        return total if bias is None else total + bias[:, None, None]

    def project_native(self, weight: Tensor) -> list[Tensor]:
        """The parts of :meth:`project` before resizing and summing: one (B, M, h_l, w_l) per level."""
        weight = weight.reshape(weight.shape[0], -1)
        if weight.shape[1] != self.channels:
            raise BenchError(
                f"a projection of {weight.shape[1]} channels cannot read {self.channels}-d features"
            )
        parts = weight.split([level.shape[1] for level in self.levels], dim=1)
        return [torch.einsum("mc,bchw->bmhw", w, lv) for w, lv in zip(parts, self.levels, strict=True)]

    def cells(self, points: Tensor) -> Tensor:
        """Image pixels -> continuous cell indices of the dense map (cell centres at integers)."""
        height, width = self.size
        scale = points.new_tensor([width / self.image_size[1], height / self.image_size[0]])
        return points * scale - 0.5

    def centres(self, cells: Tensor) -> Tensor:
        """Cell indices -> image pixels of their centres; the inverse of :meth:`cells`."""
        height, width = self.size
        scale = cells.new_tensor([self.image_size[1] / width, self.image_size[0] / height])
        return (cells + 0.5) * scale

    def sample(self, points: Tensor) -> Tensor:
        """Descriptors of the dense map at points, bilinear between its cells, clamped at its border. Exact.

        Shapes:
            points: (B, N, 2), pixels of the image.  returns: (B, N, C).
        """
        # Positions need single precision even where the features are halves.
        precise = torch.promote_types(self.levels[0].dtype, torch.float32)
        cells = self.cells(points.to(device=self.levels[0].device, dtype=precise))
        on_columns, on_rows = (taps(cells[..., axis], self.size[1 - axis]) for axis in (0, 1))
        parts = []
        for level in self.levels:
            # Composed weights: dense taps (N, H) times the resizing matrix (H, h) act on the native rows.
            rows = (on_rows @ resize_matrix(self.size[0], level.shape[2], cells)).to(level.dtype)
            columns = (on_columns @ resize_matrix(self.size[1], level.shape[3], cells)).to(level.dtype)
            if level.shape[1] < level.shape[3]:  # whichever holds less in between
                across = torch.einsum("bnw,bchw->bnch", columns, level)
                parts.append(torch.einsum("bnh,bnch->bnc", rows, across))
            else:
                weights = rows.unsqueeze(3) * columns.unsqueeze(2)
                parts.append(weights.flatten(2) @ level.flatten(2).mT)
        return torch.cat(parts, dim=2)

    def squared_norms(self) -> tuple[Tensor, ...]:
        """Squared lengths of the dense descriptors within each level, each (B, H, W). Exact."""
        return tuple(squared_norms(level, self.size) for level in self.levels)

    def gram(self, other: FeatureMap) -> Tensor:
        """Inner products of all dense descriptors with all of another map, not normalised. Exact.

        Shapes:
            returns: (B, H W, H' W'), cells in row order.
        """
        if len(self) != len(other) or [c for c, _, _ in self.layout] != [c for c, _, _ in other.layout]:
            raise BenchError(
                f"inner products need as many maps of the same channels, got {len(self)} of {self.layout} and "
                f"{len(other)} of {other.layout}"
            )
        levels = zip(self.levels, other.levels, strict=True)
        parts = [gram(mine, theirs, self.size, other.size) for mine, theirs in levels]
        return sum(parts[1:], start=parts[0])

    def similarity(self, descriptors: Tensor) -> Tensor:
        """Similarity of descriptors with every cell of the dense map, normalised as ``normalisation`` says. Exact.

        Shapes:
            descriptors: (B, N, C), e.g. from :meth:`sample` of another map.  returns: (B, N, H, W).
        """
        if descriptors.shape[-1] != self.channels:
            raise BenchError(f"{descriptors.shape[-1]}-d descriptors against {self.channels}-d features")
        if self.normalisation == "joint":
            descriptors = nn.functional.normalize(descriptors, dim=-1, eps=_TINY)
        parts = descriptors.split([level.shape[1] for level in self.levels], dim=-1)
        if self.normalisation == "per_level":
            parts = tuple(nn.functional.normalize(part, dim=-1, eps=_TINY) for part in parts)
        dots = [
            (part @ level.flatten(2)).unflatten(2, level.shape[2:])
            for level, part in zip(self.levels, parts, strict=True)
        ]
        if self.normalisation == "none":
            return resize_sum(dots, self.size)
        squared = self.squared_norms()
        if self.normalisation == "joint":
            return resize_sum(dots, self.size) / _lengths(sum(squared[1:], start=squared[0]))
        cosines = [resize(dot, self.size) / _lengths(norm) for dot, norm in zip(dots, squared, strict=True)]
        return sum(cosines[1:], start=cosines[0])


def _lengths(squared: Tensor) -> Tensor:
    """(B, H, W) -> (B, 1, H, W), never zero."""
    return squared.clamp_min(_TINY**2).sqrt().unsqueeze(1)


class FeatureExtractor(nn.Module, ABC):
    """A trained (or untrained) method behind the one interface.

    ``forward`` takes images (B, 3, H, W), float, RGB in [0, 1] and returns a :class:`FeatureMap`. The normalisation
    of colours is the extractor's own affair. In evaluation mode the result for an image does not depend on the
    other images of the batch.

    Attributes:
        capabilities: "dense" for features at every cell; "landmarks" and "annotated" where :meth:`landmarks` and
            :meth:`annotated_landmarks` are there too.
        stride: H and W of the images must be multiples of this.
        shift_period: Where the architecture promises it: the image moved by a multiple of this many pixels gives the
            features moved as far, at cells whose receptive field stays inside; None: no promise.
        unread: Prefixes of tensors that weights may hold and this network does not read, such as a later stage's.
        knows_annotations: The network was trained with annotations, all there were: "annotated" landmarks need no
            others then, and do not depend on those that are given.
        receptive_radius: No feature depends on pixels farther than this from its cell's centre (pixels); None: unknown.
        half_precision: Features are rounded to float16's 11 bits as they are extracted, and stay float32: on disk they
            take half the room. Set for a run; a record says so.
    """

    capabilities: frozenset[Capability] = frozenset({"dense"})
    stride: int = 1
    shift_period: int | None = None
    receptive_radius: int | None = None
    knows_annotations: bool = False
    unread: tuple[str, ...] = ()
    half_precision: bool = False

    @abstractmethod
    def forward(self, images: Tensor) -> FeatureMap: ...

    def landmarks(self, images: Tensor) -> Tensor:
        """Discovered landmarks, (B, K, 2) in pixels of the image, for methods with the capability."""
        del images
        raise BenchError(f"{type(self).__name__} gives dense features only; it discovers no landmarks")

    def annotated_landmarks(self, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        """Predictions of what is annotated, without a regressor, for methods with the capability "annotated".

        Shapes:
            images: (B, 3, H, W), to predict.  points: (N, K, 2), pixels of images of that size, annotated training
            images.  visible: (N, K).  returns: (B, K, 2), pixels.
        """
        del images, points, visible
        raise BenchError(f"{type(self).__name__} predicts no annotated landmarks")

    def counted_network(self) -> nn.Module:
        """What a paper counts the memory of: a module that takes images (B, 3, H, W), made of this one's parts."""
        return self

    def extract(self, images: Tensor) -> FeatureMap:
        """``forward`` on uint8 or float images, in evaluation mode and without gradients, with checks.

        Raises:
            BenchError: where the images have another shape, type or range than promised above.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise BenchError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise BenchError(
                f"{type(self).__name__} takes images whose sides are multiples of {self.stride}, got {height}x{width}"
            )
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif not images.is_floating_point():
            raise BenchError(f"images must be uint8 or float, got {images.dtype}")
        elif not (images.amin() >= -_RANGE_SLACK and images.amax() <= 1 + _RANGE_SLACK):
            low, high = float(images.amin()), float(images.amax())
            raise BenchError(f"float images must lie in [0, 1], got values from {low:g} to {high:g}")
        self.eval()
        # Not inference mode, on whose tensors no head could be trained: it was measured to save 0 to 2 %. Batch norms
        # folded into the convolutions change the last digits and save 0 to 5 % more: the networks run at the rate of
        # a large matrix product as they are.
        with torch.no_grad():
            features: FeatureMap = self(images)
            return features.rounded_to_half() if self.half_precision else features
