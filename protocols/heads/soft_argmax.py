"""Spatial soft-argmax of many maps, without ever holding the maps.

A head of 50 virtual keypoints for each of K landmarks turns every image into 50K score maps, of which only
two numbers each are wanted: the expected column and row. Here the maps are resized, exponentiated and
averaged block by block, in a workspace that stays in the processor's cache, and likewise again in the
backward pass.
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

# Cells per block. Measured on one core at 24x24 and 48x48 cells: 2**18 to 2**20 are equally fast, 2**21 (out
# of cache) up to 1.7 times slower. An accelerator wants few, large kernels instead.
_CELLS_ON_CPU = 2**19
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
        batch, maps = levels[0].shape[:2]
        rows = tuple(_as_rows(level) for level in levels)
        blocks = _Blocks(rows, size, multiplier)
        moments = rows[0].new_empty(3, maps * batch)
        largest = rows[0].new_empty(maps * batch, 1)
        for at, logits in blocks:
            largest[at] = logits.amax(1, keepdim=True)
            mass = logits.sub_(largest[at]).exp2_()
            # Three rows times many columns: the other way round the product is several times slower.
            moments[:, at] = blocks.moments @ mass.T
        total = moments[2:]
        expected = moments[:2] / total
        ctx.size, ctx.multiplier = size, multiplier
        ctx.save_for_backward(largest, total, expected, *rows)
        return expected.T.reshape(maps, batch, 2).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        largest, total, expected, *rows = ctx.saved_tensors
        batch, maps = gradient.shape[:2]
        towards = gradient.transpose(0, 1).reshape(-1, 2).T
        # d(G . e) / d(logit at cell u) = multiplier * p(u) * (G . u - G . e), with p = mass / total.
        offset = (towards * expected).sum(0, keepdim=True)
        coefficients = (torch.cat([towards, -offset]) * (ctx.multiplier / total)).T.contiguous()
        blocks = _Blocks(rows, ctx.size, ctx.multiplier)
        gradients = tuple(torch.empty_like(level) for level in rows)
        for at, logits in blocks:
            mass = logits.sub_(largest[at]).exp2_()
            blocks.resize_transposed(mass, coefficients[at], gradients, at)
        as_given = (g.view(maps, batch, *g.shape[1:]).transpose(0, 1) for g in gradients)
        return (None, None, *as_given)


def _as_rows(level: Tensor) -> Tensor:
    """(B, M, h, w) -> (M B, h, w); a view of what one matrix product over all images leaves in memory."""
    return level.transpose(0, 1).reshape(-1, *level.shape[2:])


class _Blocks:
    """Walks over the maps in blocks: resized, summed over levels, scaled so that ``exp2`` gives the soft-max.

    ``exp2`` with log2(e) folded into the scale has none of the slow paths that ``exp`` takes on the deep
    underflows of a saturated soft-max.

    Iterating yields (slice of rows, logits (n, H W)); the logits are a workspace that the caller may
    overwrite and that the next block overwrites.
    """

    def __init__(self, levels: Sequence[Tensor], size: tuple[int, int], multiplier: float) -> None:
        self.levels, self.size = levels, size
        self.scale = multiplier * math.log2(math.e)
        height, width = size
        like = levels[0]
        cells = _CELLS_ON_CPU if like.device.type == "cpu" else _CELLS_ELSEWHERE
        self.count = len(like)
        self.length = max(1, min(self.count, cells // (height * width)))
        self.full = like.new_empty(self.length, height * width)
        self.other = torch.empty_like(self.full)
        self.moments = _cell_moments(size, like)
        # A level that already has the map's size is added as it is. All others stand one above the other
        # after their columns are resized, so that one product resizes the rows and sums over the levels.
        self.resized = [i for i, level in enumerate(levels) if tuple(level.shape[1:]) != size]
        self.unchanged = [i for i in range(len(levels)) if i not in self.resized]
        if self.resized:
            self.heights = [levels[i].shape[1] for i in self.resized]
            widths = [levels[i].shape[2] for i in self.resized]
            self.on_columns = [resize_matrix(width, w, like).T.contiguous() for w in widths]
            self.on_rows = torch.cat([resize_matrix(height, h, like) for h in self.heights], dim=1)
            self.side = like.new_empty(self.length, sum(self.heights), width)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, self.count, self.length):
            at = slice(start, min(start + self.length, self.count))
            yield at, self._resize(at)

    def _resize(self, at: slice) -> Tensor:
        n = at.stop - at.start
        full = self.full[:n]
        maps = full.view(n, *self.size)
        if self.resized:
            parts = torch.split(self.side[:n], self.heights, dim=1)
            for i, part, columns in zip(self.resized, parts, self.on_columns, strict=True):
                part.copy_(self.levels[i][at] @ columns)
            torch.bmm((self.on_rows * self.scale).expand(n, -1, -1), self.side[:n], out=maps)
            for i in self.unchanged:
                maps.add_(self.levels[i][at], alpha=self.scale)
        else:
            first, *others = self.unchanged
            torch.mul(self.levels[first][at], self.scale, out=maps)
            for i in others:
                maps.add_(self.levels[i][at], alpha=self.scale)
        return full

    def resize_transposed(
        self, mass: Tensor, coefficients: Tensor, gradients: Sequence[Tensor], at: slice
    ) -> None:
        """Write ``mass * (coefficients @ moments)``, at native resolution, into ``gradients[...][at]``."""
        n = len(mass)
        slope = torch.mm(coefficients, self.moments, out=self.other[:n])
        maps = mass.mul_(slope).view(n, *self.size)
        for i in self.unchanged:
            gradients[i][at] = maps
        if self.resized:
            torch.bmm(self.on_rows.T.expand(n, -1, -1), maps, out=self.side[:n])
            parts = torch.split(self.side[:n], self.heights, dim=1)
            for i, part, columns in zip(self.resized, parts, self.on_columns, strict=True):
                gradients[i][at] = part @ columns.T


def _cell_moments(size: tuple[int, int], like: Tensor) -> Tensor:
    """(3, H W): x, y and 1 of every cell, so that one product gives the first moments and the total mass."""
    height, width = size
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)
    ones = torch.ones(height, width, dtype=like.dtype, device=like.device)
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), ones]).flatten(1)
