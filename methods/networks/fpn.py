"""The feature-pyramid decoder of LEAD's second stage.

Reference: Lin et al., Feature Pyramid Networks, CVPR 2017; the merging of the pyramid follows Kirillov et al.,
Panoptic Feature Pyramid Networks, CVPR 2019, figure 3. LEAD (section 4) names an FPN over the scales 1/4 to 1/32
with upsampling blocks and output stride 4; its widths are not given, these are Panoptic FPN's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FPNDecoder(nn.Module):
    """Stages of a ResNet -> one compact map at stride 4.

    Every stage gets a 1x1 lateral; coarser ones are added top-down; each level is brought to stride 4 by blocks of
    (3x3 convolution, batch norm, ReLU, x2 bilinear), and the four are summed and projected.

    Shapes:
        forward: stages (B, C_l, h_l, w_l), finest first -> (B, dim, h_1, w_1).
    """

    def __init__(self, stage_channels: Sequence[int], dim: int, width: int = 256, merged: int = 128) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, kernel_size=1) for c in stage_channels)
        self.branches = nn.ModuleList(_Branch(width, merged, level) for level in range(len(stage_channels)))
        self.out = nn.Conv2d(merged, dim, kernel_size=1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        sizes = [stage.shape[-2:] for stage in stages]
        pyramid = [lateral(stage) for lateral, stage in zip(self.laterals, stages, strict=True)]
        for level in range(len(pyramid) - 2, -1, -1):
            pyramid[level] = pyramid[level] + F.interpolate(
                pyramid[level + 1], size=sizes[level], mode="nearest"
            )
        brought = [
            branch(x, sizes[:level])
            for level, (x, branch) in enumerate(zip(pyramid, self.branches, strict=True))
        ]
        return self.out(torch.stack(brought).sum(0))  # type: ignore[no-any-return]


class _Branch(nn.Module):
    """Brings one level to stride 4: a block before every doubling, or a single block where there is none."""

    def __init__(self, width: int, merged: int, doublings: int) -> None:
        super().__init__()
        channels = [width] + [merged] * max(doublings, 1)
        self.blocks = nn.ModuleList(_conv_block(a, b) for a, b in pairwise(channels))

    def forward(self, x: Tensor, finer_sizes: Sequence[torch.Size]) -> Tensor:
        targets: list[torch.Size | None] = [*reversed(finer_sizes)] or [None]
        for block, target in zip(self.blocks, targets, strict=True):
            x = block(x)
            if target is not None:
                x = F.interpolate(x, size=target, mode="bilinear", align_corners=False)
        return x


def _conv_block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
