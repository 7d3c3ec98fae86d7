from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.features import FeatureMap
from protocols.heads import virtual_keypoints
from protocols.heads.landmark_loss import regression_loss
from protocols.heads.virtual_keypoints import (
    VirtualKeypointRegressor,
    to_normalised,
    to_pixels,
)
from tests.goldens import golden, seeded_normal
from tests.protocols.regressor_goldens import SmallCase, hypercolumn, regressor_with, relative
from tests.protocols.test_soft_argmax import straightforward

SMALL = [(name, tag) for name in ("dve", "contrast") for tag in ("A5", "A68")]


@pytest.mark.parametrize(("name", "tag"), SMALL)
def test_released_code_small(name: str, tag: str) -> None:
    case = SmallCase(golden(f"{name}/e_regressor.npz"), tag)
    regressor = case.regressor
    inter = regressor.virtual_keypoints(case.features)
    np.testing.assert_allclose(inter.detach(), case["inter"], atol=1e-4)
    np.testing.assert_allclose(regressor(case.features).detach(), case["pred"], atol=1e-4)

    loss = regressor.loss_and_gradients(case.features, case.targets, case.all_visible)
    assert float(loss) == pytest.approx(float(case["loss_alpha10"]), abs=1e-4)
    assert relative(_gradient(regressor.score_weight), case["grad_inner"]) < 1e-3
    assert relative(_gradient(regressor.linear_weight), case["grad_reg"]) < 1e-4


@pytest.mark.parametrize("tag", ["A5", "A68"])
def test_released_code_with_invisible_landmarks(tag: str) -> None:
    case = SmallCase(golden("contrast/e_regressor.npz"), tag)
    regressor, visible = case.regressor, torch.from_numpy(case["vis"])
    # What an invisible landmark's coordinates say must not matter.
    targets = torch.where(visible.unsqueeze(-1), case.targets, torch.nan)
    loss = regressor.loss_and_gradients(case.features, targets, visible)
    assert float(loss) == pytest.approx(float(case["selected_loss"]), abs=1e-4)
    assert relative(_gradient(regressor.linear_weight), case["selected_grad_reg"]) < 1e-3
    norm = float(_gradient(regressor.score_weight).norm())
    assert norm == pytest.approx(float(case["selected_gradnorm_inner"]), rel=1e-3)


@pytest.mark.parametrize("tag", ["A5", "A68"])
@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_released_loss(tag: str, factor: float) -> None:
    case = SmallCase(golden("contrast/e_regressor.npz"), tag)
    loss = regression_loss(torch.from_numpy(case["pred"]), case.targets, case.all_visible, factor)
    assert float(loss) == pytest.approx(float(case[f"loss_alpha{factor:.0f}"]), abs=1e-5)


@pytest.mark.parametrize("kind", ["soft", "unit"])
def test_released_code_on_a_hypercolumn(kind: str) -> None:
    arrays = golden("contrast/e_regressor.npz")
    features = hypercolumn(arrays)
    scores = (arrays[f"full__{kind}__scale"] * seeded_normal("inner_conv.weight", (250, 3840, 1, 1))).astype(
        np.float32
    )
    regressor = regressor_with(scores, arrays["full__reg"])
    targets = torch.from_numpy(arrays["full__kp"])
    loss = regressor.loss_and_gradients(features, targets, torch.ones(2, 5, dtype=torch.bool))
    predicted = regressor(features).detach()
    inter = regressor.virtual_keypoints(features).detach().numpy()
    expected = {key: arrays[f"full__{kind}__{key}"] for key in ("pred", "inter_f64", "stable", "loss")}
    # In the unit case, the official initial spread, the soft-max is almost an arg-max.
    tolerance, gradient_tolerance = (1e-5, 5e-4) if kind == "soft" else (1e-3, 5e-3)
    stable = expected["stable"]
    assert stable.mean() > 0.9
    np.testing.assert_allclose(
        inter[stable], expected["inter_f64"][stable], atol=1e-5 if kind == "soft" else 5e-4
    )
    np.testing.assert_allclose(predicted, expected["pred"], atol=tolerance)
    assert float(loss) == pytest.approx(float(expected["loss"]), abs=tolerance)
    gradient = _gradient(regressor.score_weight)
    assert (
        relative(gradient.flatten()[::9973], arrays[f"full__{kind}__grad_inner_s9973"]) < gradient_tolerance
    )
    assert float(gradient.norm()) == pytest.approx(
        float(arrays[f"full__{kind}__gradnorm_inner"]), rel=gradient_tolerance
    )
    assert (
        relative(_gradient(regressor.linear_weight), arrays[f"full__{kind}__grad_reg"]) < gradient_tolerance
    )


@pytest.mark.parametrize("name", ["dve", "contrast"])
def test_released_initial_values(name: str) -> None:
    arrays = golden(f"{name}/e_regressor.npz")
    generator = torch.Generator().manual_seed(int(arrays["init_seed"]))
    regressor = VirtualKeypointRegressor(4, 3, generator, virtual=2)
    np.testing.assert_array_equal(regressor.score_weight.detach(), arrays["init_inner"][:, :, 0, 0])
    np.testing.assert_array_equal(
        regressor.linear_weight.detach().flatten(0, 1), arrays["init_reg"][:, :, 0, 0]
    )


def test_initial_values_leave_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    VirtualKeypointRegressor(4, 3, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["dve", "contrast"])
def test_released_normalised_coordinates(name: str) -> None:
    arrays = golden(f"{name}/e_regressor.npz")
    centre_integers = torch.from_numpy(arrays["kpn_in"])
    normalised = to_normalised(centre_integers + 0.5, (70, 96))
    np.testing.assert_allclose(normalised, arrays["kpn_H70W96"], atol=1e-6)
    torch.testing.assert_close(to_pixels(normalised, (70, 96)), centre_integers + 0.5)


def test_centres_of_the_corner_pixels_are_the_ends_of_the_range() -> None:
    corners = torch.tensor([[0.5, 0.5], [95.5, 69.5]])
    assert torch.equal(to_normalised(corners, (70, 96)), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def _random_problem(
    landmarks: int = 3,
) -> tuple[FeatureMap, VirtualKeypointRegressor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    levels = tuple(
        torch.randn(4, c, n, n, generator=generator, dtype=torch.float64)
        for c, n in ((3, 12), (5, 6), (7, 3))
    )
    regressor = VirtualKeypointRegressor(15, landmarks, generator, virtual=4, multiplier=5.0).double()
    targets = torch.rand(4, landmarks, 2, generator=generator, dtype=torch.float64) * 2 - 1
    visible = torch.rand(4, landmarks, generator=generator) > 0.3
    return FeatureMap(levels, (24, 24), (96, 96)), regressor, targets, visible


def _straightforward(features: FeatureMap, regressor: VirtualKeypointRegressor) -> Tensor:
    """The released module, operation by operation, on the dense map."""
    maps = F.conv2d(features.dense(), regressor.score_weight[:, :, None, None])
    points = straightforward([maps], features.size, regressor.multiplier)
    stacked = points.reshape(len(points), -1, 1, 1)
    weight = regressor.linear_weight.flatten(0, 1)[:, :, None, None]
    return F.conv2d(stacked, weight, groups=regressor.landmarks).reshape(len(points), -1, 2)


@pytest.mark.parametrize("elements_at_once", [1, 2000, 2**24])
def test_equals_the_straightforward_way_in_float64(
    elements_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_keypoints, "_ELEMENTS_AT_ONCE", elements_at_once)
    features, regressor, targets, visible = _random_problem()
    expected = _straightforward(features, regressor)
    seen = visible.unsqueeze(-1)
    expected_loss = F.smooth_l1_loss(10 * expected * seen, 10 * targets * seen)
    expected_gradients = torch.autograd.grad(expected_loss, list(regressor.parameters()))

    torch.testing.assert_close(regressor(features), expected, atol=1e-13, rtol=0)
    loss = regressor.loss_and_gradients(features, targets, visible)
    torch.testing.assert_close(loss, expected_loss.detach(), atol=1e-13, rtol=0)
    for parameter, gradient in zip(regressor.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(_gradient(parameter), gradient, atol=1e-12, rtol=0)
    # A second call replaces the gradients, it does not add to them.
    regressor.loss_and_gradients(features, targets, visible)
    for parameter, gradient in zip(regressor.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(_gradient(parameter), gradient, atol=1e-12, rtol=0)


def test_forward_is_differentiable_like_the_straightforward_way() -> None:
    features, regressor, _, _ = _random_problem()
    ours = torch.autograd.grad(regressor(features).square().sum(), list(regressor.parameters()))
    theirs = torch.autograd.grad(
        _straightforward(features, regressor).square().sum(), list(regressor.parameters())
    )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, atol=1e-12, rtol=0)


def test_a_prediction_does_not_depend_on_the_batch() -> None:
    features, regressor, _, _ = _random_problem()
    together = regressor(features)
    one_by_one = torch.cat([regressor(part) for part in features.split(1)])
    torch.testing.assert_close(together, one_by_one, atol=1e-13, rtol=0)


def test_landmarks_are_independent() -> None:
    features, regressor, targets, visible = _random_problem()
    everything = torch.ones_like(visible)
    regressor.loss_and_gradients(features, targets, everything)
    before = _gradient(regressor.linear_weight).clone()
    regressor.loss_and_gradients(features, targets + torch.tensor([[[0.0], [3.0], [0.0]]]), everything)
    changed = (_gradient(regressor.linear_weight) - before).abs().amax((1, 2)) > 0
    assert changed.tolist() == [False, True, False]


def test_an_empty_regressor_is_refused() -> None:
    with pytest.raises(BenchError, match="at least one channel"):
        VirtualKeypointRegressor(8, 0, torch.Generator())


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
