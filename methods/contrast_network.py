"""ContrastLandmarks' network: an encoder, and which of its features are read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap
from bench.method import MethodOptions
from methods.colour import FACE_MEAN, FACE_STD, IMAGENET_MEAN, IMAGENET_STD, NormaliseColours
from methods.networks.projector import Projector, released_multiplier
from methods.networks.resnet import (
    Backbone,
    ImageEmbedding,
    ResNet,
    hypercolumn_levels,
    match_memory_format,
)

EMBEDDING = 128
"""Size of the linear head that whole images are contrasted with (supplement, section 3, and released code)."""


class ContrastOptions(MethodOptions):
    """The network, and which of its features are read.

    The released evaluation of regression cannot read projected features, and the paper does not say at which
    resolution the soft-max was taken there; see ``projected_stride``.
    """

    backbone: Backbone = "resnet50"
    width: int = Field(default=64, ge=4, description="Channels of the stem; 64 is published.")
    features: Literal["hypercolumn", "conv4", "projected"] = Field(
        default="hypercolumn",
        description="All four stages; the third alone at its own resolution; or stage 2's compact features.",
    )
    dim: int = Field(
        default=64, ge=1, description="Of projected features: 64, 128, 256; birds also 512 and 1280."
    )
    projector_mode: Literal["softmax", "linear"] = Field(
        default="softmax",
        description="What follows the projection: a soft-max over positions as in the released code, or nothing as "
        "in the paper.",
    )
    multiplier: float | None = Field(
        default=None, gt=0, description="Of the soft-max; None: as released, 6.5 for 64 channels, else 7."
    )
    projected_stride: Literal[1, 2, 4] = Field(
        default=2,
        description="Pixels per cell at which hypercolumns are projected: 2 where landmarks are regressed (48x48 "
        "for 96 pixels), 1 in the released code's matching, 4 in training.",
    )
    colours: Literal["faces", "imagenet"] = Field(
        default="faces", description="Channel statistics of the input: CelebA's, or ImageNet's as for birds."
    )


class ContrastNetwork(FeatureExtractor):
    """The encoder with its embedding head and, for projected features, the projector.

    The hypercolumn and projected features are defined at half the image's resolution (48x48 for 96-pixel images),
    where the paper regresses landmarks; conv4 at its native 6x6. Hypercolumns are matched by the sum of the cosines
    of their four levels, as in the released code, the others by the cosine.

    Args:
        options: The architecture.
        encoder: Share this one instead of building one.
    """

    stride = 4

    def __init__(self, options: ContrastOptions, encoder: ResNet | None = None) -> None:
        super().__init__()
        self.options = options
        self.encoder = encoder or ResNet(options.backbone, options.width, embedding=EMBEDDING)
        self.projector: Projector | None = None
        if options.features == "projected":
            multiplier = options.multiplier or released_multiplier(options.dim)
            channels = sum(self.encoder.stage_channels)
            self.projector = Projector(channels, options.dim, options.projector_mode, multiplier)
        else:
            self.unread = ("projector.",)
        faces = options.colours == "faces"
        self.normalise = NormaliseColours(
            *((FACE_MEAN, FACE_STD) if faces else (IMAGENET_MEAN, IMAGENET_STD))
        )
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        if self.options.features == "conv4":
            third = self.encoder(self.normalise(images))[2]
            return FeatureMap((third,), (third.shape[2], third.shape[3]), (height, width), "joint")
        hypercolumn = self.hypercolumn(images)
        if self.projector is None:
            return hypercolumn
        stride = self.options.projected_stride
        maps = self.projector(hypercolumn.defined_at((height // stride, width // stride)))
        return FeatureMap((maps,), hypercolumn.size, hypercolumn.image_size, "joint")

    def hypercolumn(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        levels = hypercolumn_levels(self.encoder(self.normalise(images)))
        return FeatureMap(levels, (height // 2, width // 2), (height, width), "per_level")

    def counted_network(self) -> nn.Module:
        """The encoder as it is trained (supplement, table 2); with a projector, all that makes its features."""
        return ImageEmbedding(self.encoder) if self.projector is None else self

    def without_projector(self) -> ContrastNetwork:
        """What stage 1 trains: the network that reads the hypercolumn where this one projects it."""
        if self.projector is None:
            return self
        return ContrastNetwork(self.options.model_copy(update={"features": "hypercolumn"}), self.encoder)
