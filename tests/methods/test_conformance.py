"""Every built-in method keeps the promises that bench.testing checks."""

from __future__ import annotations

import pytest

from bench.testing import Check, method_checks
from methods.lead import LEAD
from methods.random import Random

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

CHECKS = [
    *method_checks(LEAD, options=_LEAD_NETWORK, recipe=_LEAD_RECIPE),
    *method_checks(Random, options={"network": "lead", "options": _LEAD_NETWORK}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.subject.name}-{check}")
def test_conformance(check: Check) -> None:
    check()
