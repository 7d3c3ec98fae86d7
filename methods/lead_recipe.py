"""LEAD's recipe, and how it becomes views, a schedule and an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.method import PretrainJob, Recipe
from bench.training import Batch, steps_for
from methods.augmentation import ViewSettings, random_views
from methods.schedule import warmup_cosine


class LEADRecipe(Recipe):
    """Pre-training; the defaults are the paper's (section 4, supplement section 4), else noted.

    The optimiser's momentum and weight decay and the moving average's start are OpenSelfSup's, which LEAD used.
    """

    image_size: int = Field(default=136, description="Side of the source images that views are cropped from.")
    view_size: int = Field(default=96, description="Side of the views.")
    batch_size: int = 256
    learning_rate: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: int = 2
    min_crop: float = Field(default=0.08, description="Smallest crop, as part of the image's area.")
    flip: float = Field(default=0.5, description="BYOL flips; 0 keeps left and right landmarks apart.")
    blur_sigma_max: float = 2.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    stage1_objective: Literal["byol", "moco", "nt_xent"] = Field(
        default="byol",
        description="The paper's BYOL; CL's MoCo, on the same views; or contrast within the batch (ours).",
    )
    stage1_epochs: int = Field(default=200, ge=0, description="0: stage 2 only, on the initial weights.")
    ema_start: float = Field(default=0.99, description="BYOL's moving average, which ends at 1.")
    head_hidden: int = 4096
    head_dim: int = 256
    nt_xent_temperature: float = 0.2
    moco_temperature: float = Field(default=0.07, description="CL, released code; so are the next three.")
    moco_queue: int = Field(default=4096, ge=1)
    moco_momentum: float = 0.999
    moco_dim: int = Field(default=128, ge=1, description="Output of MoCo's linear head.")

    stage2_objective: Literal["lead", "equivariance"] = Field(
        default="lead", description="Of the decoder: the paper's, or CL's equivariance loss."
    )
    stage2_epochs: int = Field(default=20, ge=1, description="Main text; the supplement says 10.")
    stage2_batch_size: int = 256
    stage2_learning_rate: float = Field(default=0.03, description="Not given in the paper; stage 1's.")
    stage2_view_size: int = 96
    temperature: float = Field(default=0.05, description="Of both similarity distributions (equation 2).")
    projection_dim: int = Field(
        default=256, ge=0, description="Output of the discarded head g_D; 0: no head (table 3)."
    )
    pairs: Literal["images", "views"] = Field(
        default="images",
        description="Images i and j of equation 2: two of the batch (section 3.3), or two views of one (figure 2).",
    )
    equivariance_temperature: float = Field(default=1 / 7, description="CL, supplement section 3.")
    nmf_pixels: int = Field(
        default=20_000, ge=1, description="Of the hypercolumns that are factorised (not given in the paper)."
    )
    nmf_iterations: int = Field(default=200, ge=1, description="Of coordinate descent (not given).")


def two_views(
    recipe: LEADRecipe, size: int, batch: Batch, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    one, two = view_settings(recipe, size)
    return random_views(batch.images, one, generator), random_views(batch.images, two, generator)


def view_settings(recipe: LEADRecipe, size: int) -> tuple[ViewSettings, ViewSettings]:
    """BYOL's asymmetric pair: the second view is rarely blurred and sometimes solarised."""
    first = ViewSettings(
        size=size,
        crop_scale=(recipe.min_crop, 1.0),
        flip=recipe.flip,
        blur_sigma=(0.1, recipe.blur_sigma_max),
        interpolation=recipe.interpolation,
    )
    return first, replace(first, blur=0.1, solarise=0.2)


def sgd(modules: list[nn.Module], recipe: LEADRecipe) -> torch.optim.SGD:
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def schedule(
    job: PretrainJob, epochs: int, batch_size: int, peak: float
) -> tuple[int, Callable[[int], float]]:
    """The number of steps, and the learning rate of a step: a cosine after the recipe's warm-up."""
    count = len(job.images)
    steps = steps_for(epochs, count, batch_size)
    warmup = steps_for(job.recipe.warmup_epochs, count, batch_size)
    return steps, lambda step: warmup_cosine(step, steps, warmup, peak)
