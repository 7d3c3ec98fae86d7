"""Rahaman: features that move with the image first, landmarks second.

Rahaman et al., 2021. Two steps, both without labels:

1. An hourglass F learns features by contrasting locations: a location and the place where a warp moves it to are
   alike, all other locations of the batch are not (section 4, equation 7).
2. F is frozen, and a detector T on top of it learns K landmarks that follow the warps of the image (equation 2), keep
   apart from each other (equation 3), and have concentrated heatmaps (section 4); the last two in both views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap
from bench.geometry import TPSWarp
from bench.method import Method, MethodOptions, Preset, PretrainJob, Recipe
from bench.sharing import share, share_mean
from bench.training import Batch, Stage, export_weights, initial_network, run_stage, steps_for
from methods.colour import FACE_MEAN, FACE_STD, NormaliseColours
from methods.deformation import Deformation, corresponding_points, random_warps, sample_features
from methods.networks.landmark_maps import expected_points, probability_maps
from methods.networks.rahaman import HALVINGS, FeatureHourglass, LandmarkDetector, receptive_radius
from methods.networks.resnet import match_memory_format
from methods.objectives.diversity import diversity_loss
from methods.objectives.equivariant_landmarks import equivariance_loss, variance_loss
from methods.objectives.pixel_contrast import pixel_contrast_loss
from methods.objectives.precision import full_precision
from methods.photometric import colour_jitter

_STRIDE = 2**HALVINGS


class RahamanOptions(MethodOptions):
    """The networks, and which of their features are read."""

    widths: tuple[int, int, int, int] = Field(
        default=(64, 128, 256, 512),
        description="Channels of F's encoder blocks, finest first (not given in the paper; U-Net's).",
    )
    dim: int = Field(default=64, ge=1, description="D, the channels of F(x) (section 3), and of T's blocks.")
    landmarks: int = Field(
        default=50, ge=1, description="K: 50 for BBC Pose, 30 or 50 for MAFL, 10 or 20 for cats."
    )
    layer: int = Field(
        default=1, ge=1, le=4, description="The dense features: 1 is F(x), 2 to 4 are inside T (section 3)."
    )


class RahamanRecipe(Recipe):
    """Pre-training; the defaults are the paper's (section 4.1), else noted.

    The ranges of the warps and of the appearance changes are not given in the paper.
    """

    image_size: int = Field(
        default=128,
        ge=_STRIDE,
        multiple_of=_STRIDE,
        description="128 for BBC Pose and CelebA. The paper's 100 for cats does not halve four times; take 96 or 112.",
    )
    learning_rate: float = 3e-4
    learning_rate_decay: float = Field(default=0.9, description="Factor per epoch, in both steps.")
    weight_decay: float = Field(default=5e-4, description="L2 regularisation, added to the gradient.")
    elastic: float = Field(
        default=0.005,
        description="Standard deviation of the warps' radial weights (DVE draws .001 and .01 in turn).",
    )

    step1_epochs: int = Field(default=20, ge=1)
    step1_batch_size: int = Field(default=32, ge=1, description="Not given in the paper.")
    locations: int = Field(default=64, ge=1, description="K of equation 7, per image (not given).")
    temperature: float = Field(default=0.1, gt=0)
    rotation: float = Field(default=30.0, description="Largest rotation in degrees, in both steps.")
    shear: float = Field(default=10.0, description="Largest shear of step 1 in degrees.")
    zoom: float = Field(default=1.3, ge=1, description="Step 1 enlarges by 1/zoom to zoom.")
    translation: float = Field(default=0.1, description="Largest shift of step 1, in half images.")
    brightness: float = 0.4
    contrast: float = 0.4
    augment_original: bool = Field(
        default=True,
        description="Change the appearance of the unwarped view of step 1 too (the paper defines the warped one).",
    )

    end_to_end: bool = Field(
        default=False, description="Table 6's ablation: no step 1, F is trained by the losses of step 2."
    )
    step2_epochs: int = Field(default=20, ge=1)
    step2_batch_size: int = Field(default=32, ge=1, description="Not given in the paper.")
    diversity_patch: int = Field(
        default=8, ge=1, description="Side of the patches of equation 3: 8 for 128 pixels, 10 for 100."
    )
    equivariance_weight: float = Field(default=1.0, description="In [-1, 1]^2 (the paper gives no unit).")
    diversity_weight: float = 1.0
    variance_weight: float = Field(default=1.0, description="In [-1, 1]^2, mean over the landmarks.")


class RahamanNetwork(FeatureExtractor):
    """T on top of F: dense features of one of four layers, and K landmarks, all at the resolution of the image."""

    capabilities = frozenset({"dense", "landmarks"})
    stride = _STRIDE
    shift_period = _STRIDE

    def __init__(self, options: RahamanOptions) -> None:
        super().__init__()
        self.layer = options.layer
        self.receptive_radius = receptive_radius(options.layer)
        self.normalise = NormaliseColours(FACE_MEAN, FACE_STD)
        self.hourglass = FeatureHourglass(options.widths, options.dim)
        self.detector = LandmarkDetector(options.dim, options.landmarks)
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        size = (images.shape[-2], images.shape[-1])
        return FeatureMap((self.detector.representation(self.features(images), self.layer - 1),), size, size)

    def landmarks(self, images: Tensor) -> Tensor:
        return self.detect(images)[1]

    def features(self, images: Tensor) -> Tensor:
        """F(x), (B, dim, H, W)."""
        features: Tensor = self.hourglass(self.normalise(images))
        return features

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Where each landmark is believed to be, (B, K, H, W), and the mean of that, (B, K, 2) in pixels."""
        (scores,), in_full = full_precision(self.detector(self.features(images)))
        with in_full:
            probabilities = probability_maps(scores)
            return probabilities, expected_points(probabilities, (images.shape[-2], images.shape[-1]))


# What a machine without a GPU can learn in minutes: a narrow hourglass on small images. With equal weights, landmarks
# cling to the corners of the frame for hundreds of steps: being apart pays K, following the warp 1/K each. After one
# epoch of step 2 on 3,263 video faces, weights of 1, 10 and 100 leave landmarks 3.7, 2.1 and 1.3 of 64 pixels off under
# a warp, and 68 annotated points regressed from them 16.7, 14.4 and 15.5 % of the inter-ocular distance.
_NARROW: dict[str, Any] = {"widths": (16, 32, 64, 128), "dim": 32, "landmarks": 30}
_SHORT: dict[str, Any] = {
    "image_size": 64,
    "diversity_patch": 4,
    "learning_rate": 2e-3,
    "step2_batch_size": 16,
    "equivariance_weight": 10.0,
}
_SMALL: dict[str, Any] = {**_SHORT, "step1_epochs": 8, "step2_epochs": 3}


class Rahaman(Method):
    """The two-step method."""

    name = "rahaman"
    summary = (
        "Landmarks discovered on top of features that were pre-trained to move with the image (two steps)."
    )
    reference = (
        "Rahaman et al., Pretrained equivariant features improve unsupervised landmark discovery, 2021"
    )
    Options = RahamanOptions
    Recipe = RahamanRecipe
    default_preset = "tiny"
    shipped_presets = ("shipped-faces", "shipped-faces-end-to-end")
    rehearsal = Preset(
        "For the conformance suite.",
        options={"widths": (4, 4, 6, 8), "dim": 8, "landmarks": 5},
        recipe={
            "image_size": 16, "step1_epochs": 1, "step1_batch_size": 8, "step2_epochs": 1, "step2_batch_size": 8,
            "locations": 12, "diversity_patch": 2,
        },
    )  # fmt: skip
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("128 px, 50 landmarks, 20 + 20 epochs: for a GPU."),
        "small": Preset(
            "A narrow hourglass at 64 px, 30 landmarks: about 12 minutes on one core for some 3,300 images.",
            options=_NARROW,
            recipe=_SMALL,
        ),
        "shipped-faces": Preset("As small, of synthetic-faces: the weights that ship.", _NARROW, _SMALL),
        "shipped-faces-end-to-end": Preset(
            "F not pre-trained (table 6), trained by step 2 alone for 6 epochs: the baseline that ships.",
            _NARROW,
            {**_SMALL, "end_to_end": True, "step2_epochs": 6},
        ),
        "tiny": Preset(
            "As small, but shorter: about 4 minutes on one core for some 5,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "step1_epochs": 1, "step2_epochs": 1},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        **{
            f"k{count}": Preset(f"{count} landmarks (tables 3 and 4).", options={"landmarks": count})
            for count in (10, 20, 30, 50)
        },
        **{
            f"layer{layer}": Preset(f"Dense features of layer {layer} (figure 2).", options={"layer": layer})
            for layer in (1, 2, 3, 4)
        },
        "end-to-end": Preset("F is not pre-trained (table 6).", recipe={"end_to_end": True}),
    }
    stages = (
        "step 1: an hourglass learns features that move with the image (pixel contrast)",
        "step 2: a detector on top of them, frozen, learns landmarks that move with the image and keep apart",
    )

    def build(self, options: RahamanOptions) -> RahamanNetwork:
        return RahamanNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network: RahamanNetwork = initial_network(job, self.build)
        if not job.recipe.end_to_end:
            run_stage(job, _step_one(job, network))
        detection = _step_two(job, network)
        run_stage(job, detection)
        path = job.output / "weights.safetensors"
        detection.export(path, -1)
        return path


def _step_one(job: PretrainJob, network: RahamanNetwork) -> Stage:
    """Pixel contrast (equation 7) trains F."""
    recipe: RahamanRecipe = job.recipe
    network.train()
    deformation = Deformation(
        rotation=recipe.rotation,
        shear=recipe.shear,
        zoom=recipe.zoom,
        translation=recipe.translation,
        elastic=recipe.elastic,
    )

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        original, size = batch.images, (recipe.image_size, recipe.image_size)
        warps = random_warps(len(batch), deformation, generator).to(original.device)
        warped = warps.warp_images(original)
        before, after = corresponding_points(warps, size, recipe.locations, generator)
        warped = colour_jitter(warped, generator, recipe.brightness, recipe.contrast, saturation=0.0)
        if recipe.augment_original:
            original = colour_jitter(original, generator, recipe.brightness, recipe.contrast, saturation=0.0)
        both = share(features_at, torch.cat([original, warped]), torch.cat([before, after]))
        first, second = both.chunk(2)
        return {"loss": pixel_contrast_loss(first, second, recipe.temperature)}

    def features_at(images: Tensor, points: Tensor) -> Tensor:
        return sample_features(network.features(images), points, (recipe.image_size, recipe.image_size))

    # T is untrained as yet: whatever layer is asked for, it is F that these weights are read for.
    of_features = replace(job, options=job.options.model_copy(update={"layer": 1}))
    return Stage(
        name="step1",
        modules={"hourglass": network.hourglass},
        optimiser=_adam([network.hourglass], recipe),
        steps=steps_for(recipe.step1_epochs, len(job.images), recipe.step1_batch_size),
        batch_size=recipe.step1_batch_size,
        learning_rate=_decaying(recipe, len(job.images), recipe.step1_batch_size),
        losses=losses,
        export=export_weights(of_features, Rahaman.name, network, "step 1"),
    )


def _step_two(job: PretrainJob, network: RahamanNetwork) -> Stage:
    """Equivariance (equation 2), diversity (equation 3) and variance train T; F as well in the ablation."""
    recipe: RahamanRecipe = job.recipe
    network.train()
    trained: dict[str, nn.Module] = {"detector": network.detector}
    if recipe.end_to_end:
        trained["hourglass"] = network.hourglass
    else:
        network.hourglass.requires_grad_(False).eval()
    deformation = Deformation(rotation=recipe.rotation, elastic=recipe.elastic)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        warps = random_warps(len(batch), deformation, generator).to(batch.images.device)
        equivariance, diversity, variance = share_mean(terms, batch.images, warps)
        return {
            "loss": recipe.equivariance_weight * equivariance
            + recipe.diversity_weight * diversity
            + recipe.variance_weight * variance,
            "equivariance": equivariance,
            "diversity": diversity,
            "variance": variance,
        }

    def terms(original: Tensor, warps: TPSWarp) -> tuple[Tensor, Tensor, Tensor]:
        size = (recipe.image_size, recipe.image_size)
        probabilities, points = network.detect(torch.cat([original, warps.warp_images(original)]))
        in_original, in_warped = points.chunk(2)
        # Equation 2 holds for every deformation, hence for the one that turns the warped image into the original:
        # that one moves points in closed form.
        equivariance = equivariance_loss(in_original, warps.source_of(in_warped, size), size)
        diversity = diversity_loss(probabilities, recipe.diversity_patch)
        return equivariance, diversity, variance_loss(probabilities)

    return Stage(
        name="step2",
        modules=trained,
        optimiser=_adam(list(trained.values()), recipe),
        steps=steps_for(recipe.step2_epochs, len(job.images), recipe.step2_batch_size),
        batch_size=recipe.step2_batch_size,
        learning_rate=_decaying(recipe, len(job.images), recipe.step2_batch_size),
        losses=losses,
        export=export_weights(job, Rahaman.name, network, "step 2"),
    )


def _adam(modules: list[nn.Module], recipe: RahamanRecipe) -> torch.optim.Adam:
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _decaying(recipe: RahamanRecipe, images: int, batch_size: int) -> Callable[[int], float]:
    per_epoch = steps_for(1, images, batch_size)
    return lambda step: recipe.learning_rate * recipe.learning_rate_decay ** (step // per_epoch)
