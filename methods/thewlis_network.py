"""The landmark detector of Thewlis et al. 2017: a small network and a soft-argmax.

Reference: Thewlis et al., Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017,
sections 3.2 and 4.1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.features import Capability, FeatureExtractor, FeatureMap
from bench.method import MethodOptions
from methods.colour import FACE_MEAN, FACE_STD, NormaliseColours
from methods.networks.landmark_maps import expected_points, probability_maps
from methods.networks.resnet import match_memory_format
from methods.networks.smallnet import Padding, SmallNet

STRIDE = 2


class ThewlisOptions(MethodOptions):
    """The network, and which of its dense features are read."""

    landmarks: int = Field(
        default=50, ge=2, description="How many are discovered, K: 10, 30 or 50 on CelebA (table 1)."
    )
    final_norm: bool = Field(
        default=False,
        description="Batch norm and ReLU after the last convolution too. Section 4.1 says each convolution has "
        "them; a ReLU before a soft-max keeps scores from falling, and the released successor (DVE) has none.",
    )
    padding: Padding = Field(
        default="zeros",
        description="Of the convolutions. Not given; that of the paper's software and of DVE is zeros, which show "
        "every cell how far the border is. Replicate hides it.",
    )
    features: Literal["trunk", "scores"] = Field(
        default="trunk",
        description="What dense protocols read: 256-d output of the fifth convolution, or the K score maps. "
        "The paper has no dense protocol.",
    )


class ThewlisNetwork(FeatureExtractor):
    """Six convolutions to K score maps at half resolution; landmarks are the expected positions under their soft-max.

    Every output cell sees 27 pixels around its centre: 2 by the first convolution, 1 by the pooling, and
    twice 2 + 4 + 4 + 2 cells by the dilated convolutions.
    """

    capabilities: frozenset[Capability] = frozenset({"dense", "landmarks"})
    stride = STRIDE
    shift_period = STRIDE
    receptive_radius = 2 + 1 + 2 * (2 + 4 + 4 + 2)

    def __init__(self, options: ThewlisOptions) -> None:
        super().__init__()
        self.options = options
        self.normalise = NormaliseColours(FACE_MEAN, FACE_STD)
        self.detector = SmallNet(
            options.landmarks,
            negative_slope=0.0,
            final_norm=options.final_norm,
            padding=options.padding,
        )
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        read = self.detector.trunk if self.options.features == "trunk" else self.detector
        level: Tensor = read(self.normalise(images))
        height, width = images.shape[-2:]
        return FeatureMap((level,), (level.shape[2], level.shape[3]), (height, width))

    def probabilities(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H / 2, W / 2), where each landmark is believed to be."""
        return probability_maps(self.detector(self.normalise(images)))

    def landmarks(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return expected_points(self.probabilities(images), (height, width))
