"""A method that keeps every promise, and is so small that the whole conformance suite takes it a second."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, MethodOptions, Preset, PretrainJob, Recipe
from bench.seeds import seeded_initialisation
from bench.training import Batch, Stage, export_weights, initial_network, run_stage

TRAINING = {"image_size": 16, "steps": 4, "batch_size": 8}


class HonestOptions(MethodOptions):
    """Made up for tests."""

    width: int = Field(default=4, ge=2, description="Channels.")


class HonestRecipe(Recipe):
    """Made up for tests."""

    steps: int = 100
    batch_size: int = 16


class HonestNetwork(FeatureExtractor):
    """Two convolutions, whose channels are also read as the heatmaps of landmarks."""

    capabilities = frozenset({"dense", "landmarks"})
    stride = 2
    shift_period: int | None = 2
    # 1 and 2 pixels of the two kernels, and half a pixel from the middle of the first to that of its cell.
    receptive_radius: int | None = 4

    def __init__(self, options: HonestOptions) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, options.width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(options.width)
        self.last = nn.Conv2d(options.width, options.width, 3, padding=1)

    def levels(self, images: Tensor) -> Tensor:
        level: Tensor = self.last(self.norm(self.first(images)).relu())
        return level

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((self.levels(images),), (height // 2, width // 2), (height, width))

    def landmarks(self, images: Tensor) -> Tensor:
        features = self(images)
        (level,) = features.levels
        rows, columns = level.shape[-2:]
        heat = level.flatten(2).softmax(2).reshape(level.shape)
        i = (heat.sum(3) * torch.arange(rows)).sum(2)
        j = (heat.sum(2) * torch.arange(columns)).sum(2)
        centres: Tensor = features.centres(torch.stack([j, i], dim=2))
        return centres


class Honest(Method):
    name = "honest"
    summary = "Keeps every promise."
    reference = "Made up for tests"
    Options = HonestOptions
    Recipe = HonestRecipe
    default_preset: ClassVar[str | None] = "paper"
    presets: ClassVar[dict[str, Preset]] = {"paper": Preset("Seconds.")}
    variants: ClassVar[dict[str, Preset]] = {"wide": Preset("Twice as wide.", options={"width": 8})}
    network: ClassVar[type[HonestNetwork]] = HonestNetwork

    def build(self, options: HonestOptions) -> FeatureExtractor:
        return self.network(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network = initial_network(job, self.build)
        run_stage(job, self.stage(job, network))
        path = job.output / "weights.safetensors"
        export_weights(job, self.name, network, "only")(path, -1)
        return path

    def stage(self, job: PretrainJob, network: HonestNetwork) -> Stage:
        """Learns to tell the colour of a noisy image; the head averages itself, as a state beyond parameters."""
        with seeded_initialisation(job.seed, "head"):
            head = nn.Sequential(nn.Conv2d(job.options.width, 3, 1), nn.BatchNorm2d(3, momentum=None))

        def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            noise = torch.rand(batch.images.shape, generator=generator)
            guess = head(network.levels(batch.images + 0.1 * noise)).mean((2, 3))
            return {"loss": (guess - batch.images.mean((2, 3))).square().mean()}

        return Stage(
            name="only",
            modules={"network": network, "head": head},
            optimiser=torch.optim.SGD([*network.parameters(), *head.parameters()], momentum=0.9),
            steps=job.recipe.steps,
            batch_size=job.recipe.batch_size,
            learning_rate=lambda _: 0.1,
            losses=losses,
            export=export_weights(job, self.name, network, "only"),
        )
