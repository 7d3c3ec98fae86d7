"""ContrastLandmarks' recipe, and how an image becomes a view."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.method import Recipe
from methods.augmentation import ViewSettings, random_views
from methods.photometric import colour_jitter, jpeg_noise, pca_lighting

PROJECTOR_STRIDE = 4
"""Pixels per cell of the hypercolumns that the projector is trained on (24x24 for 96 pixels; released code)."""


class ContrastRecipe(Recipe):
    """Pre-training; the defaults are those of the supplement's section 3 and the released code, else noted."""

    image_size: int = Field(
        default=136, description="Side of the frame in which views are made; released: 136 faces, 96 birds."
    )
    margin: int = Field(
        default=20, ge=0, description="Removed on every side of a finished view; released: 20 faces, 0 birds."
    )
    min_crop: float = Field(
        default=0.2, gt=0, le=1, description="Smallest random crop, as part of the frame's area."
    )
    jpeg_noise: bool = Field(default=True, description="Compress views; costs about a millisecond a view.")
    jitter: float = Field(default=0.4, ge=0, description="Of brightness, contrast and saturation.")
    lighting: float = Field(default=0.1, ge=0, description="Spread of the PCA lighting.")
    hue: float = Field(
        default=0.0, ge=0, le=0.5, description="Largest change of the hue, in turns; not in the paper."
    )
    grey: float = Field(default=0.0, ge=0, le=1, description="Share of grey views; not in the paper.")

    stage1_objective: Literal["moco", "nt_xent"] = Field(
        default="moco",
        description="The paper's momentum contrast with its queue; or contrast within the batch (ours).",
    )
    head_hidden: int = Field(
        default=0,
        ge=0,
        description="Width of a hidden layer with batch norm under the embedding; 0: a single layer, as published.",
    )
    stage1_image_size: int | None = Field(
        default=None,
        ge=8,
        description="Side that frames and margins are shrunk to for stage 1, which then costs less; None: not at all.",
    )
    stage1_epochs: int = Field(default=800, ge=0, description="0: stage 2 only, on the initial weights.")
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = Field(default=0.07, gt=0, description="Of the contrast between images.")
    queue: int = Field(default=4096, ge=1, description="Earlier images that an image is told from.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Momentum of the averaged network.")
    groups: int = Field(
        default=4,
        ge=1,
        description="Parts of a batch that are normalised apart, as on the paper's 4 GPUs; keys are shuffled first.",
    )

    stage2_epochs: int = Field(default=10, ge=1)
    stage2_batch_size: int = Field(default=32, ge=1)
    stage2_learning_rate: float = 1e-3
    stage2_weight_decay: float = 5e-4
    stage2_temperature: float | None = Field(
        default=None,
        gt=0,
        description="Of the similarity of cells; None: as released, 1/8 for 64 channels, else 1/7 (the supplement "
        "has 1/7 for all).",
    )
    stage2_power: float = Field(default=0.5, gt=0, description="Of the distance in the loss.")
    stage2_augmentation: bool = Field(
        default=True,
        description="Train the projector on views like stage 1's, as the released script does; the supplement says "
        "that it saw plain images.",
    )

    def view_size(self) -> int:
        return self.image_size - 2 * self.margin

    def of_stage_one(self) -> ContrastRecipe:
        """The same with stage 1's frames and margins."""
        side = self.stage1_image_size or self.image_size
        margin, rest = divmod(self.margin * side, self.image_size)
        if side > self.image_size or rest:
            raise BenchError(
                f"frames of {self.image_size} px cannot be shrunk to {side}: their margins of {self.margin} px would "
                f"have {self.margin * side / self.image_size:g} px",
                hint="Choose a smaller stage1_image_size in proportion, e.g. half of image_size.",
            )
        return self.model_copy(update={"image_size": side, "margin": margin})


def random_view(images: Tensor, recipe: ContrastRecipe, generator: torch.Generator) -> Tensor:
    """JPEG noise, a random crop brought back to the frame's size, other colours; the margin is removed last.

    In this order, as released, and without flips: colours are judged by the whole frame, margin included.

    Shapes:
        images: (B, 3, S, S), float in [0, 1].  returns: (B, 3, S - 2 margin, S - 2 margin).
    """
    crop = ViewSettings(
        size=images.shape[-1],
        crop_scale=(recipe.min_crop, 1.0),
        interpolation="bilinear",
        flip=0.0,
        jitter=0.8 if recipe.hue else 0.0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=recipe.hue,
        grey=recipe.grey,
        blur=0.0,
    )
    with torch.autocast(images.device.type, enabled=False):
        if recipe.jpeg_noise:
            images = jpeg_noise(images, generator)
        views = random_views(images, crop, generator)
        views = colour_jitter(views, generator, recipe.jitter, recipe.jitter, recipe.jitter)
        return plain_view(pca_lighting(views, generator, recipe.lighting), recipe, generator)


def plain_view(images: Tensor, recipe: ContrastRecipe, generator: torch.Generator) -> Tensor:
    """The frame without its margin."""
    del generator
    inside = slice(recipe.margin, images.shape[-1] - recipe.margin)
    return images[..., inside, inside]


def shrunk(images: Tensor, side: int) -> Tensor:
    """(B, 3, S, S) -> (B, 3, side, side)."""
    if images.shape[-1] == side:
        return images
    with torch.autocast(images.device.type, enabled=False):
        return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def require_fitting_views(recipe: ContrastRecipe) -> None:
    """Raise BenchError where a view is empty, or not made of whole cells."""
    side = recipe.view_size()
    if side <= 0 or side % PROJECTOR_STRIDE:
        raise BenchError(
            f"frames of {recipe.image_size} px without margins of {recipe.margin} px are {side} px wide, not a "
            f"multiple of {PROJECTOR_STRIDE}",
            hint="Change image_size or margin: 136 and 20 for faces, 96 and 0 for birds, as published.",
        )
