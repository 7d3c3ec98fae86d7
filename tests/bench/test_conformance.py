"""The conformance suite passes a method that keeps its promises, and catches each way to break one."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.method import Method
from bench.testing import Check, ConformanceError, check_method, method_checks
from tests.bench.conforming import TRAINING, Honest, HonestNetwork
from tests.bench.nonconforming import (
    BROKEN_DESCRIPTIONS,
    BROKEN_NETWORKS,
    BROKEN_TRAININGS,
    UnderstatesItsRadius,
    VariantThatDoesNotBuild,
)

NO_GPU = () if torch.cuda.is_available() else ("gpu-agreement",)


@pytest.mark.parametrize("check", method_checks(Honest, recipe=TRAINING), ids=str)
def test_honest(check: Check) -> None:
    check()


def test_the_report_of_an_honest_method() -> None:
    report = check_method(Honest, recipe=TRAINING)
    assert report.passed, str(report)
    skipped = {outcome.name for outcome in report.outcomes if outcome.status == "skipped"}
    assert skipped == {"training-is-refused", *NO_GPU}
    assert all(outcome.reason for outcome in report.outcomes if outcome.status == "skipped")
    assert all(outcome.name in str(report) for outcome in report.outcomes)


def test_without_a_recipe_no_training_is_checked_and_this_is_said() -> None:
    report = check_method(Honest)
    reasons = {outcome.reason for outcome in report.outcomes if outcome.name.startswith("training-")}
    assert reasons == {"no recipe was given to train with", "the method trains"}


def test_names_are_unique_and_demands_are_sentences() -> None:
    checks = method_checks(Honest)
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.demand.endswith(".") and len(check.demand) < 200 for check in checks)


@pytest.mark.parametrize("broken", BROKEN_NETWORKS, ids=lambda network: network.__name__)
def test_a_broken_network_is_caught(broken: type[HonestNetwork]) -> None:
    method = type("Broken", (Honest,), {"network": broken})
    assert _failures(method) == BROKEN_NETWORKS[broken]


@pytest.mark.parametrize("broken", BROKEN_DESCRIPTIONS, ids=lambda method: method.__name__)
def test_a_broken_description_is_caught(broken: type[Method]) -> None:
    assert _failures(broken) == BROKEN_DESCRIPTIONS[broken]


@pytest.mark.parametrize("broken", BROKEN_TRAININGS, ids=lambda method: method.__name__)
def test_a_broken_training_is_caught(broken: type[Method]) -> None:
    assert _failures(broken, recipe=TRAINING) == BROKEN_TRAININGS[broken]


def test_every_check_catches_something() -> None:
    """Except for the one that needs a GPU, where equal numbers on both devices are not easily broken."""
    caught = set().union(*BROKEN_NETWORKS.values(), *BROKEN_DESCRIPTIONS.values(), *BROKEN_TRAININGS.values())
    assert caught == {check.name for check in method_checks(Honest)} - {"gpu-agreement"}


# --- what a failure says -------------------------------------------------------------------------------------------


def test_a_failure_says_what_was_got_expected_and_what_to_do() -> None:
    method = type("Broken", (Honest,), {"network": UnderstatesItsRadius})
    check = _check(method, "receptive-radius")
    with pytest.raises(ConformanceError) as caught:
        check()
    heading, got, expected, remedy = str(caught.value).splitlines()
    assert heading == f"method 'honest' fails receptive-radius: {check.demand}"
    assert "cell (0, 0) of level 0 changes by" in got
    assert expected.startswith("  expected: at most")
    assert "enlarge receptive_radius" in remedy


def test_an_exception_of_the_method_is_told_with_its_origin() -> None:
    with pytest.raises(ConformanceError, match="ValueError: eight is not implemented") as caught:
        _check(VariantThatDoesNotBuild, "variants-build")()
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_does_not_concern_a_method_is_a_skip_with_a_reason() -> None:
    class Unpromising(HonestNetwork):
        shift_period = None

    with pytest.raises(SkipTest, match="promises no shift_period"):
        _check(type("Other", (Honest,), {"network": Unpromising}), "shift-equivariance")()


def test_a_receptive_field_too_large_to_check_is_a_skip() -> None:
    class Vast(HonestNetwork):
        receptive_radius = 2000

    method = type("Vast", (Honest,), {"network": Vast})
    for name in ("receptive-radius", "shift-equivariance"):
        with pytest.raises(SkipTest, match="more than"):
            _check(method, name)()


def test_a_network_that_insists_on_single_precision_is_still_checked() -> None:
    class Single(UnderstatesItsRadius):
        def levels(self, images: Tensor) -> Tensor:
            return super().levels(images.float())

    method = type("Single", (Honest,), {"network": Single})
    with pytest.raises(ConformanceError, match="enlarge receptive_radius"):
        _check(method, "receptive-radius")()


def test_a_fixed_grid_is_no_transposed_map() -> None:
    class FixedGrid(HonestNetwork):
        def levels(self, images: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(super().levels(images), (8, 8))

    _check(type("Fixed", (Honest,), {"network": FixedGrid}), "feature-maps")()


def test_the_suite_leaves_no_trace_in_torch() -> None:
    before = torch.get_rng_state()
    check_method(Honest, recipe=TRAINING)
    assert torch.equal(before, torch.get_rng_state())


def test_image_sizes_can_be_given() -> None:
    class OnlyTwoSizes(HonestNetwork):
        def levels(self, images: Tensor) -> Tensor:
            assert images.shape[-2:] in ((16, 16), (16, 32)), images.shape
            return super().levels(images)

    method = type("TwoSizes", (Honest,), {"network": OnlyTwoSizes})
    failed = {o.name for o in check_method(method, image_sizes=[(16, 16), (16, 32)]).failures}
    assert not failed - {"shift-equivariance", "receptive-radius"}


def _failures(method: type[Method], **arguments: Any) -> set[str]:
    return {outcome.name for outcome in check_method(method, **arguments).failures}


def _check(method: type[Method], name: str) -> Check:
    (check,) = [check for check in method_checks(method) if check.name == name]
    return check
