"""Bilinear resizing written as matrices, so that linear maps can be moved past it.

Convention: ``align_corners=False`` with clamped borders, equal to ``torch.nn.functional.interpolate`` (bilinear,
no antialiasing). Resizing a map F (h, w) to (H, W) is ``A F B^T`` with ``A = matrix(H, h)``, ``B = matrix(W, w)``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _matrix(size_out: int, size_in: int) -> Tensor:
    positions = (torch.arange(size_out, dtype=torch.float64) + 0.5) * (size_in / size_out) - 0.5
    return taps(positions, size_in)


def resize_matrix(size_out: int, size_in: int, like: Tensor) -> Tensor:
    """The (size_out, size_in) matrix that resizes one axis, in the dtype and on the device of ``like``."""
    return _matrix(size_out, size_in).to(device=like.device, dtype=like.dtype)


def taps(positions: Tensor, size: int) -> Tensor:
    """Rows of linear-interpolation weights on a grid of ``size`` nodes.

    Shapes:
        positions: (...,), in node units (node j lies at j); clamped to [0, size - 1].
        returns: (..., size), each row non-negative with at most two neighbouring non-zeros, summing to 1.
    """
    position = positions.clamp(0, size - 1)
    left = position.floor().clamp(max=max(size - 2, 0)).long()
    fraction = position - left
    rows = torch.zeros(*positions.shape, size, dtype=positions.dtype, device=positions.device)
    rows.scatter_(-1, left.unsqueeze(-1), (1 - fraction).unsqueeze(-1))
    if size > 1:
        rows.scatter_add_(-1, (left + 1).unsqueeze(-1), fraction.unsqueeze(-1))
    return rows


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., h, w) -> (..., H, W) by two matrix products; the identity where the sizes agree."""
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    rows = resize_matrix(size[0], height, maps)
    columns = resize_matrix(size[1], width, maps)
    return rows @ maps @ columns.T
