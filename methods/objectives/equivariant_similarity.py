"""ContrastLandmarks' objective for compact features: within an image, be similar only to what is near.

Reference: Cheng et al., ICCV 2021, section 3.2 and supplement section 3, with the released code's details; it is the
equivariance loss of DVE (Thewlis et al., ICCV 2019, equation 2) with the same image on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from methods.objectives.precision import full_precision

_ELEMENTS_AT_ONCE = 2**22


def equivariant_similarity_loss(
    features: Tensor,
    stride: float,
    temperature: float,
    power: float = 0.5,
    normalise: bool = True,
    blocks: Sequence[int] | None = None,
) -> Tensor:
    """Expected distance, to a power, between a cell and the cell that its descriptor matches in the same image.

    For cells u, v of an image with descriptors f: P(v | u) = softmax over v of f_u . f_v / temperature, and the loss
    is the mean over images and cells u of sum_v P(v | u) |u - v|^power.

    Shapes:
        features: (B, C, h, w).  returns: ().

    Units:
        Distances are in pixels of the input image: cells times ``stride``.

    Args:
        temperature: Divides the similarity. The released code multiplies instead, by 7 = 1 / temperature.
        normalise: Scale descriptors to unit length, so that similarities are cosines.
        blocks: Channels per block, where each block is scaled to unit length on its own; None: one block.

    The gradient is computed in the forward pass, a few images at a time, so that memory does not grow with the
    (cells x cells) matrices of the whole batch.
    """
    height, width = features.shape[2:]
    (features,), in_full = full_precision(features)
    with in_full:
        descriptors = features.flatten(2)
        if normalise:
            parts = descriptors.split(list(blocks or [descriptors.shape[1]]), dim=1)
            descriptors = torch.cat([F.normalize(part, dim=1) for part in parts], dim=1)
        distances = _distances(height, width, stride, power, descriptors.dtype, descriptors.device)
        loss: Tensor = _ExpectedDistance.apply(descriptors, distances, temperature)
        return loss


@lru_cache(maxsize=16)
def _distances(
    height: int, width: int, stride: float, power: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """|u - v|^power for all pairs of cells in row order, (h w, h w)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([columns, rows], dim=-1).reshape(-1, 2).double() * stride
    # Not by squared norms and products: differences are exact, and the diagonal is zero.
    distances = (cells[:, None] - cells[None]).square().sum(dim=2).sqrt().pow(power)
    return distances.to(device=device, dtype=dtype)


class _ExpectedDistance(torch.autograd.Function):
    """descriptors: (B, C, cells).  distances: (cells, cells)."""

    @staticmethod
    def forward(ctx: Any, descriptors: Tensor, distances: Tensor, temperature: float) -> Tensor:
        images, _, cells = descriptors.shape
        total = descriptors.new_zeros((), dtype=torch.float64)
        gradient = torch.empty_like(descriptors)
        for part in torch.arange(images).split(max(1, _ELEMENTS_AT_ONCE // cells**2)):
            chosen = slice(int(part[0]), int(part[-1]) + 1)
            f = descriptors[chosen]
            p = torch.softmax(f.transpose(1, 2) @ f / temperature, dim=2)
            expected = (p * distances).sum(dim=2, keepdim=True)
            total += expected.sum(dtype=torch.float64)
            # d expected_u / d score_uv = p_uv (distance_uv - expected_u), and f stands on both sides of the score.
            slope = p.mul_(distances - expected).div_(temperature * images * cells)
            gradient[chosen] = f @ (slope + slope.transpose(1, 2))
        ctx.save_for_backward(gradient)
        return (total / (images * cells)).to(descriptors.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None
