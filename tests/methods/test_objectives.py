"""Every loss against a naive float64 loop, its gradient, and what must not change it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bench.features import FeatureMap
from methods.objectives.byol import byol_loss, ema_momentum, update_ema
from methods.objectives.nt_xent import nt_xent_loss
from methods.objectives.similarity_distribution import similarity_distribution_loss


def _unit(vector: Tensor) -> Tensor:
    return vector / math.sqrt(sum(float(v) ** 2 for v in vector))


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_byol_loss_is_the_squared_distance_of_unit_vectors() -> None:
    prediction, target = _random(5, 7), _random(5, 7, seed=1)
    naive = sum(
        float(((_unit(p) - _unit(t)) ** 2).sum()) for p, t in zip(prediction, target, strict=True)
    ) / len(target)
    assert byol_loss(prediction, target).item() == pytest.approx(naive, rel=1e-12)
    assert byol_loss(prediction, 3 * prediction).item() == pytest.approx(0, abs=1e-12)


def test_byol_targets_get_no_gradient() -> None:
    prediction, target = _random(3, 4).requires_grad_(), _random(3, 4, seed=1).requires_grad_()
    byol_loss(prediction, target).backward()
    assert target.grad is None
    assert torch.autograd.gradcheck(lambda p: byol_loss(p, target), prediction)


def test_moving_average() -> None:
    assert ema_momentum(0, 100, 0.99) == pytest.approx(0.99)
    assert ema_momentum(50, 100, 0.99) == pytest.approx(0.995)
    assert ema_momentum(100, 100, 0.99) == pytest.approx(1.0)
    online, target = nn.Linear(3, 2), nn.Linear(3, 2)
    wanted = [0.9 * t + 0.1 * o for t, o in zip(target.parameters(), online.parameters(), strict=True)]
    update_ema(target, online, 0.9)
    for got, want in zip(target.parameters(), wanted, strict=True):
        torch.testing.assert_close(got, want)


def _naive_nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    views = [_unit(v) for v in torch.cat([first, second])]
    count = len(first)
    total = 0.0
    for i, view in enumerate(views):
        positive = math.exp(float(view @ views[(i + count) % (2 * count)]) / temperature)
        others = sum(math.exp(float(view @ o) / temperature) for k, o in enumerate(views) if k != i)
        total -= math.log(positive / others)
    return total / len(views)


def test_nt_xent_equals_the_naive_sum() -> None:
    first, second = _random(6, 5), _random(6, 5, seed=1)
    assert nt_xent_loss(first, second, 0.2).item() == pytest.approx(
        _naive_nt_xent(first, second, 0.2), rel=1e-12
    )


def test_nt_xent_does_not_depend_on_the_order_of_images_or_views() -> None:
    first, second = _random(6, 5), _random(6, 5, seed=1)
    value = nt_xent_loss(first, second, 0.1)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(nt_xent_loss(first[order], second[order], 0.1), value)
    torch.testing.assert_close(nt_xent_loss(second, first, 0.1), value)


def test_nt_xent_gradient() -> None:
    pair = _random(4, 3).requires_grad_(), _random(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: nt_xent_loss(a, b, 0.3), pair)


def _teacher(seed: int, pairs: int = 6) -> FeatureMap:
    levels = (_random(pairs, 5, 2, 2, seed=seed), _random(pairs, 3, 4, 4, seed=seed + 1))
    return FeatureMap(levels, (8, 8), (16, 16))


def _naive_similarity_distribution(
    first: Tensor, second: Tensor, teachers: tuple[FeatureMap, FeatureMap], temperature: float
) -> float:
    """Equations 2 and 3 of LEAD, one cell after the other, on dense maps."""
    size = (first.shape[2], first.shape[3])
    dense = [t.dense(size) for t in teachers]
    total, count = 0.0, 0
    for b in range(len(first)):
        for u in range(size[0] * size[1]):
            iy, ix = divmod(u, size[1])
            f, h = _unit(first[b, :, iy, ix]), _unit(dense[0][b, :, iy, ix])
            q_scores, p_scores = [], []
            for v in range(size[0] * size[1]):
                jy, jx = divmod(v, size[1])
                q_scores.append(float(f @ _unit(second[b, :, jy, jx])) / temperature)
                p_scores.append(float(h @ _unit(dense[1][b, :, jy, jx])) / temperature)
            q_mass = sum(math.exp(s) for s in q_scores)
            p_mass = sum(math.exp(s) for s in p_scores)
            total -= sum(
                math.exp(p) / p_mass * math.log(math.exp(q) / q_mass)
                for p, q in zip(p_scores, q_scores, strict=True)
            )
            count += 1
    return total / count


def test_similarity_distribution_equals_the_naive_sum() -> None:
    first, second = _random(6, 4, 3, 4, seed=5), _random(6, 4, 3, 4, seed=6)
    teachers = _teacher(7), _teacher(9)
    got = similarity_distribution_loss(first, second, *teachers, temperature=0.3).item()
    assert got == pytest.approx(_naive_similarity_distribution(first, second, teachers, 0.3), rel=1e-12)


def test_similarity_distribution_gradient() -> None:
    pair = _random(5, 3, 2, 3, seed=1).requires_grad_(), _random(5, 3, 2, 3, seed=2).requires_grad_()
    teachers = _teacher(3, pairs=5), _teacher(5, pairs=5)
    assert torch.autograd.gradcheck(lambda a, b: similarity_distribution_loss(a, b, *teachers, 0.2), pair)


def test_similarity_distribution_is_smallest_where_student_and_teacher_agree() -> None:
    """The cross-entropy of p with itself is its entropy; every other student is worse."""
    teachers = _teacher(1), _teacher(3)
    size = (4, 4)
    agreeing = [t.dense(size) for t in teachers]
    best = similarity_distribution_loss(agreeing[0], agreeing[1], *teachers, temperature=0.1)
    other = similarity_distribution_loss(
        agreeing[0] + 0.3 * _random(*agreeing[0].shape, seed=9), agreeing[1], *teachers, temperature=0.1
    )
    assert best < other


def test_similarity_distribution_ignores_lengths_and_the_order_of_pairs() -> None:
    first, second = _random(6, 4, 3, 3, seed=5), _random(6, 4, 3, 3, seed=6)
    teachers = _teacher(7), _teacher(9)
    value = similarity_distribution_loss(first, second, *teachers, temperature=0.3)
    torch.testing.assert_close(similarity_distribution_loss(2 * first, 5 * second, *teachers, 0.3), value)
    order = [4, 2, 0, 1, 3, 5]
    moved = similarity_distribution_loss(
        first[order], second[order], teachers[0][order], teachers[1][order], 0.3
    )
    torch.testing.assert_close(moved, value)
