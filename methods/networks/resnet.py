"""The residual networks of ContrastLandmarks and LEAD, and their hypercolumns.

Reference: He et al., Deep Residual Learning, CVPR 2016; the variants of ContrastLandmarks (Cheng et al., ICCV 2021,
supplement section 3): ``resnet50half`` halves the widths of the four stages and keeps the 64-channel stem.
State-dict keys are those of torchvision and of the official ContrastLandmarks encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

Backbone = Literal["resnet18", "resnet50half", "resnet50"]


@dataclass(frozen=True)
class _Design:
    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    width_ratio: float


_DESIGNS: dict[Backbone, _Design] = {
    "resnet18": _Design(BasicBlock, (2, 2, 2, 2), 1.0),
    "resnet50half": _Design(Bottleneck, (3, 4, 6, 3), 0.5),
    "resnet50": _Design(Bottleneck, (3, 4, 6, 3), 1.0),
}


class ResNet(nn.Module):
    """A residual network that gives its four stages, and optionally a normalised embedding of the whole image.

    Args:
        backbone: Which design.
        width: Channels of the stem; 64 is published, less is a narrow network for small machines. Stage widths
            follow in proportion.
        embedding: Size of the linear head (the official one is 128-d); None: no head.

    Shapes:
        forward: (B, 3, H, W) -> stages 1 to 4, at strides 4, 8, 16 and 32.
    """

    def __init__(
        self, backbone: Backbone = "resnet50", width: int = 64, embedding: int | None = None
    ) -> None:
        super().__init__()
        design = _DESIGNS[backbone]
        base = round(width * design.width_ratio)
        self._channels = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        one, two, three, four = design.blocks
        self.layer1 = self._stage(design.block, base, one, stride=1)
        self.layer2 = self._stage(design.block, 2 * base, two, stride=2)
        self.layer3 = self._stage(design.block, 4 * base, three, stride=2)
        self.layer4 = self._stage(design.block, 8 * base, four, stride=2)
        self.stage_channels = tuple(base * 2**i * design.block.expansion for i in range(4))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.stage_channels[-1], embedding) if embedding is not None else None
        self.unit_length = UnitLength()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)

    def _stage(
        self, block: type[BasicBlock] | type[Bottleneck], planes: int, count: int, stride: int
    ) -> nn.Sequential:
        out = planes * block.expansion
        shortcut = None
        if stride != 1 or self._channels != out:
            shortcut = nn.Sequential(conv1x1(self._channels, out, stride), nn.BatchNorm2d(out))
        blocks = [block(self._channels, planes, stride, shortcut)]
        self._channels = out
        blocks += [block(out, planes) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        one: Tensor = self.layer1(x)
        two: Tensor = self.layer2(one)
        three: Tensor = self.layer3(two)
        four: Tensor = self.layer4(three)
        return one, two, three, four

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C_4): the last stage, averaged over the image."""
        last: Tensor = self(images)[-1]
        averaged: Tensor = self.pool(last)
        return averaged.flatten(1)

    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, embedding), unit length."""
        if self.fc is None:
            raise ValueError("this network was built without an embedding head")
        embedding: Tensor = self.unit_length(self.fc(self.pooled(images)))
        return embedding


class UnitLength(nn.Module):
    """(B, C) -> the same vectors with length 1; a module, as in the official code, since memory is counted of those."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=1)


class ImageEmbedding(nn.Module):
    """A residual network with an embedding head, read as one vector for the whole image.

    Shapes:
        forward: (B, 3, H, W) -> (B, embedding), unit length.
    """

    def __init__(self, encoder: ResNet) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder.embed(images)


def hypercolumn_levels(stages: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Stages in the channel order of the published hypercolumn: deepest first (2048, 1024, 512, 256 for ResNet-50)."""
    return tuple(reversed(stages))


def match_memory_format(module: nn.Module) -> nn.Module:
    """Channels-last weights: the faster layout for convolutions on every device we measured."""
    return module.to(memory_format=torch.channels_last)
