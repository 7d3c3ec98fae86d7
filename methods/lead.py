"""LEAD: landmark estimation by aligning distributions of feature similarity.

Karmali et al., WACV 2022. Two stages, both without labels:

1. BYOL on whole images gives an encoder whose hypercolumns cluster by part (section 3.2).
2. The encoder is frozen, and a feature-pyramid decoder learns compact dense features whose similarities between
   two images follow those of the hypercolumns (section 3.3).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, MethodOptions, Preset, PretrainJob, Recipe
from bench.seeds import seeded_initialisation
from bench.weights import save_weights
from methods.augmentation import ViewSettings, random_views
from methods.networks.fpn import FPNDecoder
from methods.networks.heads import dense_head, mlp_head
from methods.networks.resnet import Backbone, ResNet, hypercolumn_levels, match_memory_format
from methods.objectives.byol import byol_loss, ema_momentum, update_ema
from methods.objectives.nt_xent import nt_xent_loss
from methods.objectives.similarity_distribution import similarity_distribution_loss
from methods.schedule import warmup_cosine
from methods.training import Batch, Stage, run_stage, steps_for

# Channel means and deviations of aligned CelebA, as DVE and ContrastLandmarks use them for all faces.
_FACE_MEAN, _FACE_STD = (0.5084, 0.4224, 0.3769), (0.2599, 0.2371, 0.2323)


class LEADOptions(MethodOptions):
    """The network, and which of its features are read."""

    backbone: Backbone = "resnet50"
    width: int = Field(default=64, ge=4, description="Channels of the stem; 64 is published.")
    features: Literal["compact", "hypercolumn"] = Field(
        default="compact", description="Stage 2's decoder output, or stage 1's hypercolumn."
    )
    dim: int = Field(
        default=64, ge=1, description="Size of the compact features: 64, 128 or 256 in the paper."
    )
    fpn_width: int = Field(default=256, ge=1, description="Laterals of the decoder (not given in the paper).")
    fpn_merged: int = Field(
        default=128, ge=1, description="Upsampling blocks of the decoder (Panoptic FPN's)."
    )


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

    stage1_objective: Literal["byol", "nt_xent"] = Field(
        default="byol", description="The paper's BYOL, or instance-level contrast within the batch."
    )
    stage1_epochs: int = 200
    ema_start: float = 0.99
    head_hidden: int = 4096
    head_dim: int = 256
    nt_xent_temperature: float = 0.2

    stage2_epochs: int = Field(default=20, description="Main text; the supplement says 10.")
    stage2_batch_size: int = 256
    stage2_learning_rate: float = Field(default=0.03, description="Not given in the paper; stage 1's.")
    stage2_view_size: int = 96
    temperature: float = Field(default=0.05, description="Of both similarity distributions (equation 2).")
    projection_dim: int = Field(
        default=256, description="Output of the discarded head g_D; 0: no head (Table 6)."
    )


class LEADNetwork(FeatureExtractor):
    """Encoder and decoder. Compact features at stride 4, or the encoder's hypercolumn; both defined at half the
    image's resolution (48x48 for 96-pixel images), where the papers regress landmarks."""

    stride = 4

    def __init__(self, options: LEADOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder = ResNet(options.backbone, options.width)
        channels = self.encoder.stage_channels
        self.decoder = FPNDecoder(channels, options.dim, options.fpn_width, options.fpn_merged)
        self.register_buffer("mean", torch.tensor(_FACE_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_FACE_STD)[:, None, None], persistent=False)
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        stages = self.encoder(self.normalise(images))
        if self.options.features == "hypercolumn":
            return self.feature_map(hypercolumn_levels(stages), images)
        return self.feature_map((self.decoder(stages),), images)

    def normalise(self, images: Tensor) -> Tensor:
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def feature_map(self, levels: tuple[Tensor, ...], images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        # ContrastLandmarks matches hypercolumns by the sum of the levels' cosines.
        kind: Literal["joint", "per_level"] = "joint" if len(levels) == 1 else "per_level"
        return FeatureMap(levels, (height // 2, width // 2), (height, width), kind)


# What a machine without a GPU can learn in minutes. Some hundred steps are too few for BYOL, whose target has
# hardly moved by then: contrast within the batch (the other column of Table 6) learns from the first step on.
_NARROW: dict[str, Any] = {"backbone": "resnet18", "width": 32, "fpn_width": 64, "fpn_merged": 64}
_SHORT: dict[str, Any] = {
    "image_size": 80,
    "view_size": 48,
    "min_crop": 0.2,
    "flip": 0.0,
    "blur_sigma_max": 1.0,
    "interpolation": "bilinear",
    "learning_rate": 0.12,
    "warmup_epochs": 1,
    "stage1_objective": "nt_xent",
    "nt_xent_temperature": 0.1,
    "head_hidden": 512,
    "head_dim": 128,
    "stage2_batch_size": 64,
}


class LEAD(Method):
    """The two-stage method."""

    name = "lead"
    summary = "Compact dense features distilled from a self-supervised hypercolumn (two stages, no labels)."
    reference = (
        "Karmali et al., LEAD: Self-Supervised Landmark Estimation by Aligning Distributions, WACV 2022"
    )
    Options = LEADOptions
    Recipe = LEADRecipe
    default_preset = "tiny"
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("ResNet-50, 96 px, 200 + 20 epochs of CelebA: days on one GPU."),
        "small": Preset(
            "Narrow ResNet-18, 48-pixel views: under 45 minutes on 2 cores for some 3,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 150, "stage2_epochs": 8},
        ),
        "tiny": Preset(
            "As small, but shorter: under 10 minutes on 2 cores for some 5,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 12, "stage2_epochs": 2},
        ),
    }

    def build(self, options: LEADOptions) -> LEADNetwork:
        return LEADNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        with seeded_initialisation(job.seed, "initial weights"):
            network = LEADNetwork(job.options).to(job.device)
        for stage in (_stage_one, _stage_two):
            with seeded_initialisation(job.seed, stage.__name__):
                prepared = stage(job, network)
            run_stage(job, prepared)
        path = job.output / "weights.safetensors"
        _export(job, network, "stage 2", path, -1)
        return path


def _stage_one(job: PretrainJob, network: LEADNetwork) -> Stage:
    """Instance-level learning of the encoder (section 3.2, equation 1)."""
    recipe: LEADRecipe = job.recipe
    channels = network.encoder.stage_channels[-1]
    online = nn.ModuleDict(
        {"encoder": network.encoder, "projector": mlp_head(channels, recipe.head_hidden, recipe.head_dim)}
    ).to(job.device)
    predictor = mlp_head(recipe.head_dim, recipe.head_hidden, recipe.head_dim).to(job.device)
    target = copy.deepcopy(online).requires_grad_(False)
    steps = steps_for(recipe.stage1_epochs, len(job.images), recipe.batch_size)
    one, two = _view_settings(recipe, recipe.view_size)

    def embed(net: nn.ModuleDict, views: Tensor) -> Tensor:
        return net["projector"](net["encoder"].pooled(network.normalise(views)))  # type: ignore[no-any-return, operator]

    def byol(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        images = batch.images
        first, second = random_views(images, one, generator), random_views(images, two, generator)
        with torch.no_grad():
            targets = embed(target, second), embed(target, first)
        # Symmetrised, as OpenSelfSup does; the paper's equation 1 is one of the two directions.
        predictions = predictor(embed(online, first)), predictor(embed(online, second))
        return {"loss": sum(byol_loss(p, t) for p, t in zip(predictions, targets, strict=True))}  # type: ignore[dict-item]

    def nt_xent(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        images = batch.images
        first, second = random_views(images, one, generator), random_views(images, two, generator)
        both = embed(online, torch.cat([first, second]))
        count = len(images)
        return {"loss": nt_xent_loss(both[:count], both[count:], recipe.nt_xent_temperature)}

    contrastive = recipe.stage1_objective == "nt_xent"
    trained: dict[str, nn.Module] = (
        {"online": online} if contrastive else {"online": online, "predictor": predictor}
    )
    parameters = [p for module in trained.values() for p in module.parameters()]
    return Stage(
        name="stage1",
        modules=trained if contrastive else {**trained, "target": target},
        optimiser=_sgd(parameters, recipe),
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=lambda step: warmup_cosine(
            step,
            steps,
            steps_for(recipe.warmup_epochs, len(job.images), recipe.batch_size),
            recipe.learning_rate,
        ),
        losses=nt_xent if contrastive else byol,
        after_step=(lambda _: None)
        if contrastive
        else (lambda step: update_ema(target, online, ema_momentum(step, steps, recipe.ema_start))),
        export=lambda path, step: _export(job, network, "stage 1", path, step),
    )


def _stage_two(job: PretrainJob, network: LEADNetwork) -> Stage:
    """Dense, compact features with the encoder frozen (section 3.3, equations 2 and 3)."""
    recipe: LEADRecipe = job.recipe
    network.encoder.requires_grad_(False).eval()
    network.decoder.train()
    dim = network.options.dim
    head = dense_head(dim, dim, recipe.projection_dim) if recipe.projection_dim else nn.Identity()
    head = head.to(job.device)
    steps = steps_for(recipe.stage2_epochs, len(job.images), recipe.stage2_batch_size)
    view, _ = _view_settings(recipe, recipe.stage2_view_size)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        views = random_views(batch.images, view, generator)
        with torch.no_grad():
            stages = network.encoder(network.normalise(views))
        student = head(network.decoder(stages))
        teacher = network.feature_map(hypercolumn_levels(stages), views).to(dtype=torch.float32)
        # Images i and j of equation 2: every image and the next of the shuffled batch.
        other = torch.arange(len(views)).roll(-1)
        loss = similarity_distribution_loss(
            student, student[other], teacher, teacher[other], recipe.temperature
        )
        return {"loss": loss}

    return Stage(
        name="stage2",
        modules={"decoder": network.decoder, "head": head},
        optimiser=_sgd([*network.decoder.parameters(), *head.parameters()], recipe),
        steps=steps,
        batch_size=recipe.stage2_batch_size,
        learning_rate=lambda step: warmup_cosine(
            step,
            steps,
            steps_for(recipe.warmup_epochs, len(job.images), recipe.stage2_batch_size),
            recipe.stage2_learning_rate,
        ),
        losses=losses,
        export=lambda path, step: _export(job, network, "stage 2", path, step),
    )


def _view_settings(recipe: LEADRecipe, size: int) -> tuple[ViewSettings, ViewSettings]:
    """BYOL's asymmetric pair: the second view is rarely blurred and sometimes solarised."""
    first = ViewSettings(
        size=size,
        crop_scale=(recipe.min_crop, 1.0),
        flip=recipe.flip,
        blur_sigma=(0.1, recipe.blur_sigma_max),
        interpolation=recipe.interpolation,
    )
    return first, ViewSettings(**{**first.__dict__, "blur": 0.1, "solarise": 0.2})


def _sgd(parameters: list[nn.Parameter], recipe: LEADRecipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _export(job: PretrainJob, network: LEADNetwork, stage: str, path: Path, step: int) -> None:
    # Weights of the first stage have no decoder worth reading: their features are the hypercolumn.
    features = "hypercolumn" if stage == "stage 1" else job.options.features
    options = {**job.options.model_dump(mode="json"), "features": features}
    provenance = {**job.provenance, "stage": stage, "step": step}
    save_weights(path, network, method="lead", options=options, provenance=provenance)
