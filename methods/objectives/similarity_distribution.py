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

# Pairs whose (cells x cells) matrices are held at once: in the cache of a CPU, enough to fill a GPU.
_PAIRS_AT_ONCE = {"cpu": 4, "cuda": 32}
_TINY = 1e-12


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
    # The lengths divide the inner products in place, as the descriptors themselves are never built.
    scores = first.gram(second)
    scores /= _lengths(first).unsqueeze(2)
    scores /= _lengths(second).unsqueeze(1) * temperature
    return torch.softmax(scores, dim=2)


def _lengths(features: FeatureMap) -> Tensor:
    """(B, cells), never zero."""
    return torch.stack(features.squared_norms()).sum(0).flatten(1).sqrt_().clamp_min_(_TINY)


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
        at_once = _PAIRS_AT_ONCE.get(first.device.type, _PAIRS_AT_ONCE["cpu"])
        for start in range(0, pairs, at_once):
            part = slice(start, start + at_once)
            one, two = first[part], second[part]
            p = teacher_distribution(teacher_first[part], teacher_second[part], t).to(first)
            scores = (one / t).mT @ two
            q = torch.softmax(scores, dim=2)
            # q = exp(score - log_mass), so its largest share tells the mass without another pass of exponentials.
            log_mass = scores.amax(dim=2) - q.amax(dim=2).log()
            # sum_v p (log_mass - score) = log_mass - sum_v p score, because p sums to one.
            total += (log_mass - torch.linalg.vecdot(p, scores)).sum(dtype=torch.float64)
            residual = q.sub_(p)
            gradient_first[part] = two @ residual.mT
            gradient_second[part] = one @ residual
        scale = 1 / (t * pairs * cells)
        ctx.save_for_backward(gradient_first.mul_(scale), gradient_second.mul_(scale))
        return (total / (pairs * cells)).to(first.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        gradient_first, gradient_second = ctx.saved_tensors
        return grad * gradient_first, grad * gradient_second, None, None, None
