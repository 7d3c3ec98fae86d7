"""Bilinear resizing written as matrices, so that linear maps can be moved past it.

Convention: ``align_corners=False`` with clamped borders, equal to ``torch.nn.functional.interpolate`` (bilinear,
no antialiasing). Resizing a map F (h, w) to (H, W) is ``A F B^T`` with ``A = matrix(H, h)``, ``B = matrix(W, w)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _matrix(size_out: int, size_in: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    positions = (torch.arange(size_out, dtype=torch.float64) + 0.5) * (size_in / size_out) - 0.5
    return taps(positions, size_in).to(device=device, dtype=dtype)


def resize_matrix(size_out: int, size_in: int, like: Tensor) -> Tensor:
    """The (size_out, size_in) matrix that resizes one axis, in the dtype and on the device of ``like``."""
    return _matrix(size_out, size_in, like.dtype, like.device)


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


def resize_sum(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum of maps of any sizes, (..., h, w) each, after resizing every one to ``size``.

    Two products for all together: side by side, the second one adds them up.
    """
    fitting = [part for part in maps if tuple(part.shape[-2:]) == size]
    others = [part for part in maps if tuple(part.shape[-2:]) != size]
    total = sum(fitting[1:], start=fitting[0]) if fitting else None
    if not others:
        assert total is not None
        return total
    across = [part @ resize_matrix(size[1], part.shape[-1], part).T for part in others]
    rows = [resize_matrix(size[0], part.shape[-2], part) for part in others]
    resized = torch.cat(rows, dim=-1) @ torch.cat(across, dim=-2)
    return resized if total is None else total + resized
