"""Networks that another process can import by name, and quickly."""

from __future__ import annotations

import os

from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap


class Wide(FeatureExtractor):
    """One convolution to many channels, whose output is kept for the gradient of the soft-plus."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 128, kernel_size=1)
        self.act = nn.Softplus()

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((self.act(self.conv(images)),), (height, width), (height, width))


class Exits(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        os._exit(9)
