"""From score maps to landmarks: a soft-max over positions, and the expected position.

Reference: Thewlis et al., ICCV 2017, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def probability_maps(scores: Tensor) -> Tensor:
    """Soft-max over all positions of every map, in at least single precision.

    Shapes:
        scores: (B, K, h, w), any real numbers.  returns: the same shape, each map sums to 1.
    """
    wide = scores if scores.dtype == torch.float64 else scores.float()
    return torch.softmax(wide.flatten(2), dim=2).reshape(scores.shape)


def cell_centres(size: tuple[int, int], image_size: tuple[int, int], like: Tensor) -> Tensor:
    """Centres of the cells of a map in pixels of the image, corner origin: (h, w, 2), points (x, y)."""
    (height, width), (image_height, image_width) = size, image_size
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * (image_width / width)
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * (image_height / height)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def expected_points(probabilities: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Soft-argmax: the mean position under every map.

    Shapes:
        probabilities: (B, K, h, w), each map sums to 1.
        image_size: (height, width) in pixels.
        returns: (B, K, 2), (x, y) in pixels of the image, corner origin.
    """
    height, width = probabilities.shape[-2:]
    centres = cell_centres((height, width), image_size, probabilities)
    # Autocast would round coordinates to the three digits of bfloat16.
    with torch.autocast(probabilities.device.type, enabled=False):
        return probabilities.flatten(2) @ centres.flatten(0, 1)
