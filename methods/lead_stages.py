"""LEAD's two stages: instance-level learning of the encoder, and the reduction of its hypercolumn.

Both stages have the objectives of the paper's grid (table 6): LEAD's own and those of ContrastLandmarks (CL).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.features import FeatureMap
from bench.method import PretrainJob
from bench.seeds import derive_seed, seeded_initialisation, torch_generator
from bench.sharing import share, share_mean
from bench.training import Batch, Stage, export_weights
from methods.augmentation import random_views
from methods.lead_network import LEADNetwork
from methods.lead_recipe import LEADRecipe, schedule, sgd, two_views, view_settings
from methods.networks.heads import dense_head, mlp_head
from methods.networks.nonnegative import nonnegative_components
from methods.networks.resnet import hypercolumn_levels
from methods.objectives.byol import byol_loss, ema_momentum, update_ema
from methods.objectives.equivariant_similarity import equivariant_similarity_loss
from methods.objectives.moco import MoCoQueue, moco_loss
from methods.objectives.nt_xent import nt_xent_loss
from methods.objectives.similarity_distribution import similarity_distribution_loss

Losses = Callable[[Batch, torch.Generator], dict[str, Tensor]]


def stage_one(job: PretrainJob, network: LEADNetwork) -> Stage:
    """Instance-level learning of the encoder (section 3.2, equation 1)."""
    recipe: LEADRecipe = job.recipe
    steps, learning_rate = schedule(job, recipe.stage1_epochs, recipe.batch_size, recipe.learning_rate)
    objectives = {"byol": _byol, "moco": _moco, "nt_xent": _nt_xent}
    # The purpose is the name under which weights were first trained; it decides their initial values.
    with seeded_initialisation(job.seed, "_stage_one"):
        objective = objectives[recipe.stage1_objective](recipe, network, steps)
    for module in objective.modules.values():
        module.to(job.device)
    return Stage(
        name="stage1",
        modules=objective.modules,
        optimiser=sgd([objective.modules[name] for name in objective.trained], recipe),
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=learning_rate,
        losses=objective.losses,
        after_step=objective.after_step,
        export=exporter(job, network.hypercolumn_network(), "stage 1"),
    )


@dataclass(frozen=True, eq=False)
class _Objective:
    """What a stage-1 objective adds to the loop; ``trained`` names the modules that the optimiser moves."""

    modules: dict[str, nn.Module]
    trained: tuple[str, ...]
    losses: Losses
    after_step: Callable[[int], None] = field(default=lambda _: None)


def _byol(recipe: LEADRecipe, network: LEADNetwork, steps: int) -> _Objective:
    channels = network.encoder.stage_channels[-1]
    online = _Embedding(network, mlp_head(channels, recipe.head_hidden, recipe.head_dim))
    predictor = mlp_head(recipe.head_dim, recipe.head_hidden, recipe.head_dim)
    target = copy.deepcopy(online).requires_grad_(False)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        first, second = two_views(recipe, recipe.view_size, batch, generator)
        with torch.no_grad():
            targets = share(target, second), share(target, first)
        # Symmetrised, as OpenSelfSup does; the paper's equation 1 is one of the two directions.
        forward, backward = predictor(share(online, first)), predictor(share(online, second))
        return {"loss": byol_loss(forward, targets[0]) + byol_loss(backward, targets[1])}

    def follow(step: int) -> None:
        update_ema(target, online, ema_momentum(step, steps, recipe.ema_start))

    modules = {"online": online, "predictor": predictor, "target": target}
    return _Objective(modules, ("online", "predictor"), losses, follow)


def _moco(recipe: LEADRecipe, network: LEADNetwork, steps: int) -> _Objective:
    """CL's first stage: a linear head, a queue, and a moving average of the parameters at a constant pace."""
    del steps
    online = _Embedding(network, nn.Linear(network.encoder.stage_channels[-1], recipe.moco_dim))
    target = copy.deepcopy(online).requires_grad_(False)
    queue = MoCoQueue(recipe.moco_queue, recipe.moco_dim)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        first, second = two_views(recipe, recipe.view_size, batch, generator)
        query = F.normalize(share(online, first).float(), dim=1)
        with torch.no_grad():
            key = F.normalize(share(target, second).float(), dim=1)
        loss = moco_loss(query, key, queue.memory, recipe.moco_temperature)
        queue.enqueue(key)
        return {"loss": loss}

    modules = {"online": online, "target": target, "queue": queue}
    return _Objective(
        modules, ("online",), losses, lambda _: update_ema(target, online, recipe.moco_momentum)
    )


def _nt_xent(recipe: LEADRecipe, network: LEADNetwork, steps: int) -> _Objective:
    del steps
    channels = network.encoder.stage_channels[-1]
    online = _Embedding(network, mlp_head(channels, recipe.head_hidden, recipe.head_dim))

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        both = share(online, torch.cat(two_views(recipe, recipe.view_size, batch, generator)))
        first, second = both.chunk(2)
        return {"loss": nt_xent_loss(first, second, recipe.nt_xent_temperature)}

    return _Objective({"online": online}, ("online",), losses)


def stage_two(job: PretrainJob, network: LEADNetwork) -> Stage:
    """Dense, compact features with the encoder frozen (section 3.3, equations 2 and 3)."""
    recipe: LEADRecipe = job.recipe
    decoder = network.decoder
    assert decoder is not None
    network.encoder.requires_grad_(False).eval()
    decoder.train()
    size, batch_size = recipe.stage2_view_size, recipe.stage2_batch_size
    steps, learning_rate = schedule(job, recipe.stage2_epochs, batch_size, recipe.stage2_learning_rate)
    with seeded_initialisation(job.seed, "_stage_two"):
        head = _projection_head(recipe, network.options.dim).to(job.device)

    def distribution(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        if recipe.pairs == "views":
            views = torch.cat(two_views(recipe, size, batch, generator))
            shift = len(batch)
        else:
            views = random_views(batch.images, view_settings(recipe, size)[0], generator)
            shift = 1
        student, teacher = share(student_and_teacher, views)
        # The partner of an image is the next of the shuffled batch, that of a view the other view.
        other = torch.arange(len(views)).roll(-shift)
        return {"loss": share_mean(alignment, student, student[other], teacher, teacher[other])}

    def student_and_teacher(views: Tensor) -> tuple[Tensor, FeatureMap]:
        with torch.no_grad():
            stages = network.encoder(network.normalise(views))
        student = head(decoder(stages))
        teacher = network.feature_map(hypercolumn_levels(stages), views).to(dtype=torch.float32)
        return student, teacher

    def alignment(one: Tensor, two: Tensor, teacher_one: FeatureMap, teacher_two: FeatureMap) -> Tensor:
        return similarity_distribution_loss(one, two, teacher_one, teacher_two, recipe.temperature)

    def equivariance(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        views = random_views(batch.images, view_settings(recipe, size)[0], generator)
        return {"loss": share_mean(distances, views)}

    def distances(views: Tensor) -> Tensor:
        with torch.no_grad():
            stages = network.encoder(network.normalise(views))
        # On the decoder's output itself: CL has no head.
        return equivariant_similarity_loss(decoder(stages), network.stride, recipe.equivariance_temperature)

    return Stage(
        name="stage2",
        modules={"decoder": decoder, "head": head},
        optimiser=sgd([decoder, head], recipe),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        losses=distribution if recipe.stage2_objective == "lead" else equivariance,
        export=exporter(job, network, "stage 2"),
    )


def factorise(job: PretrainJob, network: LEADNetwork) -> None:
    """The baseline's second stage: non-negative parts of hypercolumns at random places of random images."""
    recipe: LEADRecipe = job.recipe
    generator = torch_generator(job.seed, "nmf", "sample")
    # A few places of an image say more than their neighbours; many images say more still.
    chosen = torch.randperm(len(job.images), generator=generator)[: max(1, recipe.nmf_pixels // 16)]
    places = -(-recipe.nmf_pixels // len(chosen))
    side = job.images.shape[-1]
    extractor = network.hypercolumn_network()
    parts = []
    for indices in job.progress.track(chosen.split(64), "hypercolumns", total=-(-len(chosen) // 64)):
        points = torch.rand(len(indices), places, 2, generator=generator) * side
        features = extractor.extract(job.images[indices].to(job.device))
        parts.append(features.sample(points).flatten(0, 1).cpu())
    sample = torch.cat(parts)[: recipe.nmf_pixels]
    dim = network.options.dim
    job.progress.say(f"factorising {len(sample)} hypercolumns into {dim} parts")
    seed = derive_seed(job.seed, "nmf", "initial factors")
    assert network.factors is not None
    components = network.factors.get_buffer("components")
    components.copy_(nonnegative_components(sample, dim, recipe.nmf_iterations, seed))


def exporter(job: PretrainJob, network: LEADNetwork, stage: str) -> Callable[..., None]:
    """A stage's ``export``, with the options of the network that it writes."""
    return export_weights(replace(job, options=network.options), "lead", network, stage)


class _Embedding(nn.Module):
    """(B, 3, H, W) -> (B, D): the encoder's last stage, averaged over the image, through a head."""

    def __init__(self, network: LEADNetwork, head: nn.Module) -> None:
        super().__init__()
        self.normalise, self.encoder, self.head = network.normalise, network.encoder, head

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.head(self.encoder.pooled(self.normalise(images)))
        return embedding


def _projection_head(recipe: LEADRecipe, dim: int) -> nn.Module:
    if recipe.stage2_objective == "equivariance" or not recipe.projection_dim:
        return nn.Identity()
    return dense_head(dim, dim, recipe.projection_dim)
