"""Every built-in method keeps the promises that bench.testing checks."""

from __future__ import annotations

import pytest

from bench.method import Method
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

METHODS = (Thewlis, DVE, ContrastLandmarks, Rahaman, LEAD, Supervised, Random, ImageNet, MeanShape)

CHECKS = [check for method in METHODS for check in method_checks(method)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.subject.name}-{check}")
def test_conformance(check: Check) -> None:
    """A check that fails raises an AssertionError, which says what was got, expected and to do."""
    check()


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method.presets], ids=lambda method: method.name
)
def test_a_method_that_trains_rehearses_its_training(method: type[Method]) -> None:
    assert method.rehearsal is not None
    assert method.rehearsal.recipe
