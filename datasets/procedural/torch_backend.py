"""The renderer's arrays as torch tensors, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import fft, ndimage
from torch import Tensor

from datasets.procedural.arrays import FloatArray
from datasets.procedural.backend import Backend


class TorchBackend(Backend):
    """torch, on a device.

    Filters are products with matrices here, which SciPy makes by filtering the unit matrix: the same filter, borders
    included.
    """

    xp = torch
    pictures_at_once = 32

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.kind = self.device.type

    def array(self, values: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(np.array(values, order="C")).to(self.device)

    def host(self, values: Tensor) -> np.ndarray[Any, Any]:
        return values.cpu().numpy()

    def full(self, shape: tuple[int, ...], value: float) -> Tensor:
        return torch.full(shape, value, dtype=torch.float32, device=self.device)

    def counting(self, count: int) -> Tensor:
        return torch.arange(count, dtype=torch.int32, device=self.device)

    def cast(self, values: Tensor, kind: str) -> Tensor:
        return values.to(getattr(torch, kind))

    def indices(self, mask: Tensor) -> Tensor:
        return mask.nonzero()[:, 0]

    def picked(self, values: Tensor, index: Tensor) -> Tensor:
        return values[index]

    def repeat(self, values: Tensor, counts: Tensor) -> Tensor:
        return torch.repeat_interleave(values, counts)

    def greatest(self, values: Tensor, index: Tensor, length: int, least: int | float) -> Tensor:
        result = torch.full((length,), least, dtype=values.dtype, device=self.device)
        return result.scatter_reduce_(0, index.long(), values, reduce="amax")

    def bounds(self, rows: Tensor, picture: Tensor, count: int) -> tuple[Tensor, Tensor]:
        index = picture.long()[:, None].expand_as(rows)
        empty = rows.new_zeros(count, rows.shape[1])
        low = empty.scatter_reduce(0, index, rows, reduce="amin", include_self=False)
        return low, empty.scatter_reduce(0, index, rows, reduce="amax", include_self=False)

    def interpolate(self, weights: Tensor, corners: Tensor, values: Tensor) -> Tensor:
        first, second, third = (weights[:, i, None] * values[corners[:, i]] for i in range(3))
        return first + second + third

    def mapped(self, rows: Tensor, maps: Tensor, picture: Tensor) -> Tensor:
        mine = maps[picture]
        return (mine * rows).sum(-1) if maps.ndim == 2 else (mine * rows[:, None]).sum(-1)

    def blurred(self, images: Tensor, sigmas: Sequence[float], truncate: float) -> Tensor:
        height, width = images.shape[1:3]
        down, across = (np.stack([_blur(side, s, truncate) for s in sigmas]) for side in (height, width))
        return self.resampled(images, down, across)

    def resampled(self, images: Tensor, rows: FloatArray, columns: FloatArray) -> Tensor:
        down, across = (self.array(matrix.astype(np.float32)) for matrix in (rows, columns))
        tall = torch.einsum("bph,bhwc->bpwc", down, images)
        return torch.einsum("bqw,bpwc->bpqc", across, tall)

    def cosines(self, blocks: Tensor) -> Tensor:
        matrix = self._cosine_matrix(blocks)
        return matrix @ blocks @ matrix.T

    def from_cosines(self, coefficients: Tensor) -> Tensor:
        matrix = self._cosine_matrix(coefficients)
        return matrix.T @ coefficients @ matrix

    def _cosine_matrix(self, blocks: Tensor) -> Tensor:
        matrix = fft.dct(np.eye(blocks.shape[-1]), axis=0, norm="ortho")
        return self.array(matrix.astype(np.float32))


def _blur(side: int, sigma: float, truncate: float) -> FloatArray:
    """(side, side) matrix of a Gaussian blur."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, truncate=truncate))
