"""Channel statistics by which networks normalise their input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FACE_MEAN, FACE_STD = (0.5084, 0.4224, 0.3769), (0.2599, 0.2371, 0.2323)
"""Of aligned CelebA, as the released code of DVE and ContrastLandmarks uses them for all faces."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, used for its pre-trained networks and for birds."""


class NormaliseColours(nn.Module):
    """(B, 3, H, W), RGB in [0, 1] -> normalised, channels last. Its constants are not part of the state dict."""

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        normalised: Tensor = (images - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last)
