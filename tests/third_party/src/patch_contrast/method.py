"""Patch contrast: a cell's feature is the same in two crops of an image, and unlike those of its other cells.

The two crops are moved against each other by whole cells and recoloured, so it is known which cells show the same
without any label. After Pinheiro et al., Unsupervised Learning of Dense Visual Representations, NeurIPS 2020.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from bench import FeatureExtractor, FeatureMap, Method, MethodOptions, Preset, PretrainJob, Recipe, share
from bench.training import Batch, Stage, export_weights, initial_network, run_stage
from patch_contrast.objective import patch_contrast_loss
from patch_contrast.views import CELL, recoloured, two_views


class PatchContrastOptions(MethodOptions):
    """A small network without pooling."""

    width: int = Field(default=64, ge=1, description="Channels of the hidden layers.")
    dim: int = Field(default=32, ge=1, description="Channels of the features.")


class PatchContrastRecipe(Recipe):
    """Pre-training; these values are a choice of this example, not a paper's."""

    image_size: int = Field(default=96, description="Side of the images that views are cropped from.")
    crop: int = Field(default=64, ge=CELL, description="Side of the views, in whole cells of 4 pixels.")
    steps: int = Field(default=20_000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    temperature: float = Field(default=0.1, gt=0, description="Of the softmax over cells.")
    recolour: float = Field(default=0.4, ge=0, lt=1, description="Largest change of a channel's contrast.")

    @model_validator(mode="after")
    def _crops_overlap(self) -> PatchContrastRecipe:
        if self.crop % CELL or not self.crop <= self.image_size < 2 * self.crop:
            raise ValueError(
                f"crop={self.crop} of image_size={self.image_size}: two crops must overlap, and a crop be a multiple "
                f"of {CELL}; take a crop above half the image's side"
            )
        return self


class PatchContrastNetwork(FeatureExtractor):
    """Features at stride 4, defined there."""

    stride = CELL
    shift_period = CELL
    # From a cell's centre: 1.5 and 2 * 1.5 pixels of the two 4x4 kernels, 4 of the 3x3 kernel, rounded up.
    receptive_radius = 9

    def __init__(self, options: PatchContrastOptions) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _block(3, options.width, kernel=4, stride=2),
            _block(options.width, options.width, kernel=4, stride=2),
            _block(options.width, options.width, kernel=3, stride=1),
            nn.Conv2d(options.width, options.dim, kernel_size=1),
        )

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        features = self.layers(images - 0.5)
        return FeatureMap((features,), size=(height // CELL, width // CELL), image_size=(height, width))


class PatchContrast(Method):
    """One stage."""

    name = "patch-contrast"
    summary = "Contrast between the patches of an image, under shifts and changes of colour."
    reference = "The worked example of docs/writing_a_method.md"
    Options = PatchContrastOptions
    Recipe = PatchContrastRecipe
    default_preset = "tiny"
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("96-pixel images, 20,000 steps: for a GPU."),
        "tiny": Preset(
            "A narrow network, 300 steps: half a minute on one core.",
            options={"width": 32},
            recipe={"steps": 300, "batch_size": 16, "image_size": 64, "crop": 48},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "grey": Preset("Without changes of colour.", recipe={"recolour": 0.0}),
    }
    stages = ("patches: contrast between the cells of two crops",)

    def build(self, options: PatchContrastOptions) -> PatchContrastNetwork:
        return PatchContrastNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network = initial_network(job, self.build)
        stage = self.patches(job, network)
        run_stage(job, stage)
        path = job.output / "weights.safetensors"
        stage.export(path, -1)
        return path

    def patches(self, job: PretrainJob, network: PatchContrastNetwork) -> Stage:
        """The only stage: cells of two crops that show the same."""
        recipe: PatchContrastRecipe = job.recipe

        def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            first, second = two_views(batch.images, recipe.crop, generator)
            views = (recoloured(view.images, recipe.recolour, generator) for view in (first, second))
            one, other = (share(network, images) for images in views)
            common = first.shared(one.levels[0], second), second.shared(other.levels[0], first)
            return {"loss": patch_contrast_loss(*common, recipe.temperature)}

        return Stage(
            name="patches",
            modules={"network": network},
            optimiser=torch.optim.AdamW(network.parameters()),
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=lambda _: recipe.learning_rate,
            losses=losses,
            export=export_weights(job, self.name, network, "patches"),
        )


def _block(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
