"""ContrastLandmarks: equivariance emerges within a network that learns invariance of whole images.

Cheng et al., On Equivariant and Invariant Learning of Object Landmark Representations, ICCV 2021, with the settings
of the released code. Two stages, both without labels:

1. Momentum contrast on whole images (section 3.1). The outputs of the four stages of the residual network, brought
   to one size, are the landmark representation: the hypercolumn.
2. Where compact features are wanted, the encoder is frozen and its hypercolumn projected to few channels, so that
   within an image a place is like its surroundings and unlike all else (section 3.2).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from bench.method import Method, Preset, PretrainJob
from bench.training import initial_network, run_stage
from bench.weights import load_into
from methods.contrast_checkpoints import MOCO, PROJECTOR
from methods.contrast_network import ContrastNetwork, ContrastOptions
from methods.contrast_training import ContrastRecipe, exporter, stage_one, stage_two

__all__ = ["ContrastLandmarks", "ContrastNetwork", "ContrastOptions", "ContrastRecipe"]

_NARROW: dict[str, Any] = {
    "backbone": "resnet18",
    "width": 32,
    "features": "projected",
    "projector_mode": "linear",
}
# In some thousand steps a slow average and a long queue give keys of networks long gone. Measured on real faces (views
# of half this size, 600 steps), 363 unseen images recognised in another view: 5 % untrained, 5.5 % with temperature
# 0.07, average 0.99 and queue 1024; 9 % with 0.2, 0.9 and 1024; 11 % with 0.2, 0.5 and 512. Views that share more of
# the image raise 8.5 % to 13 %. A linear projection matches faces better than the soft-max at this resolution.
# Even so, 2,000 steps are too few for MoCo here: its features match other people's faces worse than untrained ones
# (hypercolumn: 19.7 px of 70 against 11.8; 23.5 after 1,000 steps), where contrast within the batch and a head with
# batch norm are past them after some hundred. More steps, or another first stage, are needed to say more.
_SHORT: dict[str, Any] = {
    "image_size": 68,
    "margin": 10,
    "min_crop": 0.4,
    "jpeg_noise": False,
    "batch_size": 128,
    "groups": 1,
    "learning_rate": 0.12,
    "temperature": 0.2,
    "queue": 512,
    "ema": 0.5,
    "stage2_learning_rate": 0.01,
}


def _released(dim: int) -> dict[str, Any]:
    return {"features": "projected", "dim": dim, "projector_mode": "softmax"}


def _projected(dim: int) -> Preset:
    return Preset(f"{dim}-d projection as released (+Proj.).", _released(dim))


def _linear(dim: int) -> Preset:
    return Preset(
        f"{dim}-d projection as the supplement words it: linear, temperature 1/7, no augmentation.",
        {"features": "projected", "dim": dim, "projector_mode": "linear"},
        {"stage2_temperature": 1 / 7, "stage2_augmentation": False},
    )


def _untrained(dim: int) -> Preset:
    return Preset(
        f"{dim}-d projection of a random encoder (tables 4 and 5).",
        _released(dim),
        {"stage1_epochs": 0},
    )


class ContrastLandmarks(Method):
    """The two-stage method."""

    name = "contrast"
    summary = "Hypercolumns of a network trained by momentum contrast; optionally projected to few channels."
    reference = (
        "Cheng et al., On Equivariant and Invariant Learning of Object Landmark Representations, ICCV 2021"
    )
    Options = ContrastOptions
    Recipe = ContrastRecipe
    default_preset = "tiny"
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("ResNet-50, 96 px, 800 epochs of CelebA: days on four GPUs."),
        "small": Preset(
            "Narrow ResNet-18, 48-pixel views: about 12 minutes on one core for some 3,300 images. Too short for "
            "MoCo: untrained features still match better.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 80, "stage2_epochs": 10},
        ),
        "tiny": Preset(
            "As small, but shorter: about 4 minutes on one core for some 5,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 18, "stage2_epochs": 2},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "resnet18": Preset("ResNet-18 (tables 2, 4 and 5).", {"backbone": "resnet18", "width": 64}),
        "resnet50half": Preset(
            "ResNet-50 of half the width (tables 2, 4 and 5).", {"backbone": "resnet50half", "width": 64}
        ),
        "resnet50": Preset("ResNet-50 (all tables).", {"backbone": "resnet50", "width": 64}),
        "hypercolumn": Preset("All four stages; stage 1 only.", {"features": "hypercolumn"}),
        "conv4": Preset("The third stage alone, stage 1 only (tables 1 and 7).", {"features": "conv4"}),
        **{f"projected-{dim}": _projected(dim) for dim in (64, 128, 256, 512, 1280)},
        **{f"linear-{dim}": _linear(dim) for dim in (64, 128, 256, 512, 1280)},
        **{f"untrained-{dim}": _untrained(dim) for dim in (64, 128, 256)},
        "128px": Preset(
            "128-pixel views (table 3); the frame, not given, keeps the proportion of 136 to 96.",
            recipe={"image_size": 182, "margin": 27},
        ),
        "birds": Preset(
            "For birds: 96-pixel frames without margin, ImageNet's colours (table 8).",
            {"colours": "imagenet"},
            {"image_size": 96, "margin": 0},
        ),
    }
    stages = (
        "stage1: momentum contrast of whole images trains the encoder",
        "stage2: with features=projected, the frozen hypercolumn is projected to few channels by the equivariance "
        "loss; else left out",
    )
    checkpoint_formats = (MOCO, PROJECTOR)

    def build(self, options: ContrastOptions) -> ContrastNetwork:
        return ContrastNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network = _initial_network(job, self)
        if job.recipe.stage1_epochs:
            run_stage(job, stage_one(job, network))
        projected = job.options.features == "projected"
        if projected:
            run_stage(job, stage_two(job, network))
        path = job.output / "weights.safetensors"
        exporter(job, network, "stage 2" if projected else "stage 1")(path, -1)
        return path


def _initial_network(job: PretrainJob, method: ContrastLandmarks) -> ContrastNetwork:
    initial = job.initial
    if (
        initial is None
        or initial.options.get("features") == "projected"
        or job.options.features != "projected"
    ):
        network: ContrastNetwork = initial_network(job, method.build)
        return network
    # Weights of stage 1, for example released ones: the projector starts anew.
    network = initial_network(replace(job, initial=None), method.build)
    load_into(network.without_projector(), initial)
    return network
