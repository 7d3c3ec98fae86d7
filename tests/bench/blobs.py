"""Grey images of a point, and where the point is in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def blob(size: tuple[int, int], centre: Tensor, sigma: float) -> Tensor:
    """(1, 1, H, W): a Gaussian around a point given in pixels, corner origin."""
    y = torch.arange(size[0], dtype=torch.float64) + 0.5 - centre[1]
    x = torch.arange(size[1], dtype=torch.float64) + 0.5 - centre[0]
    return torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))[None, None]


def centroid(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    mass = image[0, 0] / image.sum()
    x = (mass.sum(0) * (torch.arange(width) + 0.5)).sum()
    y = (mass.sum(1) * (torch.arange(height) + 0.5)).sum()
    return torch.stack([x, y])


def bilinear_at(image: np.ndarray[Any, Any], x: float, y: float) -> float:
    """One value of a grey image at a point with corner origin, zeros outside, by the definition."""
    total = 0.0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            total += image[i, j] * max(0.0, 1 - abs(x - j - 0.5)) * max(0.0, 1 - abs(y - i - 0.5))
    return total
