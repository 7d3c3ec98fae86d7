"""Networks that regress coordinates: a convolutional trunk, and what pools its map for a fully connected layer.

Reference: Thewlis et al., ICCV 2017, section 4.3 and supplement section 3; He et al., CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from methods.networks.resnet import ResNet
from methods.networks.smallnet import SmallNet

CoordinateNet = Literal["smallnet", "pooled", "resnet18"]


class Trunk(NamedTuple):
    """A trunk (B, 3, S, S) -> (B, C, h, w), a pooling of its map, and how many numbers that leaves per image."""

    trunk: nn.Module
    pool: nn.Module
    features: int


def _smallnet(maps: int, width: int, input_size: int) -> Trunk:
    """The unsupervised detector as the paper words it, batch norm and ReLU after every convolution, then a pooling."""
    del width
    side = input_size // 2 // 2
    return Trunk(
        SmallNet(maps, negative_slope=0.0, final_norm=True), nn.MaxPool2d(2, stride=2), maps * side**2
    )


def _pooled(maps: int, width: int, input_size: int) -> Trunk:
    """Widths and kernels of the detector; the poolings take the place of its dilations."""
    del width
    sizes = ((3, 20, 5), (20, 48, 5), (48, 64, 5), (64, 80, 3), (80, 256, 3), (256, maps, 1))
    layers: list[nn.Module] = []
    for number, (channels_in, channels_out, kernel) in enumerate(sizes):
        convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        nn.init.xavier_normal_(convolution.weight)
        layers += [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        if number < 3:
            layers.append(nn.MaxPool2d(2, stride=2))
    return Trunk(nn.Sequential(*layers), nn.Identity(), maps * (input_size // 8) ** 2)


def _resnet18(maps: int, width: int, input_size: int) -> Trunk:
    del maps, input_size
    trunk = _LastStage(ResNet("resnet18", width))
    return Trunk(trunk, nn.AdaptiveAvgPool2d(1), trunk.resnet.stage_channels[-1])


class _LastStage(nn.Module):
    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.resnet = resnet

    def forward(self, images: Tensor) -> Tensor:
        last: Tensor = self.resnet(images)[-1]
        return last


COORDINATE_NETS: dict[CoordinateNet, Callable[[int, int, int], Trunk]] = {
    "smallnet": _smallnet,
    "pooled": _pooled,
    "resnet18": _resnet18,
}
"""Name -> builder from (filters of the sixth convolution, channels of a ResNet's stem, side of the input)."""
