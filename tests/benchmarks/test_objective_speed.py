"""Losses of dense descriptors, forward and backward, against their released or printed form under autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional as F

from bench.features import FeatureMap
from methods.objectives.descriptor_exchange import descriptor_exchange_loss
from methods.objectives.similarity_distribution import similarity_distribution_loss
from tests.benchmarks.pair import Claim, Ways, added_memory, compare

_TOPIC = "Objectives, forward and backward"
_STRIDE, _LENGTH = 2, 20
_TEMPERATURE = 0.1
_LEVELS = ((256, 24), (512, 12), (1024, 6), (2048, 3))
_EXACT = {"loss, float64": 1e-12, "gradient, float64": 1e-10}


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _ways(
    first: Tensor,
    second: Tensor,
    ours: Callable[[Tensor, Tensor], Tensor],
    twin: Callable[[Tensor, Tensor], Tensor],
) -> Ways:
    """Forward and backward of two losses of two leaves, compared in float64 (relative)."""
    leaves = first.requires_grad_(), second.requires_grad_()

    def gradients(loss: Callable[[Tensor, Tensor], Tensor], *at: Tensor) -> tuple[Tensor, ...]:
        value = loss(*at)
        return value.detach(), *torch.autograd.grad(value, at)

    def deviations() -> dict[str, float]:
        double = tuple(leaf.detach().double().requires_grad_() for leaf in leaves)
        found, expected = gradients(ours, *double), gradients(twin, *double)
        apart = [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
        return {"loss, float64": apart[0], "gradient, float64": max(apart[1:])}

    return Ways(lambda: gradients(ours, *leaves), lambda: gradients(twin, *leaves), deviations)


# --- DVE --------------------------------------------------------------------------------------------------


def _released_exchange(first: Tensor, second: Tensor, places: Tensor) -> Tensor:
    """As the released code computes it: pair by pair, the exchange as a broadcast product of C x N x N numbers."""
    pairs, _, height, width = first.shape
    source, target = (_LENGTH * F.normalize(maps, dim=1) for maps in (first, second))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = _STRIDE * torch.stack([x, y], dim=-1).to(places) + 0.5
    total = first.new_zeros(())
    for pair in range(pairs):
        mine, other = source[pair].flatten(1), target[pair].flatten(1)
        auxiliary = source[(pair + 1) % pairs].flatten(1)
        chosen = torch.softmax(mine.T @ auxiliary, dim=1).reshape(height, width, height, width)
        exchanged = (chosen[None] * auxiliary.reshape(-1, 1, 1, height, width)).sum((3, 4)).flatten(1)
        found = torch.softmax(exchanged.T @ other, dim=1).reshape(height, width, height, width)
        with torch.no_grad():
            apart = (places[pair][:, :, None, None] - pixels).square().sum(4).sqrt().pow(0.5)
        total = total + (apart * found).sum()
    return total / (pairs * height * width)


def _prepare_exchange(pairs: int, channels: int, side: int) -> Ways:
    places = _STRIDE * side * torch.rand(pairs, side, side, 2, generator=torch.Generator().manual_seed(2))

    def ours(first: Tensor, second: Tensor) -> Tensor:
        return descriptor_exchange_loss(first, second, places.to(first), _STRIDE, normalise=True)

    def twin(first: Tensor, second: Tensor) -> Tensor:
        return _released_exchange(first, second, places.to(first))

    shape = pairs, channels, side, side
    return _ways(_normal(*shape, seed=0), _normal(*shape, seed=1), ours, twin)


def test_descriptor_exchange(benchmark: BenchmarkFixture) -> None:
    pairs, channels, side = (2, 64, 48) if benchmark.enabled else (2, 8, 10)
    cells = side**2
    claim = Claim(
        _TOPIC,
        "DVE's descriptor exchange, 64-d at 48x48, 2 pairs",
        "the released code's",
        ratio=5,
        megabytes=30,
        deviations=_EXACT,
        gflop=9 * 2 * cells**2 * channels * pairs / 1e9,
        per=pairs,
    )
    assert compare(benchmark, claim, _prepare_exchange, pairs, channels, side, rounds=3) == []


# --- LEAD -------------------------------------------------------------------------------------------------


def _dense_distribution(first: Tensor, second: Tensor, teachers: tuple[FeatureMap, FeatureMap]) -> Tensor:
    """Equations 2 and 3 on hypercolumns at full size, all pairs at once."""
    size = first.shape[2:]
    with torch.no_grad():
        maps = (
            torch.cat([F.interpolate(level, size, mode="bilinear") for level in teacher.levels], 1)
            for teacher in teachers
        )
        one, other = (F.normalize(dense.flatten(2), dim=1) for dense in maps)
        wanted = torch.softmax(one.mT @ other / _TEMPERATURE, dim=2)
    mine, theirs = (F.normalize(student.flatten(2), dim=1) for student in (first, second))
    return -(wanted * torch.log_softmax(mine.mT @ theirs / _TEMPERATURE, dim=2)).sum(2).mean()


def _prepare_distribution(pairs: int, narrower: int) -> Ways:
    teachers = tuple(
        FeatureMap(
            tuple(_normal(pairs, c // narrower, n, n, seed=c + seed).relu() for c, n in _LEVELS),
            (24, 24),
            (96, 96),
        )
        for seed in (0, 1)
    )
    one, other = teachers

    def ours(first: Tensor, second: Tensor) -> Tensor:
        typed = one.to(dtype=first.dtype), other.to(dtype=first.dtype)
        return similarity_distribution_loss(first, second, *typed, _TEMPERATURE)

    def twin(first: Tensor, second: Tensor) -> Tensor:
        return _dense_distribution(first, second, (one.to(dtype=first.dtype), other.to(dtype=first.dtype)))

    shape = pairs, 64 // narrower, 24, 24
    return _ways(_normal(*shape, seed=2), _normal(*shape, seed=3), ours, twin)


def test_similarity_distribution(benchmark: BenchmarkFixture) -> None:
    pairs, narrower = (32, 1) if benchmark.enabled else (2, 32)
    claim = Claim(
        _TOPIC,
        "LEAD's similarity distribution, 64-d student and 3840-d teacher at 24x24, 32 pairs",
        "dense hypercolumns, normalised; cosines of all cells under autograd",
        ratio=5,
        megabytes=80,
        deviations=_EXACT,
        per=pairs,
    )
    assert compare(benchmark, claim, _prepare_distribution, pairs, narrower, rounds=3) == []


def test_memory_at_the_papers_batch(benchmark: BenchmarkFixture) -> None:
    """Of LEAD's 256 pairs, for which the straightforward way would take about 7 GB."""
    if not benchmark.enabled:
        benchmark(_prepare_distribution(2, 32).ours)
        return
    found = benchmark.pedantic(added_memory, (_prepare_distribution, (256, 1), "ours"))  # type: ignore[no-untyped-call]
    benchmark.extra_info["megabytes"] = found / 1e6
    assert found <= 250e6
