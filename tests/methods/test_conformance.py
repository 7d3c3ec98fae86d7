"""Every built-in method keeps the promises that bench.testing checks."""

from __future__ import annotations

import pytest

from bench.testing import Check, method_checks
from methods.contrast import ContrastLandmarks
from methods.dve import DVE
from methods.imagenet import ImageNet
from methods.lead import LEAD
from methods.mean_shape import MeanShape
from methods.rahaman import Rahaman
from methods.random import Random
from methods.supervised import Supervised
from methods.thewlis import Thewlis

_LEAD_NETWORK = {"backbone": "resnet18", "width": 8, "dim": 8, "fpn_width": 8, "fpn_merged": 8}
_LEAD_RECIPE = {
    "image_size": 32,
    "view_size": 32,
    "stage2_view_size": 32,
    "batch_size": 8,
    "stage2_batch_size": 8,
    "stage1_epochs": 1,
    "stage2_epochs": 1,
    "head_hidden": 16,
    "head_dim": 8,
    "projection_dim": 8,
}
_CONTRAST_RECIPE = {
    "image_size": 40,
    "margin": 4,
    "batch_size": 8,
    "groups": 2,
    "queue": 20,
    "stage1_epochs": 1,
    "stage2_batch_size": 8,
    "stage2_epochs": 1,
}
_RAHAMAN_RECIPE = {
    "image_size": 16,
    "step1_epochs": 1,
    "step1_batch_size": 8,
    "step2_epochs": 1,
    "step2_batch_size": 8,
    "locations": 12,
    "diversity_patch": 2,
}

CHECKS = [
    *method_checks(
        Thewlis,
        options={"landmarks": 4},
        recipe={"image_size": 24, "margin": 4, "batch_size": 8, "epochs": 1, "final_epochs": 1, "patch": 2},
    ),
    *method_checks(
        DVE,
        preset="tiny",
        options={"dim": 8},
        recipe={"image_size": 36, "margin": 4, "pairs": 8, "epochs": 1},
    ),
    *method_checks(
        ContrastLandmarks,
        options={"backbone": "resnet18", "width": 8, "features": "projected", "dim": 6},
        recipe=_CONTRAST_RECIPE,
    ),
    *method_checks(
        Rahaman, options={"widths": (4, 4, 6, 8), "dim": 8, "landmarks": 5}, recipe=_RAHAMAN_RECIPE
    ),
    *method_checks(LEAD, options=_LEAD_NETWORK, recipe=_LEAD_RECIPE),
    *method_checks(
        Supervised,
        options={"network": "pooled", "landmarks": 5, "maps": 8, "input_size": 32},
        recipe={"image_size": 32, "margin": 0, "batch_size": 8, "steps": 4},
    ),
    *method_checks(Random, options={"network": "lead", "options": _LEAD_NETWORK}),
    *method_checks(ImageNet, options={"backbone": "resnet18"}),
    *method_checks(MeanShape),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.subject.name}-{check}")
def test_conformance(check: Check) -> None:
    """A check that fails raises an AssertionError, which says what was got, expected and to do."""
    check()
