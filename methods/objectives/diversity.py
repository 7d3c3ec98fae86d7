"""Diversity of landmarks: the probability maps of different landmarks lie in different places.

Reference: Thewlis et al., Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017,
section 3.3, equations 7 and 8.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from methods.objectives.precision import full_precision


def diversity_loss(probabilities: Tensor, patch: int) -> Tensor:
    """Equation 8 after sum pooling: mean over images of K - sum_u max_r sum_d p(m u + d | x, r), d in {0..m-1}^2.

    Between 0 (no two landmarks share a patch) and K - 1 (all maps are the same). Where the map's sides are no multiples
    of ``patch``, the last patches are smaller, so that no mass is lost.

    Shapes:
        probabilities: (B, K, h, w), each map sums to 1.  returns: ().

    Args:
        patch: Side m of the non-overlapping patches, in cells; 1: equation 8 as printed.
    """
    (p,), in_full = full_precision(probabilities)
    with in_full:
        pooled = F.avg_pool2d(p, patch, ceil_mode=True, divisor_override=1)
        strongest = pooled.amax(dim=1)
        return p.shape[1] - strongest.sum(dim=(1, 2)).mean()


def overlap_loss(probabilities: Tensor) -> Tensor:
    """Equation 7: mean over images of 1 / K^2 sum_{r != r'} sum_u p(u | x, r) p(u | x, r').

    Read with the sum over u, which the print lacks, and over different landmarks, as its text says: only so is it
    zero where the supports are disjoint.

    Shapes:
        probabilities: (B, K, h, w), each map sums to 1.  returns: ().
    """
    (p,), in_full = full_precision(probabilities)
    with in_full:
        flat = p.flatten(2)
        # Sum over all pairs at once, less the pairs of a map with itself: linear in K.
        overlaps = flat.sum(dim=1).square().sum(dim=1) - flat.square().sum(dim=(1, 2))
        return overlaps.mean() / p.shape[1] ** 2
