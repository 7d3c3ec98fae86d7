"""The hourglass of DVE: a pre-activation residual network that looks at every scale and answers at half resolution.

Reference: Newell et al., Stacked Hourglass Networks, ECCV 2016, in the form that Thewlis et al., ICCV 2019, released
(one stack). State-dict keys are those of the official DVE checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

_STEM, _WIDTH, _DEPTH, _BLOCKS = 64, 256, 4, 4


class Hourglass(nn.Module):
    """Stem at stride 2, one hourglass of depth 4, and a head.

    Args:
        channels: Of the output.

    Shapes:
        forward: (B, 3, H, W) -> (B, channels, H / 2, W / 2); H and W multiples of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM, kernel_size=7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Bottleneck(_STEM, 64))
        self.layer2 = nn.Sequential(Bottleneck(128, 128))
        self.layer3 = nn.Sequential(Bottleneck(_WIDTH, _WIDTH // 2))
        self.hg = nn.Sequential(HourglassBlock())
        head = nn.Sequential(
            _unit(),
            nn.Conv2d(_WIDTH, _WIDTH, kernel_size=1),
            nn.BatchNorm2d(_WIDTH),
            self.relu,  # the stem's own module, as released: memory is counted once per parent and call
            nn.Conv2d(_WIDTH, channels, kernel_size=1),
        )
        self.output_layers = nn.Sequential(head)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        output: Tensor = self.output_layers(self.hg(x))
        return output


class HourglassBlock(nn.Module):
    """Residual units at five scales, from fine to coarse and back.

    The pooled path starts from the *output* of the skip unit; the usual stacked hourglass pools its input.

    Shapes:
        forward: (B, 256, h, w) -> the same; h and w multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        for level in range(_DEPTH, 0, -1):
            self.add_module(f"layer{level}_1", _unit())
            self.add_module(f"layer{level}_2", _unit())
        self.layer1_4 = _unit()
        for level in range(1, _DEPTH + 1):
            self.add_module(f"layer{level}_3", _unit())
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        return self._level(_DEPTH, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        skip_unit, down_unit, up_unit = (self.get_submodule(f"layer{level}_{unit}") for unit in (1, 2, 3))
        skip: Tensor = skip_unit(x)
        coarse = down_unit(self.pool(skip))
        coarse = self.layer1_4(coarse) if level == 1 else self._level(level - 1, coarse)
        fine: Tensor = self.upsample(up_unit(coarse))
        return skip + fine


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each after batch norm and ReLU, plus a shortcut.

    Shapes:
        forward: (B, channels, h, w) -> (B, 2 planes, h, w).
    """

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, planes, kernel_size=1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, padding=1)
        self.bn3 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 2 * planes, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        # A bare convolution of the raw input: without the batch norm that ResNets put there.
        self.downsample = nn.Conv2d(channels, 2 * planes, kernel_size=1) if channels != 2 * planes else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu(self.bn1(x)))
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        total: Tensor = y + shortcut
        return total


def _unit() -> nn.Sequential:
    return nn.Sequential(*(Bottleneck(_WIDTH, _WIDTH // 2) for _ in range(_BLOCKS)))
