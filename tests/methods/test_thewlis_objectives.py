"""Equations 5 to 8 of Thewlis et al. 2017 against loops in float64, and what must hold for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.geometry import TPSStrength, TPSWarp
from methods.networks.landmark_maps import cell_centres, expected_points, probability_maps
from methods.objectives.alignment import alignment_loss, point_alignment_loss
from methods.objectives.diversity import diversity_loss, overlap_loss


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _maps(*shape: int, seed: int = 0) -> Tensor:
    return probability_maps(2 * _random(*shape, seed=seed))


def _cells(height: int, width: int) -> Tensor:
    return cell_centres((height, width), (height, width), like=torch.empty(0, dtype=torch.float64))


def _bumps(centres: Tensor, size: int, sigma: float) -> Tensor:
    """Gaussian maps (B, K, size, size) around points (B, K, 2)."""
    squared = (_cells(size, size) - centres[:, :, None, None]).square().sum(-1)
    return probability_maps(-squared / (2 * sigma**2))


# --- alignment -------------------------------------------------------------------------------------------------


def _naive_alignment(p: Tensor, q: Tensor, places: Tensor, mapped: Tensor) -> float:
    """Equation 6, one pair of cells after the other."""
    images, landmarks, height, width = p.shape
    total = 0.0
    for b in range(images):
        for r in range(landmarks):
            for u in range(height * width):
                uy, ux = divmod(u, width)
                for v in range(q.shape[2] * q.shape[3]):
                    vy, vx = divmod(v, q.shape[3])
                    apart = places[uy, ux] - mapped[b, vy, vx]
                    total += float(apart @ apart) * float(p[b, r, uy, ux]) * float(q[b, r, vy, vx])
    return total / (images * landmarks)


def test_alignment_equals_the_naive_sum_over_pairs_of_cells() -> None:
    p, q = _maps(2, 2, 3, 4), _maps(2, 2, 2, 3, seed=1)
    mapped = 3 * _random(2, 2, 3, 2, seed=2)
    got = alignment_loss(p, q, _cells(3, 4), mapped).item()
    assert got == pytest.approx(_naive_alignment(p, q, _cells(3, 4), mapped), rel=1e-12)


def test_alignment_known_values() -> None:
    """Two cells, one unit apart: certain and equal 0; certain and different 1; both undecided 1/2."""
    places = _cells(1, 2)
    left, right, both = (
        torch.tensor(m, dtype=torch.float64).reshape(1, 1, 1, 2) for m in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    )
    identity = places[None]
    values = [
        alignment_loss(a, b, places, identity).item() for a, b in ((left, left), (left, right), (both, both))
    ]
    assert values == pytest.approx([0.0, 1.0, 0.5], abs=1e-15)
    shifted = identity + torch.tensor([1.0, 0.0])
    assert alignment_loss(right, left, places, shifted).item() == pytest.approx(0, abs=1e-15)
    assert alignment_loss(left, left, places, shifted).item() == pytest.approx(1.0)


def test_alignment_pinned() -> None:
    p, q = (
        torch.softmax(torch.tensor(m, dtype=torch.float64), 0).reshape(1, 1, 2, 2)
        for m in ((2.0, 0.0, 1.0, -1.0), (0.5, 1.5, 0.0, 0.0))
    )
    mapped = torch.tensor([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 1.0]], dtype=torch.float64)
    assert alignment_loss(p, q, _cells(2, 2), mapped.reshape(1, 2, 2, 2)).item() == pytest.approx(
        2.4401133477081243, rel=1e-12
    )


def test_certain_landmarks_that_follow_the_warp_cost_nothing() -> None:
    """g takes a place of the warped image back to the image: delta maps at v and at the cell g(v) agree."""
    size = 8
    cells = _cells(size, size)
    # The warped image shows the image moved 2 cells right and 1 down, so that v is seen at v - (2, 1).
    mapped = (cells - torch.tensor([2.0, 1.0]))[None]
    p, q = torch.zeros(1, 2, size, size).double(), torch.zeros(1, 2, size, size).double()
    p[0, 0, 3, 1] = q[0, 0, 4, 3] = 1
    p[0, 1, 5, 4] = q[0, 1, 6, 6] = 1
    assert alignment_loss(p, q, cells, mapped).item() == pytest.approx(0, abs=1e-12)
    # The other direction of the warp would be 2 * (2, 1) off.
    assert alignment_loss(q, p, cells, mapped).item() == pytest.approx(4 * 5)


def test_landmarks_that_follow_a_warp_are_left_with_their_spread() -> None:
    size, sigma = 48, 1.2
    strength = TPSStrength(0.001, 0.01, 0.1, 0.05, 20.0)
    warp = TPSWarp.draw(3, strength, torch.Generator().manual_seed(1), subset="add")
    there = size / 2 + 4 * _random(3, 5, 2, seed=2)
    here = warp.source_of(there, (size, size))
    cells = _cells(size, size)
    mapped = warp.source_map((size, size))
    p, q = _bumps(here, size, sigma), _bumps(there, size, sigma)
    spread = 0.0
    for maps, places in ((p, cells.expand(3, -1, -1, -1)), (q, mapped)):
        means = torch.einsum("bkhw,bhwc->bkc", maps, places)
        apart = (places[:, None] - means[:, :, None, None]).square().sum(-1)
        spread += (maps * apart).sum((2, 3)).mean().item()
    value = alignment_loss(p, q, cells, mapped).item()
    # Means under a slightly curved warp are not exactly the warp of the means.
    assert value == pytest.approx(spread, abs=0.02)
    away = alignment_loss(_bumps(here + 1.0, size, sigma), q, cells, mapped).item()
    assert away == pytest.approx(value + 2.0, abs=0.1)


def test_alignment_does_not_depend_on_origin_or_order() -> None:
    p, q, mapped = _maps(4, 3, 5, 5), _maps(4, 3, 5, 5, seed=1), 2 * _random(4, 5, 5, 2, seed=2)
    value = alignment_loss(p, q, _cells(5, 5), mapped)
    torch.testing.assert_close(alignment_loss(p, q, _cells(5, 5) + 7, mapped + 7), value)
    torch.testing.assert_close(alignment_loss(p, q, 3 * _cells(5, 5), 3 * mapped), 9 * value)
    images, landmarks = [2, 0, 3, 1], [1, 2, 0]
    moved = alignment_loss(p[images][:, landmarks], q[images][:, landmarks], _cells(5, 5), mapped[images])
    torch.testing.assert_close(moved, value)


def test_alignment_keeps_its_digits_in_halves() -> None:
    """Under autocast the products are still single precision; the maps are as wide as their soft-max gives them."""
    p, q, mapped = (
        _maps(2, 3, 40, 40),
        _maps(2, 3, 40, 40, seed=1),
        _cells(40, 40)[None].expand(2, -1, -1, -1),
    )
    exact = alignment_loss(p, q, _cells(40, 40), mapped).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = alignment_loss(p.float(), q.float(), _cells(40, 40).float(), mapped.float())
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(exact, rel=1e-5)


def test_alignment_gradient() -> None:
    scores = _random(2, 2, 3, 3).requires_grad_(), _random(2, 2, 3, 3, seed=1).requires_grad_()
    mapped = _random(2, 3, 3, 2, seed=2)
    assert torch.autograd.gradcheck(
        lambda a, b: alignment_loss(probability_maps(a), probability_maps(b), _cells(3, 3), mapped), scores
    )


def test_point_alignment_equals_the_naive_sum() -> None:
    points, mapped = _random(3, 4, 2), _random(3, 4, 2, seed=1)
    naive = sum(
        float((points[b, r] - mapped[b, r]) @ (points[b, r] - mapped[b, r]))
        for b in range(3)
        for r in range(4)
    ) / (3 * 4)
    assert point_alignment_loss(points, mapped).item() == pytest.approx(naive, rel=1e-12)
    assert torch.autograd.gradcheck(point_alignment_loss, (points.requires_grad_(), mapped.requires_grad_()))


def test_equation_6_is_equation_5_plus_the_spread() -> None:
    p, q, cells = _maps(2, 3, 6, 6), _maps(2, 3, 6, 6, seed=1), _cells(6, 6)
    points = [expected_points(maps, (6, 6)) for maps in (p, q)]
    spread = sum(
        (maps * (cells - at[:, :, None, None]).square().sum(-1)).sum((2, 3)).mean().item()
        for maps, at in zip((p, q), points, strict=True)
    )
    whole = alignment_loss(p, q, cells, cells[None].expand(2, -1, -1, -1)).item()
    assert whole == pytest.approx(point_alignment_loss(points[0], points[1]).item() + spread, rel=1e-12)


# --- diversity -------------------------------------------------------------------------------------------------


def _naive_diversity(p: Tensor, patch: int) -> float:
    images, landmarks, height, width = p.shape
    total = 0.0
    for b in range(images):
        value = float(landmarks)
        for top in range(0, height, patch):
            for left in range(0, width, patch):
                value -= max(
                    sum(
                        float(p[b, r, y, x])
                        for y in range(top, min(top + patch, height))
                        for x in range(left, min(left + patch, width))
                    )
                    for r in range(landmarks)
                )
        total += value
    return total / images


@pytest.mark.parametrize(
    ("patch", "size"), [(1, (3, 4)), (2, (4, 6)), (5, (10, 5)), (3, (7, 8)), (5, (6, 6))]
)
def test_diversity_equals_the_naive_loop(patch: int, size: tuple[int, int]) -> None:
    p = _maps(3, 4, *size)
    assert diversity_loss(p, patch).item() == pytest.approx(_naive_diversity(p, patch), rel=1e-12)


def _naive_overlap(p: Tensor) -> float:
    images, landmarks, height, width = p.shape
    total = 0.0
    for b in range(images):
        for r in range(landmarks):
            for other in range(landmarks):
                if r != other:
                    total += sum(
                        float(p[b, r, y, x]) * float(p[b, other, y, x])
                        for y in range(height)
                        for x in range(width)
                    )
    return total / (images * landmarks**2)


def test_overlap_equals_the_naive_loop() -> None:
    p = _maps(2, 4, 3, 5)
    assert overlap_loss(p).item() == pytest.approx(_naive_overlap(p), rel=1e-12)


def test_diversity_known_values() -> None:
    same = _maps(1, 1, 10, 10).expand(2, 7, -1, -1)
    assert diversity_loss(same, 5).item() == pytest.approx(6)
    corners = torch.zeros(1, 4, 10, 10)
    for r, (y, x) in enumerate(((0, 0), (4, 9), (9, 4), (9, 9))):
        corners[0, r, y, x] = 1
    assert diversity_loss(corners, 5).item() == 0
    assert overlap_loss(corners).item() == 0
    # Two landmarks in one patch: one of them is lost, but their supports are still disjoint.
    corners[0, 1] = 0
    corners[0, 1, 4, 4] = 1
    assert diversity_loss(corners, 5).item() == 1
    assert diversity_loss(corners, 1).item() == 0
    assert overlap_loss(corners).item() == 0


def test_diversity_pinned() -> None:
    p = torch.softmax(torch.arange(2 * 3 * 3, dtype=torch.float64).reshape(2, 9).sin() * 2, 1).reshape(
        1, 2, 3, 3
    )
    assert diversity_loss(p, 1).item() == pytest.approx(0.16459613145795227, rel=1e-12)
    assert diversity_loss(p, 2).item() == pytest.approx(0.7278195649136456, rel=1e-12)
    assert overlap_loss(p).item() == pytest.approx(0.013898267380162076, rel=1e-12)


def test_diversity_does_not_depend_on_the_order_of_images_or_landmarks() -> None:
    p = _maps(3, 4, 6, 6)
    moved = p[[2, 0, 1]][:, [3, 1, 0, 2]]
    torch.testing.assert_close(diversity_loss(moved, 3), diversity_loss(p, 3))
    torch.testing.assert_close(overlap_loss(moved), overlap_loss(p))


def test_diversity_gradients() -> None:
    scores = _random(2, 3, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: diversity_loss(probability_maps(s), 3), scores)
    assert torch.autograd.gradcheck(lambda s: overlap_loss(probability_maps(s)), scores)
