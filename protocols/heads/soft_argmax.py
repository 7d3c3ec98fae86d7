"""Spatial soft-argmax of many maps, without ever holding the maps.

A head of 50 virtual keypoints for each of K landmarks turns every image into 50K score maps, of which only
two numbers each are wanted: the expected column and row. Here the maps are resized, exponentiated and
averaged block by block, in a workspace that stays near the processor. Maps lie innermost, so that every
operation works on long rows and every resizing is one product of large matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.errors import BenchError
from bench.interpolation import resize_matrix

# Cells per block. Measured on one core at 24x24 and 48x48 cells: 2**19 to 2**21 are equally fast, 2**17 up to 1.3
# times slower. An accelerator wants few, large kernels instead.
_CELLS_ON_CPU = 2**20
_CELLS_ELSEWHERE = 2**26


def spatial_soft_argmax(native_logits: Sequence[Tensor], size: tuple[int, int], multiplier: float) -> Tensor:
    """Expected coordinates under the soft-max over all cells of each map.

    A map is the sum of its levels, each resized bilinearly to ``size``
    (:meth:`bench.features.FeatureMap.project_native` gives the levels of a 1x1 convolution).

    Args:
        native_logits: The levels at native resolution.
        size: (H, W) on which the maps are defined.
        multiplier: Factor on the logits before the soft-max (inverse temperature).

    Shapes:
        native_logits: each (B, M, h_l, w_l).  returns: (B, M, 2).

    Convention:
        (x, y), where -1 is the centre of the first cell of an axis and +1 that of the last.

    Raises:
        BenchError: where there are no levels, or levels of differing B or M.
    """
    if not native_logits or len({level.shape[:2] for level in native_logits}) != 1:
        shapes = ", ".join(str(tuple(level.shape)) for level in native_logits) or "none"
        raise BenchError(f"a soft-argmax needs levels (B, M, h, w) with one B and one M, got {shapes}")
    points: Tensor = _SoftArgmax.apply(size, multiplier, *native_logits)
    return points


class _SoftArgmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, size: tuple[int, int], multiplier: float, *levels: Tensor) -> Tensor:
        ctx.size, ctx.multiplier = size, multiplier
        ctx.save_for_backward(*levels)
        maps_last = [level.permute(0, 2, 3, 1) for level in levels]
        points = levels[0].new_empty(*levels[0].shape[:2], 2)
        block = SoftArgmaxBlock(maps_last, size, multiplier)
        for images, maps in block.walk():
            points[images, maps] = block.points([level[images, ..., maps] for level in maps_last]).mT
        return points

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps_last = [level.permute(0, 2, 3, 1) for level in ctx.saved_tensors]
        gradients = [torch.empty_like(level) for level in maps_last]
        block = SoftArgmaxBlock(maps_last, ctx.size, ctx.multiplier)
        for images, maps in block.walk():
            block.points([level[images, ..., maps] for level in maps_last])
            block.write_gradients(gradient[images, maps].mT, [g[images, ..., maps] for g in gradients])
        return (None, None, *(g.permute(0, 3, 1, 2) for g in gradients))


class SoftArgmaxBlock:
    """The workspace in which a part of the images and maps is worked on.

    ``exp2`` with log2(e) folded into the scale has none of the slow paths that ``exp`` takes on the deep
    underflows of a saturated soft-max.

    Args:
        levels: All that is to be worked on; their shapes, dtype and device matter here, not their values.
        size: (H, W) on which the maps are defined.
        multiplier: As in :func:`spatial_soft_argmax`.
        unit: Maps that belong together: a block has whole units.

    Shapes:
        levels: each (B, h_l, w_l, M).
    """

    def __init__(
        self, levels: Sequence[Tensor], size: tuple[int, int], multiplier: float, unit: int = 1
    ) -> None:
        like = levels[0]
        self.size, self.multiplier = size, multiplier
        self.all_images, self.all_maps, self.unit = like.shape[0], like.shape[3], unit
        height, width = size
        cells = _CELLS_ON_CPU if like.device.type == "cpu" else _CELLS_ELSEWHERE
        self.maps_at_once = max(unit, cells // (height * width))
        length = min(self.maps_at_once, self.all_images * self.all_maps)
        self._full = like.new_empty(length * height * width)
        self.x, self.y = (
            torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in (width, height)
        )
        self.x_moments = torch.stack([torch.ones_like(self.x), self.x])
        self.y_moments = torch.stack([torch.ones_like(self.y), self.y])
        # A level that already has the map's size is added as it is. All others stand one above the other
        # after their columns are resized, so that one product resizes the rows and sums over the levels.
        self.scale = multiplier * math.log2(math.e)
        self.resized = [i for i, level in enumerate(levels) if tuple(level.shape[1:3]) != size]
        self.unchanged = [i for i in range(len(levels)) if i not in self.resized]
        self.heights = [levels[i].shape[1] for i in self.resized]
        self.on_columns = [resize_matrix(width, levels[i].shape[2], like) for i in self.resized]
        # Also for the slopes, which are needed when the half-resized levels are not.
        self._side = like.new_empty(length * max(height, sum(self.heights)) * width)
        if self.resized:
            self.on_rows = torch.cat([resize_matrix(height, h, like) for h in self.heights], dim=1)

    def walk(self) -> Iterator[tuple[slice, slice]]:
        """Parts of the images and of the maps that fill the workspace, in parts of about equal size."""
        units = self.all_maps // self.unit
        parts = -(-self.all_maps // max(self.unit, self.maps_at_once // self.unit * self.unit))
        images = max(1, self.maps_at_once // self.all_maps)
        for start in range(0, self.all_images, images):
            for part in range(parts):
                first, last = (self.unit * (units * p // parts) for p in (part, part + 1))
                yield slice(start, min(start + images, self.all_images)), slice(first, last)

    def points(self, levels: Sequence[Tensor]) -> Tensor:
        """Expected coordinates; the masses stay in the workspace for :meth:`write_gradients`.

        Shapes:
            levels: each (b, h_l, w_l, n).  returns: (b, 2, n), x and y.
        """
        mass = self._resize(levels)
        # Two steps: a maximum over long rows is several times faster than one over short columns.
        largest = mass.amax(1).amax(1)
        images, height, width, maps = mass.shape
        flat = mass.view(images, height * width, maps)
        torch.sub(flat, largest.unsqueeze(1), out=flat).exp2_()
        by_column = (self.y_moments @ mass.view(images, height, -1)).view(images, 2, width, maps)
        moments = self.x_moments @ by_column
        self.mass, self.total = mass, moments[:, 0, 0]
        self.expected = torch.stack([moments[:, 0, 1], moments[:, 1, 0]], dim=1) / self.total.unsqueeze(1)
        return self.expected

    def write_gradients(self, towards: Tensor, gradients: Sequence[Tensor]) -> None:
        """The derivative of (``towards`` * points).sum() by the levels that :meth:`points` was given last.

        Shapes:
            towards: (b, 2, n).  gradients: each (b, h_l, w_l, n), overwritten; may be those levels themselves.
        """
        # d(G . e) / d(logit at cell u) = multiplier * p(u) * (G . u - G . e), with p = mass / total.
        towards = towards.contiguous() * (self.multiplier / self.total).unsqueeze(1)
        offset = (towards * self.expected).sum(1, keepdim=True)
        across = towards[:, :1] * self.x[:, None] - offset
        down = towards[:, 1:] * self.y[:, None]
        slope = _shaped(self._side, self.mass.shape)
        torch.add(down.unsqueeze(2), across.unsqueeze(1), out=slope)
        self._resize_transposed(self.mass.mul_(slope), gradients)

    def _resize(self, levels: Sequence[Tensor]) -> Tensor:
        images, _, _, maps = levels[0].shape
        height, width = self.size
        full = _shaped(self._full, (images, height, width, maps))
        if self.resized:
            side = _shaped(self._side, (images, sum(self.heights), width, maps))
            for i, part, columns in zip(
                self.resized, side.split(self.heights, dim=1), self.on_columns, strict=True
            ):
                torch.matmul(columns, levels[i], out=part)
            rows = (self.on_rows * self.scale).expand(images, -1, -1)
            torch.bmm(rows, side.flatten(2), out=full.flatten(2))
            added = self.unchanged
        else:
            first, *added = self.unchanged
            torch.mul(levels[first], self.scale, out=full)
        for i in added:
            full.add_(levels[i], alpha=self.scale)
        return full

    def _resize_transposed(self, full: Tensor, levels: Sequence[Tensor]) -> None:
        """The adjoint of :meth:`_resize`, but for the scale."""
        images, _, width, maps = full.shape
        for i in self.unchanged:
            levels[i].copy_(full)
        if not self.resized:
            return
        side = _shaped(self._side, (images, sum(self.heights), width, maps))
        torch.bmm(self.on_rows.T.expand(images, -1, -1), full.flatten(2), out=side.flatten(2))
        for i, part, columns in zip(
            self.resized, side.split(self.heights, dim=1), self.on_columns, strict=True
        ):
            levels[i].copy_(columns.T @ part)


def _shaped(memory: Tensor, shape: Sequence[int]) -> Tensor:
    return memory[: math.prod(shape)].view(shape)
