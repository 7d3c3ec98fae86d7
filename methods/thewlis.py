"""Factorized spatial embeddings: landmarks that move with the image.

Thewlis, Bilen and Vedaldi, ICCV 2017. A small network gives K probability maps. It is trained, without labels, on an
image x and its warp x' by a random g:

- alignment (equation 6): the maps of x' are those of x moved by g, and concentrated;
- diversity (equation 8): different maps lie in different places.

"T17s" below is the paper's supplement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.geometry import TPSStrength, TPSWarp, warp_pair
from bench.method import Method, Preset, PretrainJob, Recipe
from bench.sharing import share_mean
from bench.training import Batch, Stage, export_weights, initial_network, run_stage, steps_for
from methods.networks.landmark_maps import cell_centres, expected_points
from methods.objectives.alignment import alignment_loss, point_alignment_loss
from methods.objectives.diversity import diversity_loss, overlap_loss
from methods.objectives.precision import full_precision
from methods.thewlis_network import STRIDE, ThewlisNetwork, ThewlisOptions


class ThewlisRecipe(Recipe):
    """Training; the defaults are the paper's (section 4.1, T17s section 2 and table 1), else noted."""

    image_size: int = Field(default=100, description="Side of the images that are warped.")
    margin: int = Field(default=10, ge=0, description="Cropped from every side after warping: 100 to 80.")
    batch_size: int = Field(default=32, ge=1, description="Pairs in a step. Not given; DVE's.")
    epochs: int = Field(
        default=45, ge=1, description="At the first rate. The paper says 'until convergence', no number."
    )
    final_epochs: int = Field(
        default=15, ge=0, description="At a tenth of it. The paper: 'until no further improvement'."
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's.")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="Lambda of equation 9, added to the gradient."
    )

    alignment: Literal["maps", "points"] = Field(
        default="maps", description="Equation 6, or equation 5 on soft-argmax locations."
    )
    unit: Literal["cells", "normalised"] = Field(
        default="cells",
        description="Unit of length in the alignment loss. Not given; the weight 500 of the diversity balances "
        "it in pixels of the probability maps, not where the crop's side is 2.",
    )
    diversity: Literal["max", "overlap"] = Field(
        default="max", description="Equation 8, or equation 7 (without pooling)."
    )
    diversity_weight: float = Field(default=500.0, ge=0, description="Gamma of equation 9.")
    patch: int = Field(
        default=5, ge=1, description="Side of the sum pooling in equation 8; 3 for the 51 landmarks of AFLW."
    )

    first_radial: float = Field(default=0.001, ge=0, description="Of g1: deviation of every TPS weight.")
    first_subset: float = Field(default=0.001, ge=0, description="Of g1: what every second weight gets more.")
    second_radial: float = Field(default=0.001, ge=0, description="Of g2: deviation of every TPS weight.")
    second_subset: float = Field(default=0.01, ge=0, description="Of g2: what every second weight gets more.")
    rotation: float = Field(default=20.0, ge=0, description="Of g2: standard deviation in degrees.")
    translation: float = Field(default=0.1, ge=0, description="Of g2: where the image's side is 2.")
    scale: float = Field(default=0.05, ge=0, description="Of g2: about 1.")

    @property
    def crop_size(self) -> int:
        return self.image_size - 2 * self.margin

    @model_validator(mode="after")
    def _crop_fits_the_network(self) -> ThewlisRecipe:
        if self.crop_size < STRIDE or self.crop_size % STRIDE:
            raise ValueError(
                f"image_size {self.image_size} less twice the margin {self.margin} leaves {self.crop_size} pixels; "
                f"the network takes positive multiples of {STRIDE}"
            )
        return self


# What a machine without a GPU can learn in minutes. With the paper's weight of the diversity, some hundred steps end
# with certain landmarks on a grid that is fixed in the frame, and hardly a gradient leads away from there. Three
# things keep maps undecided until there are features to follow: a lower weight, the batch norm before the soft-max
# that section 4.1 describes, and borders that do not tell the position. Measured once each, after 500 steps on
# 64-pixel real faces, 5 points from 10 landmarks, % of the distance of the eyes: untrained 27; lower weight and norm
# 28.5 (fixed grid), lower weight and borders 20.6, all three 16.7 (the weight was not varied alone). The network and
# losses of these presets: untrained 28.0, after 1,000 steps 12.1, on the images that also chose these settings.
_UNDECIDED: dict[str, Any] = {"landmarks": 30, "final_norm": True, "padding": "replicate"}
_QUICK: dict[str, Any] = {
    "image_size": 80,
    "margin": 8,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "diversity_weight": 3.0,
    "patch": 3,
}


class Thewlis(Method):
    """Unsupervised landmark detectors; also fine-tuned, still without labels, from given weights to other images."""

    name = "thewlis"
    summary = (
        "K landmarks that follow random warps of the image and stay apart (sparse; also dense features)."
    )
    reference = "Thewlis et al., Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017"
    Options = ThewlisOptions
    Recipe = ThewlisRecipe
    stages = ("landmarks: equivariant to warps of the image and apart from each other (equation 9)",)
    default_preset = "tiny"
    shipped_presets = ("shipped-faces",)
    rehearsal = Preset(
        "For the conformance suite.",
        options={"landmarks": 4},
        recipe={"image_size": 24, "margin": 4, "batch_size": 8, "epochs": 1, "final_epochs": 1, "patch": 2},
    )
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("50 landmarks, 80-pixel crops, 60 epochs of CelebA: for a GPU."),
        "small": Preset(
            "30 landmarks, 64-pixel crops: about 12 minutes on one core for some 3,300 images.",
            options=_UNDECIDED,
            recipe={**_QUICK, "epochs": 6, "final_epochs": 1},
        ),
        "shipped-faces": Preset(
            "As small, of the 5,000 images of synthetic-faces: the weights that ship.",
            options=_UNDECIDED,
            recipe={**_QUICK, "epochs": 6, "final_epochs": 1},
        ),
        "tiny": Preset(
            "As small, but shorter: under 5 minutes on one core for some 5,000 images.",
            options=_UNDECIDED,
            recipe={**_QUICK, "epochs": 2, "final_epochs": 0},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "k10": Preset("10 landmarks (table 1).", options={"landmarks": 10}),
        "k30": Preset("30 landmarks (tables 1 and 4).", options={"landmarks": 30}),
        "k50": Preset("50 landmarks (tables 1, 2 and 5).", options={"landmarks": 50}),
        "k51": Preset(
            "51 landmarks in denser coverage, the AFLW network (table 3).",
            options={"landmarks": 51},
            recipe={"patch": 3},
        ),
        "relu-out": Preset(
            "Batch norm and ReLU after the last convolution, as section 4.1 is worded.",
            options={"final_norm": True},
        ),
        "finetune": Preset(
            "Adapts given weights to another set of images, as for 300-W and AFLW (tables 3 and 5). Its length "
            "is not given; DVE's 50 epochs are taken.",
            recipe={"epochs": 40, "final_epochs": 10, "learning_rate": 1e-4},
        ),
    }

    def build(self, options: ThewlisOptions) -> ThewlisNetwork:
        return ThewlisNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network: ThewlisNetwork = initial_network(job, self.build)
        stage = _landmark_stage(job, network)
        run_stage(job, stage)
        path = job.output / "weights.safetensors"
        stage.export(path, -1)
        return path


def _landmark_stage(job: PretrainJob, network: ThewlisNetwork) -> Stage:
    """Equation 9, with Adam at one rate and then at a tenth of it."""
    recipe: ThewlisRecipe = job.recipe
    network.train()
    slower_from = steps_for(recipe.epochs, len(job.images), recipe.batch_size)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return landmark_losses(network, batch.images, recipe, generator)

    return Stage(
        name="landmarks",
        modules={"network": network},
        optimiser=torch.optim.Adam(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        ),
        steps=slower_from + steps_for(recipe.final_epochs, len(job.images), recipe.batch_size),
        batch_size=recipe.batch_size,
        learning_rate=lambda step: recipe.learning_rate * (1.0 if step < slower_from else 0.1),
        losses=losses,
        export=export_weights(job, Thewlis.name, network, "landmarks"),
    )


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """An image x and its warp x', cropped alike, and the map g of equations 5 and 6 between them.

    Shapes:
        image, warped: (B, 3, S, S), S the side of the crop.
    """

    image: Tensor
    warped: Tensor
    second: TPSWarp
    margin: int

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: slice) -> TrainingPair:
        return TrainingPair(self.image[index], self.warped[index], self.second[index], self.margin)

    def source_of(self, points: Tensor) -> Tensor:
        """g: where points of x' come from in x, (B or 1, N, 2) -> (B, N, 2), pixels of the crops, corner origin."""
        side = self.image.shape[-1] + 2 * self.margin
        return self.second.source_of(points + self.margin, (side, side)) - self.margin


def training_pair(images: Tensor, recipe: ThewlisRecipe, generator: torch.Generator) -> TrainingPair:
    """x is the image warped by g1, and x' is x warped by g2; then both lose the margin.

    Shapes:
        images: (B, 3, S, S), float, S = ``recipe.image_size``.
    """
    first, second = (warp.to(images.device) for warp in draw_warps(len(images), recipe, generator))
    pair = warp_pair(images, first, second)
    kept = slice(recipe.margin, recipe.image_size - recipe.margin)
    image, warped = pair.less_warped[..., kept, kept], pair.more_warped[..., kept, kept]
    return TrainingPair(image, warped, second, recipe.margin)


def draw_warps(count: int, recipe: ThewlisRecipe, generator: torch.Generator) -> tuple[TPSWarp, TPSWarp]:
    """Random g1 and g2 (T17s table 1: g1 has no affine part); the second deviation is *added* to the first."""
    one = TPSStrength(recipe.first_radial, recipe.first_subset, 0.0, 0.0, 0.0)
    two = TPSStrength(
        recipe.second_radial, recipe.second_subset, recipe.translation, recipe.scale, recipe.rotation
    )
    first = TPSWarp.draw(count, one, generator, subset="add")
    return first, TPSWarp.draw(count, two, generator, subset="add")


def landmark_losses(
    network: ThewlisNetwork, images: Tensor, recipe: ThewlisRecipe, generator: torch.Generator
) -> dict[str, Tensor]:
    """Equation 9, without its regulariser, on random pairs made from (B, 3, S, S) images, float in [0, 1]."""
    (images,), in_full = full_precision(images)
    with in_full:
        pair = training_pair(images, recipe, generator)

    def terms(pair: TrainingPair) -> tuple[Tensor, Tensor]:
        # One pass, so that batch norm sees both views.
        p, q = network.probabilities(torch.cat([pair.image, pair.warped])).chunk(2)
        with full_precision(p)[1]:
            align = _maps_aligned if recipe.alignment == "maps" else _points_aligned
            pixels_per_unit = STRIDE if recipe.unit == "cells" else recipe.crop_size / 2
            alignment = align(p, q, pair) / pixels_per_unit**2
            return alignment, _diversity(p, recipe) + _diversity(q, recipe)

    alignment, diversity = share_mean(terms, pair)
    loss = alignment + recipe.diversity_weight * diversity
    return {"loss": loss, "alignment": alignment, "diversity": diversity}


def _maps_aligned(p: Tensor, q: Tensor, pair: TrainingPair) -> Tensor:
    side = pair.image.shape[-1]
    cells = cell_centres((p.shape[2], p.shape[3]), (side, side), like=p)
    mapped = pair.source_of(cells.reshape(1, -1, 2)).unflatten(1, cells.shape[:2])
    return alignment_loss(p, q, cells, mapped)


def _points_aligned(p: Tensor, q: Tensor, pair: TrainingPair) -> Tensor:
    side = pair.image.shape[-1]
    here, there = expected_points(p, (side, side)), expected_points(q, (side, side))
    return point_alignment_loss(here, pair.source_of(there))


def _diversity(probabilities: Tensor, recipe: ThewlisRecipe) -> Tensor:
    if recipe.diversity == "overlap":
        return overlap_loss(probabilities)
    return diversity_loss(probabilities, recipe.patch)
