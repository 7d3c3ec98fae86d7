"""ContrastLandmarks' two stages: momentum contrast of whole images, and the projection of the hypercolumn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.method import PretrainJob
from bench.seeds import seeded_initialisation
from bench.sharing import share_groups, share_mean
from bench.training import Batch, Stage, export_weights, steps_for
from methods.contrast_network import EMBEDDING, ContrastNetwork
from methods.contrast_recipe import (
    PROJECTOR_STRIDE,
    ContrastRecipe,
    plain_view,
    random_view,
    require_fitting_views,
    shrunk,
)
from methods.networks.heads import mlp_head
from methods.networks.resnet import ResNet
from methods.objectives.byol import update_ema
from methods.objectives.equivariant_similarity import equivariant_similarity_loss
from methods.objectives.moco import MoCoQueue, moco_loss
from methods.objectives.nt_xent import nt_xent_loss
from methods.schedule import epoch_cosine


def stage_one(job: PretrainJob, network: ContrastNetwork) -> Stage:
    """Invariance of whole images trains the encoder (section 3.1)."""
    recipe: ContrastRecipe = job.recipe.of_stage_one()
    require_fitting_views(recipe)
    online = _Embedding(network.encoder.train(), recipe, job)
    objectives = {"moco": _momentum_contrast, "nt_xent": _contrast_within_batch}
    objective = objectives[recipe.stage1_objective](job, network, online)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return objective.losses(replace(batch, images=shrunk(batch.images, recipe.image_size)), generator)

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
        losses=losses,
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
        return torch.cat(share_groups(self._embed, images.tensor_split(groups), self)).float()

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
    recipe: ContrastRecipe = job.recipe.of_stage_one()
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
    recipe: ContrastRecipe = job.recipe.of_stage_one()

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        views = torch.cat([random_view(batch.images, recipe, generator) for _ in range(2)])
        first, second = online(network.normalise(views)).chunk(2)
        return {"loss": nt_xent_loss(first, second, recipe.temperature)}

    return _Objective(losses)


def stage_two(job: PretrainJob, network: ContrastNetwork) -> Stage:
    """The projection of the frozen hypercolumn in which a cell is like its neighbours only (equation 3)."""
    recipe: ContrastRecipe = job.recipe
    require_fitting_views(recipe)
    projector = network.projector
    assert projector is not None
    network.encoder.requires_grad_(False).eval()
    projector.train()
    temperature = recipe.stage2_temperature or (1 / 8 if network.options.dim == 64 else 1 / 7)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        view = random_view if recipe.stage2_augmentation else plain_view
        return {"loss": share_mean(distances, view(batch.images, recipe, generator))}

    def distances(images: Tensor) -> Tensor:
        side = images.shape[-1] // PROJECTOR_STRIDE
        with torch.no_grad():
            hypercolumn = network.hypercolumn(images).defined_at((side, side))
        with torch.autocast(images.device.type, enabled=False):  # a soft-max over hundreds of cells follows
            maps = projector(hypercolumn.to(dtype=torch.float32))
        return equivariant_similarity_loss(maps, PROJECTOR_STRIDE, temperature, recipe.stage2_power)

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


def exporter(job: PretrainJob, network: ContrastNetwork, stage: str) -> Callable[..., None]:
    """A stage's ``export``, with the options of the network that it writes."""
    return export_weights(replace(job, options=network.options), "contrast", network, stage)


def _schedule(
    job: PretrainJob, epochs: int, batch_size: int, peak: float, floor: float = 0.0
) -> tuple[int, Callable[[int], float]]:
    """The number of steps, and the learning rate of a step."""
    per_epoch = steps_for(1, len(job.images), batch_size)
    return epochs * per_epoch, lambda step: epoch_cosine(step, per_epoch, epochs, peak, floor)
