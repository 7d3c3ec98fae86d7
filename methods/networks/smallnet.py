"""The six-convolution network of Thewlis et al. 2017, in the form in which DVE released it as SmallNet.

The 2017 paper gives the widths (20, 48, 64, 80, 256, K) and the one max-pool (section 4.1) but no kernel sizes; those
of the released successor are used for both. DVE has leaky ReLUs, the 2017 paper plain ones.

Reference: Thewlis et al., ICCV 2017, section 4.1; Thewlis et al., ICCV 2019, released code. State-dict keys are
those of the official DVE checkpoints.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Padding = Literal["zeros", "replicate"]
"""What lies beyond the border. Zeros tell cells within the receptive field's radius how far the border is."""

TRUNK_CHANNELS = 256
"""Channels of the fifth convolution, the last one before the output."""


class SmallNet(nn.Module):
    """Six convolutions with one 2x2 max-pool after the first.

    Args:
        channels: Of the output.
        negative_slope: Of the leaky ReLUs; 0 gives plain ReLUs.
        final_norm: Batch norm and ReLU after the last convolution too, as the 2017 paper is worded.
        max_pool: DVE's code can leave the pooling out; the output then has the input's size.
        padding: Zeros in DVE's code; the 2017 paper does not say.

    Shapes:
        forward: (B, 3, H, W) -> (B, channels, H // 2, W // 2).
    """

    def __init__(
        self,
        channels: int,
        negative_slope: float = 0.2,
        final_norm: bool = False,
        max_pool: bool = True,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.conv1 = _block(3, 20, kernel=5, slope=negative_slope, padding=padding)
        self.pool = nn.MaxPool2d(2, stride=2) if max_pool else nn.Identity()
        self.conv2 = _block(20, 48, kernel=5, slope=negative_slope, padding=padding)
        self.conv3 = _block(48, 64, kernel=5, dilation=2, slope=negative_slope, padding=padding)
        self.conv4 = _block(64, 80, kernel=3, dilation=4, slope=negative_slope, padding=padding)
        self.conv5 = _block(80, TRUNK_CHANNELS, kernel=3, dilation=2, slope=negative_slope, padding=padding)
        self.conv6 = nn.Conv2d(TRUNK_CHANNELS, channels, kernel_size=1)
        self.final = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if final_norm else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.final(self.conv6(self.trunk(images)))
        return output

    def trunk(self, images: Tensor) -> Tensor:
        """The output of the fifth convolution, (B, 256, H // 2, W // 2)."""
        x = self.pool(self.conv1(images))
        features: Tensor = self.conv5(self.conv4(self.conv3(self.conv2(x))))
        return features


def _block(
    channels_in: int, channels_out: int, kernel: int, slope: float, padding: Padding, dilation: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(
        channels_in,
        channels_out,
        kernel_size=kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        padding_mode=padding,
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.LeakyReLU(slope, inplace=True))
