"""LEAD's network: an encoder, and what makes its hypercolumn compact."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.features import FeatureExtractor, FeatureMap
from bench.method import MethodOptions
from methods.colour import FACE_MEAN, FACE_STD, IMAGENET_MEAN, IMAGENET_STD, NormaliseColours
from methods.networks.fpn import FPNDecoder
from methods.networks.nonnegative import NonNegativeProjection
from methods.networks.resnet import Backbone, ResNet, hypercolumn_levels, match_memory_format


class LEADOptions(MethodOptions):
    """The network, and which of its features are read."""

    backbone: Backbone = "resnet50"
    width: int = Field(default=64, ge=4, description="Channels of the stem; 64 is published.")
    features: Literal["compact", "hypercolumn", "nmf"] = Field(
        default="compact",
        description="Stage 2's decoder output; stage 1's hypercolumn, which needs no second stage; or its "
        "non-negative factors (the baseline BYOL + NMF of table 1).",
    )
    dim: int = Field(
        default=64, ge=1, description="Size of the reduced features: 64, 128 or 256 in the paper."
    )
    fpn_width: int = Field(default=256, ge=1, description="Laterals of the decoder (not given in the paper).")
    fpn_merged: int = Field(
        default=128, ge=1, description="Upsampling blocks of the decoder (Panoptic FPN's)."
    )
    colours: Literal["faces", "imagenet"] = Field(
        default="faces", description="Channel statistics of the input: CelebA's, or ImageNet's as for birds."
    )


class LEADNetwork(FeatureExtractor):
    """Reduced features at stride 4, or the encoder's hypercolumn; both defined at half the image's resolution (48x48
    for 96-pixel images), where the papers regress landmarks.

    Args:
        options: The architecture.
        encoder: Share this one instead of building one.
    """

    stride = 4

    def __init__(self, options: LEADOptions, encoder: ResNet | None = None) -> None:
        super().__init__()
        self.options = options
        self.encoder = encoder or ResNet(options.backbone, options.width)
        channels = self.encoder.stage_channels
        # The hypercolumn of weights with a second stage is read without it.
        self.unread = ("decoder.", "factors.") if options.features == "hypercolumn" else ()
        self.decoder: FPNDecoder | None = None
        self.factors: NonNegativeProjection | None = None
        if options.features == "compact":
            self.decoder = FPNDecoder(channels, options.dim, options.fpn_width, options.fpn_merged)
        elif options.features == "nmf":
            self.factors = NonNegativeProjection(sum(channels), options.dim)
        faces = options.colours == "faces"
        self.normalise = NormaliseColours(
            *((FACE_MEAN, FACE_STD) if faces else (IMAGENET_MEAN, IMAGENET_STD))
        )
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        stages = self.encoder(self.normalise(images))
        if self.decoder is not None:
            return self.feature_map((self.decoder(stages),), images)
        hypercolumn = self.feature_map(hypercolumn_levels(stages), images)
        if self.factors is not None:
            finest = (stages[0].shape[2], stages[0].shape[3])
            return self.feature_map((self.factors(hypercolumn.defined_at(finest)),), images)
        return hypercolumn

    def feature_map(self, levels: tuple[Tensor, ...], images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        # ContrastLandmarks matches hypercolumns by the sum of the levels' cosines.
        kind: Literal["joint", "per_level"] = "joint" if len(levels) == 1 else "per_level"
        return FeatureMap(levels, (height // 2, width // 2), (height, width), kind)

    def hypercolumn_network(self) -> LEADNetwork:
        """The same encoder, read as the hypercolumn: all that stage 1 trains."""
        return LEADNetwork(self.options.model_copy(update={"features": "hypercolumn"}), self.encoder)
