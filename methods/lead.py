"""LEAD: landmark estimation by aligning distributions of feature similarity.

Karmali et al., WACV 2022. Two stages, both without labels:

1. BYOL on whole images gives an encoder whose hypercolumns cluster by part (section 3.2).
2. The encoder is frozen, and a feature-pyramid decoder learns compact dense features whose similarities between
   two images follow those of the hypercolumns (section 3.3).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from bench.method import Method, Preset, PretrainJob
from bench.training import initial_network, run_stage
from bench.weights import load_into
from methods.lead_network import LEADNetwork, LEADOptions
from methods.lead_recipe import LEADRecipe
from methods.lead_stages import exporter, factorise, stage_one, stage_two
from methods.openselfsup import BYOL_TRAINING, EXTRACTED_BACKBONE

__all__ = ["LEAD", "LEADNetwork", "LEADOptions", "LEADRecipe"]

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
    "moco_momentum": 0.99,
    "stage2_batch_size": 64,
}

_CL1, _BYOL = {"stage1_objective": "moco"}, {"stage1_objective": "byol"}
_CL2, _LEAD = {"stage2_objective": "equivariance"}, {"stage2_objective": "lead"}


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
    shipped_presets = ("shipped-faces",)
    rehearsal = Preset(
        "For the conformance suite.",
        options={"backbone": "resnet18", "width": 8, "dim": 8, "fpn_width": 8, "fpn_merged": 8},
        recipe={
            "image_size": 32, "view_size": 32, "stage2_view_size": 32, "batch_size": 8, "stage2_batch_size": 8,
            "stage1_epochs": 1, "stage2_epochs": 1, "head_hidden": 16, "head_dim": 8, "projection_dim": 8,
        },
    )  # fmt: skip
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("ResNet-50, 96 px, 200 + 20 epochs of CelebA: days on one GPU."),
        "small": Preset(
            "Narrow ResNet-18, 48-pixel views: under 45 minutes on 2 cores for some 3,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 150, "stage2_epochs": 8},
        ),
        "shipped-faces": Preset(
            "As small, of the 5,000 images of synthetic-faces: the weights that ship.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 150, "stage2_epochs": 8},
        ),
        "tiny": Preset(
            "As small, but shorter: under 10 minutes on 2 cores for some 5,000 images.",
            options=_NARROW,
            recipe={**_SHORT, "stage1_epochs": 12, "stage2_epochs": 2},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "byol-lead": Preset("LEAD itself (table 6, last row).", recipe={**_BYOL, **_LEAD}),
        "cl-lead": Preset(
            "ContrastLandmarks' first stage, LEAD's second (table 6).", recipe={**_CL1, **_LEAD}
        ),
        "byol-cl": Preset(
            "LEAD's first stage, ContrastLandmarks' second (table 6).", recipe={**_BYOL, **_CL2}
        ),
        "cl-cl": Preset(
            "Both stages of ContrastLandmarks, LEAD's networks (table 6).", recipe={**_CL1, **_CL2}
        ),
        "byol-nmf-64": Preset(
            "Hypercolumn, factorised to 64 non-negative parts (table 1).",
            {"features": "nmf", "dim": 64},
            _BYOL,
        ),
        "byol-nmf-256": Preset(
            "Hypercolumn, factorised to 256 non-negative parts (table 1).",
            {"features": "nmf", "dim": 256},
            _BYOL,
        ),
        "hypercolumn": Preset("Stage 1 only (tables 1, 2 and 5, 3840-d).", {"features": "hypercolumn"}),
        "dim-64": Preset("64-d features (table 4).", {"dim": 64}),
        "dim-128": Preset("128-d features (table 4).", {"dim": 128}),
        "dim-256": Preset("256-d features (table 4).", {"dim": 256}),
        "no-head": Preset("No projection head in stage 2 (table 3).", recipe={"projection_dim": 0}),
        "head-64": Preset("64-d output of the projection head (table 3).", recipe={"projection_dim": 64}),
        "epochs-10": Preset("Stage 2 as the supplement has it.", recipe={"stage2_epochs": 10}),
        "view-pairs": Preset(
            "Images i and j are two views of one image (figure 2).", recipe={"pairs": "views"}
        ),
        "no-flip": Preset(
            "Left and right landmarks are kept apart (not in the paper).", recipe={"flip": 0.0}
        ),
        "resnet18": Preset("ResNet-18 (not in the paper).", {"backbone": "resnet18", "width": 64}),
        "resnet50half": Preset(
            "ResNet-50 of half the width (not in the paper).", {"backbone": "resnet50half", "width": 64}
        ),
    }
    stages = (
        "stage1: BYOL, MoCo or NT-Xent on whole images trains the encoder",
        "stage2: the frozen encoder's hypercolumn is made compact, by the similarity of distributions, by CL's "
        "equivariance loss or, with features=nmf, by factorisation; left out with features=hypercolumn",
    )
    checkpoint_formats = (BYOL_TRAINING, EXTRACTED_BACKBONE)

    def build(self, options: LEADOptions) -> LEADNetwork:
        return LEADNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network = _initial_network(job, self)
        if job.recipe.stage1_epochs:
            run_stage(job, stage_one(job, network))
        features = job.options.features
        if features == "compact":
            run_stage(job, stage_two(job, network))
        elif features == "nmf":
            factorise(job, network)
        path = job.output / "weights.safetensors"
        exporter(job, network, "stage 1" if features == "hypercolumn" else "stage 2")(path, -1)
        return path


def _initial_network(job: PretrainJob, method: LEAD) -> LEADNetwork:
    initial = job.initial
    if (
        initial is None
        or initial.options.get("features") != "hypercolumn"
        or job.options.features == "hypercolumn"
    ):
        network: LEADNetwork = initial_network(job, method.build)
        return network
    # Weights of stage 1, or of another repository's encoder: what stage 2 adds starts anew.
    network = initial_network(replace(job, initial=None), method.build)
    load_into(network.hypercolumn_network(), initial)
    return network
