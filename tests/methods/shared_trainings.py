"""Trainings of every method that are short enough to be run by one process and again by several.

``python -m tests.methods.shared_trainings FOLDER NAME ...`` runs some of them; a launcher starts it several times.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from bench.distributed import team_of
from bench.method import Method
from bench.options import build_options
from bench.seeds import seeded_initialisation
from bench.testing.rehearsal import IMAGES, Rehearsal
from bench.weights import Weights, read_weights, save_weights
from methods.contrast import ContrastLandmarks, ContrastNetwork
from methods.dve import DVE
from methods.lead import LEAD, LEADNetwork
from methods.rahaman import Rahaman
from methods.supervised import Supervised
from methods.thewlis import Thewlis
from tests.killing import Killer


class Training(NamedTuple):
    method: type[Method]
    options: dict[str, Any]
    recipe: dict[str, Any]
    changes: dict[str, Any]

    def run(self, folder: Path, **changes: Any) -> Path:
        options = build_options(self.method.Options, self.options, "options")
        recipe = build_options(self.method.Recipe, self.recipe, "recipe")
        job = Rehearsal(self.method, options, recipe).job(folder, images=smooth_images(recipe.image_size))
        job = replace(job, initial=_calm(self.method(), options, folder))
        return self.method().pretrain(replace(job, **{**self.changes, **changes}))


def smooth_images(side: int) -> Tensor:
    """Of many colours. On noise, whose images are alike to a network, batch norm blows up rounding errors."""
    coarse = torch.rand(IMAGES, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    return fine.clamp(0, 1).mul(255).to(torch.uint8)


def _calm(method: Method, options: Any, folder: Path) -> Weights | None:
    """Initial weights whose residual branches hardly count, as many train (Goyal et al., 2017, section 5.1).

    Gradients of deep narrow networks with batch norm explode at first; rounding errors then grow a hundredfold a step.

    Returns:
        None for networks that are not residual, and need nothing of the kind.
    """
    with seeded_initialisation(0, "calm"):
        network = method.build(options)
    if not isinstance(network, (LEADNetwork, ContrastNetwork)):
        return None
    for block in network.encoder.modules():
        if isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)
    path = folder / f"calm-{os.getpid()}.safetensors"
    save_weights(path, network, method=method.name, options=options.model_dump(mode="json"), provenance={})
    return read_weights(path)


def _lead(changes: dict[str, Any] | None = None, **recipe: Any) -> Training:
    options = {"backbone": "resnet18", "width": 8, "dim": 8, "fpn_width": 8, "fpn_merged": 8}
    common = {
        "image_size": 64,
        "view_size": 64,
        "stage2_view_size": 32,
        "batch_size": 11,  # two processes have 6 and 5 images of it
        "stage2_batch_size": 8,
        "learning_rate": 3e-4,
        "stage1_epochs": 10,
        "stage2_epochs": 2,
        "warmup_epochs": 0,
        "head_hidden": 32,
        "head_dim": 16,
        "stage2_learning_rate": 3e-4,
        "projection_dim": 8,
        "moco_queue": 20,
        "moco_dim": 8,
        "moco_momentum": 0.9,
    }
    return Training(LEAD, options, {**common, **recipe}, changes or {})


def _contrast(changes: dict[str, Any] | None = None, **recipe: Any) -> Training:
    options = {"backbone": "resnet18", "width": 8, "features": "projected", "dim": 6}
    common = {
        "image_size": 72,
        "margin": 4,
        "batch_size": 12,
        "learning_rate": 3e-4,
        "queue": 20,
        "ema": 0.9,
        "stage1_epochs": 10,
        "temperature": 0.2,
        "stage2_batch_size": 7,
        "stage2_epochs": 2,
    }
    return Training(ContrastLandmarks, options, {**common, **recipe}, changes or {})


TRAININGS = {
    "lead-byol": _lead(),
    "lead-moco": _lead(
        stage1_objective="moco", stage1_epochs=2, stage2_objective="equivariance", stage2_epochs=1
    ),
    "lead-nt_xent": _lead(stage1_objective="nt_xent", stage1_epochs=2, pairs="views", stage2_epochs=1),
    "lead-accumulated": _lead({"accumulate": 2}, stage1_epochs=2, batch_size=12, stage2_epochs=1),
    "lead-bfloat16": _lead({"precision": "bfloat16"}, stage1_epochs=2, stage2_epochs=1),
    "contrast-moco": _contrast(groups=4),
    "contrast-nt_xent": _contrast(stage1_objective="nt_xent", groups=1, head_hidden=32),
    "dve": Training(
        DVE,
        {"network": "smallnet", "dim": 8},
        {"image_size": 36, "margin": 4, "pairs": 6, "epochs": 2, "milestones": (1,), "learning_rate": 1e-5},
        {},
    ),
    "thewlis": Training(
        Thewlis,
        {"landmarks": 4},
        {"image_size": 24, "margin": 4, "batch_size": 7, "epochs": 2, "final_epochs": 1, "patch": 2},
        {},
    ),
    "rahaman": Training(
        Rahaman,
        {"widths": (4, 4, 6, 8), "dim": 8, "landmarks": 5},
        {
            "image_size": 16,
            "step1_epochs": 2,
            "step1_batch_size": 7,
            "step2_epochs": 2,
            "step2_batch_size": 7,
            "locations": 12,
            "diversity_patch": 2,
        },
        {},
    ),
    "supervised": Training(
        Supervised,
        {"network": "pooled", "landmarks": 5, "maps": 8, "input_size": 32},
        {"image_size": 32, "margin": 0, "batch_size": 7, "steps": 4},
        {},
    ),
}


class _Dying(Killer):
    """By SIGKILL, not only by an exception."""

    def hit(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, names: list[str]) -> None:
    """Run trainings, each in a folder of its name.

    Of ``name:stage:step:rank:killed``, and of ``...:failed``, that process ends when it has done so many steps.
    """
    with team_of("cpu") as team:
        for name, _, end in (text.partition(":") for text in names):
            changes: dict[str, Any] = {}
            if end:
                changes["checkpoint_seconds"] = -1.0
                stage, step, rank, how = end.split(":")
                if team.place.rank == int(rank):
                    changes["progress"] = {"killed": _Dying, "failed": Killer}[how](stage, int(step))
            TRAININGS[name].run(folder / name, **changes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
