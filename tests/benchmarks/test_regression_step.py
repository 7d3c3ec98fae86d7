"""One training step of the landmark regressor: blockwise from native levels, and straightforwardly.

Run by hand, on an otherwise idle machine: ``pytest tests/benchmarks --benchmark-enable``. One thread, and the heap
is retained, which is kind to the straightforward way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional as F

from bench.allocator import retain_heap
from bench.features import FeatureMap
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor, regression_loss

CASES = {
    "3840-d hypercolumn at 48": (((256, 24), (512, 12), (1024, 6), (2048, 3)), 48),
    "480-d hypercolumn at 24": (((32, 24), (64, 12), (128, 6), (256, 3)), 24),
    "64-d at 24": (((64, 24),), 24),
}
Step = Callable[[], Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    retain_heap()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _steps(case: str, batch: int, landmarks: int = 5) -> tuple[VirtualKeypointRegressor, Step, Step]:
    """The regressor, our step, and the straightforward step on the cached dense map; both leave gradients."""
    levels, side = CASES[case]
    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(batch, c, n, n, generator=generator).relu() for c, n in levels)
    features = FeatureMap(maps, (side, side), (96, 96))
    regressor = VirtualKeypointRegressor(features.channels, landmarks, generator)
    # Small scores: of a saturated soft-max the two ways differ by more than rounding (it is almost an arg-max).
    regressor.score_weight.data.mul_(1e-3)
    targets = torch.rand(batch, landmarks, 2, generator=generator) * 2 - 1
    visible = torch.ones(batch, landmarks, dtype=torch.bool)
    dense = features.dense()
    x = torch.linspace(-1, 1, side).expand(side, side).flatten()
    y = torch.linspace(-1, 1, side)[:, None].expand(side, side).flatten()

    def ours() -> Tensor:
        return regressor.loss_and_gradients(features, targets, visible)

    def straightforward() -> Tensor:
        regressor.zero_grad()
        scores = F.conv2d(dense, regressor.score_weight[:, :, None, None])
        mass = torch.softmax(regressor.multiplier * scores.flatten(2), dim=2)
        points = torch.stack([(mass * x).sum(2), (mass * y).sum(2)], dim=2)
        linear = regressor.linear_weight.flatten(0, 1)[:, :, None, None]
        predicted = F.conv2d(points.reshape(batch, -1, 1, 1), linear, groups=landmarks)
        loss = regression_loss(predicted.reshape(batch, landmarks, 2), targets, visible)
        torch.autograd.backward(loss)
        return loss.detach()

    return regressor, ours, straightforward


@pytest.mark.parametrize("case", CASES)
def test_both_ways_agree(case: str) -> None:
    regressor, ours, straightforward = _steps(case, batch=1)
    our_loss = ours()
    our_gradients = [p.grad.clone() for p in regressor.parameters() if p.grad is not None]
    torch.testing.assert_close(our_loss, straightforward(), rtol=1e-5, atol=1e-6)
    for our, parameter in zip(our_gradients, regressor.parameters(), strict=True):
        assert parameter.grad is not None
        assert float((our - parameter.grad).norm() / parameter.grad.norm()) < 1e-4


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["ours", "straightforward"])
def test_time_of_a_step(benchmark: BenchmarkFixture, case: str, way: str) -> None:
    # Timing off: once, and small, so that the code below stays true.
    batch = 32 if benchmark.enabled else 2
    _, ours, straightforward = _steps(case, batch)
    benchmark.group = case
    loss = benchmark(ours if way == "ours" else straightforward)
    assert torch.isfinite(loss)
