"""A small ContrastLandmarks network, and a training of it on noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.method import PretrainJob
from bench.progress import Progress
from bench.seeds import seeded_initialisation
from methods.contrast import ContrastNetwork, ContrastOptions, ContrastRecipe

OPTIONS = ContrastOptions(backbone="resnet18", width=8, features="projected", dim=6)
RECIPE = ContrastRecipe(
    image_size=40,
    margin=4,
    batch_size=8,
    stage1_epochs=2,
    queue=20,
    ema=0.9,
    stage2_batch_size=8,
    stage2_epochs=2,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def job(output: Path, **changes: Any) -> PretrainJob:
    images = torch.randint(0, 256, (18, 3, 40, 40), dtype=torch.uint8, generator=generator())
    made = PretrainJob(
        images=images,
        options=OPTIONS,
        recipe=RECIPE,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "noise", "preset": "test", "images": 18},
    )
    return replace(made, **changes)


def built(at: PretrainJob) -> ContrastNetwork:
    with seeded_initialisation(at.seed, "initial weights"):
        return ContrastNetwork(at.options)
