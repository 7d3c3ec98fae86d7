"""One training step against the released one: 1x1 convolution of the dense map, soft-max, autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.features import FeatureMap
from protocols.heads import soft_argmax, virtual_keypoints
from protocols.heads.landmark_loss import regression_loss, regression_loss_gradient
from protocols.heads.one_pass import OnePass
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor
from tests.protocols.test_soft_argmax import straightforward

LAYOUTS = {
    "hypercolumn": (((8, 12), (12, 6), (16, 3)), 24),
    "hypercolumn at its finest level": (((8, 12), (12, 6)), 12),
    "one level as it is": (((6, 12),), 12),
    "one level resized": (((6, 12),), 24),
}
BATCH, LANDMARKS = 4, 3


class Problem:
    """A batch and a regressor; ``scale`` says how sharp its soft-max is."""

    def __init__(self, layout: str, dtype: torch.dtype, scale: float) -> None:
        generator = torch.Generator().manual_seed(2)
        levels, side = LAYOUTS[layout]
        maps = tuple(
            torch.randn(BATCH, c, n, n, generator=generator, dtype=torch.float64).relu() for c, n in levels
        )
        self.features = FeatureMap(maps, (side, side), (96, 96)).to(dtype=dtype)
        self.regressor = VirtualKeypointRegressor(self.features.channels, LANDMARKS, generator).to(dtype)
        self.regressor.score_weight.data.mul_(scale)
        self.targets = (torch.rand(BATCH, LANDMARKS, 2, generator=generator) * 2 - 1).to(dtype)
        self.visible = torch.rand(BATCH, LANDMARKS, generator=generator) > 0.2

    def straightforward(self) -> Tensor:
        """Predictions of the released module."""
        maps = F.conv2d(self.features.dense(), self.regressor.score_weight[:, :, None, None])
        points = straightforward([maps], self.features.size, self.regressor.multiplier)
        weight = self.regressor.linear_weight.flatten(0, 1)[:, :, None, None]
        predicted = F.conv2d(points.reshape(BATCH, -1, 1, 1), weight, groups=LANDMARKS)
        return predicted.reshape(BATCH, LANDMARKS, 2)

    def straightforward_step(self) -> Tensor:
        self.regressor.zero_grad()
        loss = regression_loss(self.straightforward(), self.targets, self.visible)
        torch.autograd.backward(loss)
        return loss.detach()

    def step(self) -> Tensor:
        return self.regressor.loss_and_gradients(self.features, self.targets, self.visible)

    def predictions_of_the_step(self) -> Tensor:
        one_pass = OnePass(self.features, self.targets, self.visible, self.regressor.multiplier)
        scores, linear = self.regressor.score_weight.detach(), self.regressor.linear_weight.detach()
        one_pass.take(slice(0, LANDMARKS), scores, linear, torch.empty_like(scores), torch.empty_like(linear))
        return one_pass.predicted

    def gradients(self) -> list[Tensor]:
        found = [parameter.grad for parameter in self.regressor.parameters()]
        return [gradient.clone() for gradient in found if gradient is not None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [0.01, 1.0])
@pytest.mark.parametrize("at_once", [(1, 1), (5000, 2**20), (2**24, 5000)])
def test_a_step_in_double_precision(
    layout: str, scale: float, at_once: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_keypoints, "_ELEMENTS_AT_ONCE", at_once[0])
    monkeypatch.setattr(soft_argmax, "_CELLS_ON_CPU", at_once[1])
    problem = Problem(layout, torch.float64, scale)
    expected_loss, expected = problem.straightforward_step(), problem.gradients()
    loss = problem.step()
    assert abs(float(loss - expected_loss)) < 1e-12
    for ours, theirs in zip(problem.gradients(), expected, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-10
    off = (problem.predictions_of_the_step() - problem.straightforward().detach()).abs().max()
    assert float(off) < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twenty_steps_in_double_precision(layout: str) -> None:
    losses = []
    for way in (Problem.step, Problem.straightforward_step):
        problem = Problem(layout, torch.float64, 0.05)
        optimiser = torch.optim.Adam(problem.regressor.parameters(), weight_decay=5e-4, amsgrad=True)
        losses.append(torch.empty(20, dtype=torch.float64))
        for number in range(20):
            losses[-1][number] = way(problem)
            optimiser.step()
    assert float(losses[1][-1]) < 0.999 * float(losses[1][0])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-8, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_single_precision(layout: str) -> None:
    soft = Problem(layout, torch.float32, 0.01)
    off = (soft.predictions_of_the_step() - soft.straightforward().detach()).abs().max()
    assert float(off) < 1e-5

    sharp, exact = Problem(layout, torch.float32, 1.0), Problem(layout, torch.float64, 1.0)
    # Both from the same numbers, rounded.
    exact.regressor.load_state_dict(sharp.regressor.state_dict())
    exact.features, exact.targets = sharp.features.to(dtype=torch.float64), sharp.targets.double()
    with torch.no_grad():
        best = exact.straightforward()
        ours = (sharp.predictions_of_the_step() - best).norm()
        theirs = (sharp.straightforward() - best).norm()
    assert float(ours) <= 3 * float(theirs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_towards_features(layout: str) -> None:
    problem = Problem(layout, torch.float64, 0.05)
    levels = [level.requires_grad_() for level in problem.features.levels]
    problem.straightforward_step()
    expected = [level.grad for level in levels]
    for level in levels:
        level.grad = None
    problem.step()
    for level, gradient in zip(levels, expected, strict=True):
        torch.testing.assert_close(level.grad, gradient, rtol=1e-10, atol=1e-14)


def test_levels_without_gradients_get_none() -> None:
    problem = Problem("hypercolumn", torch.float64, 0.05)
    problem.features.levels[1].requires_grad_()
    problem.step()
    assert [level.grad is not None for level in problem.features.levels] == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_step_twice_is_the_same_to_the_bit(dtype: torch.dtype) -> None:
    once, twice = (Problem("hypercolumn", dtype, 1.0) for _ in range(2))
    assert torch.equal(once.step(), twice.step())
    assert all(torch.equal(a, b) for a, b in zip(once.gradients(), twice.gradients(), strict=True))


def test_channels_innermost_give_the_same() -> None:
    problem = Problem("hypercolumn", torch.float64, 0.05)
    loss, gradients = problem.step(), problem.gradients()
    innermost = tuple(lv.contiguous(memory_format=torch.channels_last) for lv in problem.features.levels)
    problem.features = replace(problem.features, levels=innermost)
    assert torch.equal(problem.step(), loss)
    assert all(torch.equal(a, b) for a, b in zip(problem.gradients(), gradients, strict=True))


def test_derivative_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    predicted = torch.randn(40, 3, 2, generator=generator, dtype=torch.float64).requires_grad_()
    targets = predicted.detach() + 0.1 * torch.randn(40, 3, 2, generator=generator, dtype=torch.float64)
    visible = torch.rand(40, 3, generator=generator) > 0.3
    targets[~visible] = torch.nan
    (expected,) = torch.autograd.grad(regression_loss(predicted, targets, visible), predicted)
    part = slice(10, 25)
    found = regression_loss_gradient(
        predicted[part].detach(), targets[part], visible[part], predicted.numel()
    )
    torch.testing.assert_close(found, expected[part], rtol=1e-14, atol=0)
    assert (found.abs() == 10 / 240).any(), "both parts of the loss occur: linear"
    assert ((found.abs() > 0) & (found.abs() < 10 / 240)).any(), "and quadratic"
