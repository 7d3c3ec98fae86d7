"""The two networks of Rahaman et al. 2021: an hourglass F that gives features, a detector T that gives heatmaps.

The paper gives four encoder blocks, a symmetric decoder with skip connections, two convolutions separated by a ReLU
per block, D = 64 at the image's resolution, and a fully convolutional T with residual connections (section 4.1). Kernel
sizes, widths, normalisation, the kind of skip and of upsampling, and the depth of T are not given; those here are 3x3,
the widths of the U-Net, batch norm, concatenation, bilinear, and three residual blocks, so that there are the four
representations ("layers 1 to 4") of its section 3.

Reference: Rahaman et al., Pretrained equivariant features improve unsupervised landmark discovery, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HALVINGS = 4
RESIDUAL_BLOCKS = 3


class FeatureHourglass(nn.Module):
    """F: encoder and decoder with skip connections.

    The features themselves are the plain output of the last convolution: no batch norm and no ReLU, so that their
    cosines take both signs.

    Args:
        widths: Channels of the four encoder blocks, finest first; the decoder mirrors them.
        dim: Channels of the output.

    Shapes:
        forward: (B, 3, H, W) -> (B, dim, H, W), H and W multiples of 16.
    """

    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        finest_first, coarsest_first = [*widths], [*widths[::-1]]
        self.encoder = nn.ModuleList(
            _double(a, b) for a, b in zip([3, *finest_first[:-1]], finest_first, strict=True)
        )
        # A block reads the map below, upsampled, beside the encoder's map of its own resolution: both as wide.
        self.decoder = nn.ModuleList(
            _double(2 * a, b) for a, b in zip(coarsest_first, [*coarsest_first[1:], dim], strict=True)
        )
        self.decoder[-1] = self.decoder[-1][:-2]  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        x, skips = images, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return x


class LandmarkDetector(nn.Module):
    """T: residual blocks of constant width and size, then one heatmap per landmark.

    Shapes:
        forward: (B, dim, H, W) -> scores (B, landmarks, H, W).
    """

    def __init__(self, dim: int, landmarks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Residual(dim) for _ in range(RESIDUAL_BLOCKS))
        self.heatmaps = nn.Conv2d(dim, landmarks, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.heatmaps(self.representation(features, RESIDUAL_BLOCKS))
        return scores

    def representation(self, features: Tensor, blocks: int) -> Tensor:
        """The output of the first so many residual blocks, (B, dim, H, W); 0: the features themselves."""
        for block in self.blocks[:blocks]:
            features = block(features)
        return features


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _double(channels, channels)[:-1]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.branch(x))


def _double(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def receptive_radius(representation: int) -> int:
    """How far, in pixels along either axis, the features of a layer (1: of F) see from the centre of their cell."""
    strides = [2**level for level in range(HALVINGS)]
    # Two 3x3 convolutions per block, on the way down and on the way up.
    convolutions = 2 * sum(2 * stride for stride in strides)
    # A pooled cell reaches half a finer cell to each side; an interpolated one 3/4 of a coarser cell.
    pooling = sum(stride / 2 for stride in strides)
    upsampling = sum(2 * stride * 3 / 4 for stride in strides)
    return int(convolutions + pooling + upsampling) + 2 * (representation - 1)
