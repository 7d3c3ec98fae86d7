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
from methods.contrast_recipe import ContrastRecipe
from methods.contrast_training import exporter, stage_one, stage_two

__all__ = ["ContrastLandmarks", "ContrastNetwork", "ContrastOptions", "ContrastRecipe"]

_NARROW: dict[str, Any] = {
    "backbone": "resnet18",
    "width": 32,
    "features": "projected",
    "projector_mode": "linear",
}
# Some thousand steps are too few for MoCo, whose keys come from networks long gone: on real faces its hypercolumn
# matched other people's faces worse (19.7 px of 70) than an untrained one (11.8). Contrast within the batch, through a
# head with batch norm, learns from the first step on: 15.9 px after 1,000 steps, 9.2 after 1,800 with twice the batch
# and the hue and grey of MoCo v2; the error of regression is then half of the untrained network's (7.3 to 15.5 %).
# The projector has to see faces as large as they are measured: trained on 48-pixel views it matched worse than the
# hypercolumn (13.4 to 10.7 px), on 96-pixel ones far better (6.6 to 9.2 px), as in the paper.
_SHORT: dict[str, Any] = {
    "stage1_image_size": 68,
    "stage1_objective": "nt_xent",
    "head_hidden": 512,
    "hue": 0.1,
    "grey": 0.2,
    "jpeg_noise": False,
    "batch_size": 256,
    "groups": 1,
    "learning_rate": 0.12,
    "temperature": 0.1,
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
    shipped_presets = ("shipped-faces",)
    rehearsal = Preset(
        "For the conformance suite.",
        options={"backbone": "resnet18", "width": 8, "features": "projected", "dim": 6},
        recipe={
            "image_size": 40, "margin": 4, "batch_size": 8, "groups": 2, "queue": 20, "stage1_epochs": 1,
            "stage2_batch_size": 8, "stage2_epochs": 1,
        },
    )  # fmt: skip
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("ResNet-50, 96 px, 800 epochs of CelebA: days on four GPUs."),
        "small": Preset(
            "Narrow ResNet-18, 48-pixel views in stage 1: about half an hour on one core for some 3,300 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 150, "stage2_epochs": 2},
        ),
        "shipped-faces": Preset(
            "As small, of the 5,000 images of synthetic-faces: the weights that ship.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 150, "stage2_epochs": 2},
        ),
        "tiny": Preset(
            "As small, but shorter: about 4 minutes on one core for some 5,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 12, "stage2_epochs": 1},
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
