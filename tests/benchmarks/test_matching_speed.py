"""Matching hypercolumns from their native levels, against dot products of dense, normalised maps."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional as F

from bench.features import FeatureMap
from protocols.pairs.correspondence import match
from tests.benchmarks.pair import Claim, Ways, compare

_TOPIC = "Matching"
_LEVELS = ((256, 24), (512, 12), (1024, 6), (2048, 3))
_SIDE = 96
_TIE = 1e-12


def _hypercolumns(pairs: int, narrower: int, seed: int) -> FeatureMap:
    """Of a ResNet-50, with every level's channels divided by ``narrower``."""
    generator = torch.Generator().manual_seed(seed)
    levels = (torch.randn(pairs, c // narrower, n, n, generator=generator).relu() for c, n in _LEVELS)
    return FeatureMap(tuple(levels), (_SIDE, _SIDE), (_SIDE, _SIDE))


def _straightforward(source: FeatureMap, points: Tensor, target: FeatureMap, pair: int) -> Tensor:
    """(N, cells): both maps of a pair brought to the image's size and normalised whole, as the released code does."""
    here, there = (
        torch.cat(
            [F.interpolate(level, (_SIDE, _SIDE), mode="bilinear") for level in maps[pair : pair + 1].levels],
            1,
        )
        for maps in (source, target)
    )
    here, there = F.normalize(here, dim=1)[0], F.normalize(there, dim=1)[0]
    x, y = (points[pair] - 0.5).long().unbind(-1)
    return here[:, y, x].T @ there.flatten(1)


def _prepare(pairs: int, landmarks: int, narrower: int, wholly: bool) -> Ways:
    """``wholly``: :func:`match` itself, in float64; otherwise its arithmetic in float32. The twin's has either."""
    dtype = torch.float64 if wholly else torch.float32
    source, target = (_hypercolumns(pairs, narrower, seed) for seed in (0, 1))
    generator = torch.Generator().manual_seed(2)
    points = torch.randint(_SIDE, (pairs, landmarks, 2), generator=generator) + 0.5
    typed = source.to(dtype=dtype), points, target.to(dtype=dtype)

    def ours() -> object:
        if wholly:
            return match(source, points, target)
        return target.similarity(source.sample(points)).flatten(2).argmax(2)

    def twin() -> list[Tensor]:
        return [_straightforward(*typed, pair).argmax(1) for pair in range(pairs)]

    def deviations() -> dict[str, float]:
        precise = source.to(dtype=torch.float64), target.to(dtype=torch.float64)
        some = range(min(pairs, 4))
        exact = torch.stack([_straightforward(precise[0], points, precise[1], pair) for pair in some])
        double = precise[1].similarity(precise[0].sample(points)).flatten(2)[: len(some)]
        single = target.similarity(source.sample(points)).flatten(2)[: len(some)]
        x, y = (match(source, points, target).points[: len(some)] - 0.5).long().unbind(-1)
        lost = exact.amax(2) - exact.gather(2, (y * _SIDE + x).unsqueeze(2)).squeeze(2)
        return {
            "similarity, float64": float((double - exact).abs().max()),
            "similarity, float32": float((single - exact).abs().max()),
            "other cells found": float((lost > _TIE).sum()),
        }

    return Ways(ours, twin, deviations)


@pytest.mark.parametrize(
    ("landmarks", "wholly", "ratio"),
    [(5, False, 150), (68, False, 80), (5, True, 150), (68, True, 80)],
)
def test_hypercolumns(benchmark: BenchmarkFixture, landmarks: int, wholly: bool, ratio: float) -> None:
    pairs, narrower = (8, 1) if benchmark.enabled else (2, 32)
    kind = "match(), float64" if wholly else "float32"
    claim = Claim(
        _TOPIC,
        f"{landmarks} landmarks by 3840-d hypercolumns at 96x96, {kind}",
        "both hypercolumns at full size, normalised whole; dot products",
        ratio=ratio,
        megabytes=20 * pairs,
        deviations={"similarity, float64": 1e-12, "similarity, float32": 1e-5, "other cells found": 0},
        per=pairs,
    )
    assert compare(benchmark, claim, _prepare, pairs, landmarks, narrower, wholly, rounds=3) == []
