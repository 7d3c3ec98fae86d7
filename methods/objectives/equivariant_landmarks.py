"""Objectives of landmark detectors: points that follow the warp of the image, heatmaps that are concentrated.

Both are in units of half the image's sides, so that coordinates run from -1 to 1: the paper adds them to the diversity
loss with equal weights, and does not give their unit.

Reference: Rahaman et al., Pretrained equivariant features improve unsupervised landmark discovery, 2021, equation 2
(after Thewlis et al., ICCV 2017, equation 5) and section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.objectives.precision import full_precision


def equivariance_loss(detected: Tensor, expected: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Squared distance in units of half the image, mean over landmarks and images.

    Shapes:
        detected: (B, K, 2), landmarks found in the deformed images, pixels.
        expected: (B, K, 2), where the deformation moves the landmarks found in the original images, pixels.
        image_size: (height, width).
        returns: ().

    Both sides may carry gradients.
    """
    (detected, expected), in_full = full_precision(detected, expected)
    with in_full:
        half = detected.new_tensor([image_size[1] / 2, image_size[0] / 2])
        return ((detected - expected) / half).square().sum(-1).mean()


def variance_loss(probabilities: Tensor) -> Tensor:
    """Trace of the covariance of the position under every map, in [-1, 1]^2, mean over maps and images.

    The paper writes the trace for one image without saying how its K maps enter; here the mean, as in the
    equivariance loss.

    Shapes:
        probabilities: (B, K, h, w), each map sums to 1.  returns: ().
    """
    (probabilities,), in_full = full_precision(probabilities)
    with in_full:
        return (_variance(probabilities.sum(2)) + _variance(probabilities.sum(3))).mean()


def _variance(marginal: Tensor) -> Tensor:
    """(B, K, n), probabilities of the cells of [-1, 1] -> (B, K)."""
    count = marginal.shape[2]
    position = (2 * torch.arange(count, device=marginal.device, dtype=marginal.dtype) + 1) / count - 1
    mean = (marginal * position).sum(2, keepdim=True)
    return (marginal * (position - mean).square()).sum(2)
