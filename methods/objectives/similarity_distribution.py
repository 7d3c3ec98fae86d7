"""LEAD's dense objective: make compact features as similar to each other as the hypercolumns are.

Reference: Karmali et al., LEAD, WACV 2022, equations 2 and 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench.features import FeatureMap
from methods.objectives.precision import full_precision

_PAIRS_AT_ONCE = 4


def similarity_distribution_loss(
    first: Tensor, second: Tensor, teacher_first: FeatureMap, teacher_second: FeatureMap, temperature: float
) -> Tensor:
    """Cross-entropy between the teacher's and the student's distribution of similarity, mean over cells and pairs.

    For every cell u of image i: p_u = softmax over the cells v of image j of cos(h_u, h_v) / T with teacher features
    h, q_u likewise with student features f, and the loss is the mean of - sum_v p_u(v) log q_u(v). The paper prints
    the sum over u; the mean makes the learning rate independent of the resolution.

    Shapes:
        first, second: (B, D, h, w), student features of images i and j (any length; cosines are taken).
        teacher_first, teacher_second: FeatureMaps of the same images, defined at (h, w) here.
        returns: ().

    The gradient is computed in the forward pass, a few pairs at a time, so that memory does not grow with the
    (cells x cells) matrices of the whole batch.
    """
    size = (first.shape[2], first.shape[3])
    (first, second), in_full = full_precision(first, second)
    with in_full:
        one = F.normalize(first.flatten(2), dim=1)
        two = F.normalize(second.flatten(2), dim=1)
        loss: Tensor = _CrossEntropy.apply(
            one, two, teacher_first.defined_at(size), teacher_second.defined_at(size), temperature
        )
        return loss


def teacher_distribution(first: FeatureMap, second: FeatureMap, temperature: float) -> Tensor:
    """(B, cells, cells): softmax over the cells of the second image of the teacher's cosines / temperature."""
    one = F.normalize(first.dense().flatten(2), dim=1)
    two = F.normalize(second.dense().flatten(2), dim=1)
    return torch.softmax(one.transpose(1, 2) @ two / temperature, dim=2)


class _CrossEntropy(torch.autograd.Function):
    """first, second: (B, D, cells), unit length over D."""

    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        second: Tensor,
        teacher_first: FeatureMap,
        teacher_second: FeatureMap,
        t: float,
    ) -> Tensor:
        pairs, _, cells = first.shape
        total = first.new_zeros((), dtype=torch.float64)
        gradient_first, gradient_second = torch.empty_like(first), torch.empty_like(second)
        for start in range(0, pairs, _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            p = teacher_distribution(teacher_first[part], teacher_second[part], t).to(first)
            scores = first[part].transpose(1, 2) @ second[part] / t
            log_mass = torch.logsumexp(scores, dim=2, keepdim=True)
            # sum_v p (log_mass - score) = log_mass - sum_v p score, because p sums to one.
            total += (log_mass.squeeze(2) - (p * scores).sum(2)).sum(dtype=torch.float64)
            residual = ((scores - log_mass).exp_() - p).div_(t * pairs * cells)
            gradient_first[part] = second[part] @ residual.transpose(1, 2)
            gradient_second[part] = first[part] @ residual
        ctx.save_for_backward(gradient_first, gradient_second)
        return (total / (pairs * cells)).to(first.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        gradient_first, gradient_second = ctx.saved_tensors
        return grad * gradient_first, grad * gradient_second, None, None, None
