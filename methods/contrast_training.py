"""ContrastLandmarks' two stages: momentum contrast of whole images, and the projection of the hypercolumn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.method import PretrainJob, Recipe
from bench.seeds import seeded_initialisation
from bench.training import Batch, Stage, export_weights, steps_for
from methods.augmentation import ViewSettings, random_views
from methods.contrast_network import EMBEDDING, ContrastNetwork
from methods.networks.heads import mlp_head
from methods.networks.resnet import ResNet
from methods.objectives.byol import update_ema
from methods.objectives.equivariant_similarity import equivariant_similarity_loss
from methods.objectives.moco import MoCoQueue, moco_loss
from methods.objectives.nt_xent import nt_xent_loss
from methods.photometric import colour_jitter, jpeg_noise, pca_lighting
from methods.schedule import epoch_cosine

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


def stage_one(job: PretrainJob, network: ContrastNetwork) -> Stage:
    """Invariance of whole images trains the encoder (section 3.1)."""
    recipe: ContrastRecipe = job.recipe
    _check(recipe)
    online = _Embedding(network.encoder.train(), recipe, job)
    objectives = {"moco": _momentum_contrast, "nt_xent": _contrast_within_batch}
    objective = objectives[recipe.stage1_objective](job, network, online)
    steps, learning_rate = _schedule(job, recipe.stage1_epochs, recipe.batch_size, recipe.learning_rate)
    return Stage(
        name="stage1",
        modules={"online": online, **objective.modules},
        optimiser=torch.optim.SGD(
            online.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        ),
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=learning_rate,
        losses=objective.losses,
        after_step=objective.after_step,
        export=exporter(job, network.without_projector(), "stage 1"),
    )


class _Embedding(nn.Module):
    """(B, 3, H, W), normalised -> (B, D): the pooled last stage through a head, in float32.

    As on the paper's four GPUs, ``recipe.groups`` parts of a batch have statistics of their own.
    """

    def __init__(self, encoder: ResNet, recipe: ContrastRecipe, job: PretrainJob) -> None:
        super().__init__()
        self.encoder, self.groups = encoder, recipe.groups
        self.hidden_head: nn.Module | None = None
        if recipe.head_hidden:
            with seeded_initialisation(job.seed, "head"):
                self.hidden_head = mlp_head(encoder.stage_channels[-1], recipe.head_hidden, EMBEDDING)
            self.hidden_head.to(job.device)

    def forward(self, images: Tensor) -> Tensor:
        # At least two images a group, below which batch norm has no statistics of its deepest maps.
        groups = max(1, min(self.groups, len(images) // 2))
        return torch.cat([self._embed(part) for part in images.tensor_split(groups)]).float()

    def _embed(self, images: Tensor) -> Tensor:
        head = self.hidden_head or self.encoder.fc
        assert head is not None
        embedding: Tensor = head(self.encoder.pooled(images))
        return embedding


@dataclass(frozen=True, eq=False)
class _Objective:
    """What a stage-1 objective adds to the loop, beside the network that learns."""

    losses: Callable[[Batch, torch.Generator], dict[str, Tensor]]
    modules: dict[str, nn.Module] = field(default_factory=dict)
    after_step: Callable[[int], None] = field(default=lambda _: None)


def _momentum_contrast(job: PretrainJob, network: ContrastNetwork, online: _Embedding) -> _Objective:
    """Two views of an image are more alike than it and the images of the queue."""
    recipe: ContrastRecipe = job.recipe
    average = copy.deepcopy(online).requires_grad_(False)
    with seeded_initialisation(job.seed, "queue"):
        queue = MoCoQueue(recipe.queue, EMBEDDING).to(job.device)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        first, second = (random_view(batch.images, recipe, generator) for _ in range(2))
        query = F.normalize(online(network.normalise(first)), dim=1)
        with torch.no_grad():
            # Batch norm takes the statistics of the batch here too, as released. A query must not recognise its key
            # by them, so keys are normalised in other company (MoCo, section 3.3, shuffling batch norm).
            order = torch.randperm(len(batch), generator=generator).to(second.device)
            shuffled = F.normalize(average(network.normalise(second[order])), dim=1)
            key = torch.empty_like(shuffled).index_copy_(0, order, shuffled)
        loss = moco_loss(query, key, queue.memory, recipe.temperature)
        queue.enqueue(key)
        return {"loss": loss}

    return _Objective(
        losses, {"average": average, "queue": queue}, lambda _: update_ema(average, online, recipe.ema)
    )


def _contrast_within_batch(job: PretrainJob, network: ContrastNetwork, online: _Embedding) -> _Objective:
    """Two views of an image are more alike than those of two images of the batch."""
    recipe: ContrastRecipe = job.recipe

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        views = torch.cat([random_view(batch.images, recipe, generator) for _ in range(2)])
        first, second = online(network.normalise(views)).chunk(2)
        return {"loss": nt_xent_loss(first, second, recipe.temperature)}

    return _Objective(losses)


def stage_two(job: PretrainJob, network: ContrastNetwork) -> Stage:
    """The projection of the frozen hypercolumn in which a cell is like its neighbours only (equation 3)."""
    recipe: ContrastRecipe = job.recipe
    _check(recipe)
    projector = network.projector
    assert projector is not None
    network.encoder.requires_grad_(False).eval()
    projector.train()
    temperature = recipe.stage2_temperature or (1 / 8 if network.options.dim == 64 else 1 / 7)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        view = random_view if recipe.stage2_augmentation else plain_view
        images = view(batch.images, recipe, generator)
        side = images.shape[-1] // PROJECTOR_STRIDE
        with torch.no_grad():
            hypercolumn = network.hypercolumn(images).defined_at((side, side))
        with torch.autocast(images.device.type, enabled=False):  # a soft-max over hundreds of cells follows
            maps = projector(hypercolumn.to(dtype=torch.float32))
        loss = equivariant_similarity_loss(maps, PROJECTOR_STRIDE, temperature, recipe.stage2_power)
        return {"loss": loss}

    peak = recipe.stage2_learning_rate
    steps, learning_rate = _schedule(
        job, recipe.stage2_epochs, recipe.stage2_batch_size, peak, floor=0.0008 * peak
    )
    return Stage(
        name="stage2",
        modules={"projector": projector},
        optimiser=torch.optim.Adam(
            projector.parameters(), lr=peak, betas=(0.5, 0.999), weight_decay=recipe.stage2_weight_decay
        ),
        steps=steps,
        batch_size=recipe.stage2_batch_size,
        learning_rate=learning_rate,
        losses=losses,
        export=exporter(job, network, "stage 2"),
    )


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


def exporter(job: PretrainJob, network: ContrastNetwork, stage: str) -> Callable[..., None]:
    """A stage's ``export``, with the options of the network that it writes."""
    return export_weights(replace(job, options=network.options), "contrast", network, stage)


def _schedule(
    job: PretrainJob, epochs: int, batch_size: int, peak: float, floor: float = 0.0
) -> tuple[int, Callable[[int], float]]:
    """The number of steps, and the learning rate of a step."""
    per_epoch = steps_for(1, len(job.images), batch_size)
    return epochs * per_epoch, lambda step: epoch_cosine(step, per_epoch, epochs, peak, floor)


def _check(recipe: ContrastRecipe) -> None:
    side = recipe.view_size()
    if side <= 0 or side % PROJECTOR_STRIDE:
        raise BenchError(
            f"frames of {recipe.image_size} px without margins of {recipe.margin} px are {side} px wide, not a "
            f"multiple of {PROJECTOR_STRIDE}",
            hint="Change image_size or margin: 136 and 20 for faces, 96 and 0 for birds, as published.",
        )
