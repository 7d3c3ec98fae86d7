"""Rahaman's first step: tell the place in the other view that a location was moved to from all other locations.

Reference: Rahaman et al., Pretrained equivariant features improve unsupervised landmark discovery, 2021, equation 7.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from methods.objectives.precision import full_precision

_ROWS_AT_ONCE = 256


def pixel_contrast_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """- 1/(BN) sum over b, n of log p_bn + log p'_bn, with cosines s and exponentials of s / T.

    p_bn is the share of the pair (f_bn, f'_bn) among the pairs of f_bn with all other features of its own view and
    with all features of the other view, of every image; p'_bn is the same from f'_bn. As printed, the denominators
    hold the positive and leave out only the pair of a feature with itself.

    Shapes:
        first: (B, N, D), features of the images at N locations each (any length).
        second: (B, N, D), features of the warped images at the places that these locations were moved to.
        returns: ().

    The gradient is computed in the forward pass, some rows at a time: the (2BN x 2BN) matrix is never held.
    """
    (first, second), in_full = full_precision(first, second)
    with in_full:
        unit = F.normalize(torch.cat([first.flatten(0, 1), second.flatten(0, 1)]), dim=1)
        loss: Tensor = _Contrast.apply(unit, temperature)
        return loss


class _Contrast(torch.autograd.Function):
    """unit: (2M, D), unit length; feature m of the first half belongs to feature m of the second."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, temperature: float) -> Tensor:
        count = unit.shape[0]
        partner = unit.roll(count // 2, dims=0)
        total = unit.new_zeros((), dtype=torch.float64)
        gradient = torch.zeros_like(unit)
        for start in range(0, count, _ROWS_AT_ONCE):
            rows = slice(start, min(start + _ROWS_AT_ONCE, count))
            logits = unit[rows] @ unit.T / temperature
            logits.diagonal(start).fill_(-torch.inf)
            log_mass = logits.logsumexp(dim=1, keepdim=True)
            positives = (unit[rows] * partner[rows]).sum(1) / temperature
            total += (log_mass.squeeze(1) - positives).sum(dtype=torch.float64)
            shares = logits.sub_(log_mass).exp_()
            gradient[rows] += shares @ unit - partner[rows]
            gradient += shares.T @ unit[rows]
        # Every positive is a pair of two rows, hence counted from both ends.
        gradient -= partner
        pairs = count // 2
        ctx.save_for_backward(gradient.div_(temperature * pairs))
        return (total / pairs).to(unit.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None
