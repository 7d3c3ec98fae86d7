"""ContrastLandmarks' projector: a 1x1 convolution from the hypercolumn to compact features.

Reference: Cheng et al., ICCV 2021, section 3.2. The paper calls it linear; the released code passes every output
channel through a soft-max over all positions, and its README says that this works best. State-dict keys are those of
the official checkpoints.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from bench.features import FeatureMap
from methods.networks.landmark_maps import probability_maps

ProjectorMode = Literal["softmax", "linear", "softplus"]


class Projector(nn.Module):
    """A 1x1 convolution with bias, and what follows it.

    Args:
        mode: ``softmax``: every output channel times ``multiplier`` becomes a distribution over all positions;
            ``linear``: nothing follows; ``softplus``: log(1 + e^x) of every value.
        multiplier: Of the soft-max only: 6.5 for 64 channels and 7 for others in the released settings.

    Shapes:
        forward: FeatureMap of C channels defined at (h, w) -> (B, channels, h, w), as if the convolution ran on the
            dense map; the soft-max therefore depends on the size at which the map is defined.
    """

    def __init__(self, channels_in: int, channels: int, mode: ProjectorMode, multiplier: float) -> None:
        super().__init__()
        self.reg_conv = nn.Conv2d(channels_in, channels, kernel_size=1)
        self.mode = mode
        self.multiplier = multiplier

    def forward(self, features: FeatureMap) -> Tensor:
        projected = features.project(self.reg_conv.weight, self.reg_conv.bias)
        if self.mode == "softmax":
            return probability_maps(self.multiplier * projected)
        return F.softplus(projected) if self.mode == "softplus" else projected


def released_multiplier(channels: int) -> float:
    """The soft-max multiplier with which the released projectors were trained."""
    return 6.5 if channels == 64 else 7.0
