from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from protocols.heads import soft_argmax
from protocols.heads.soft_argmax import spatial_soft_argmax

LEVELS = {
    "native": ([(8, 6)], (8, 6)),
    "upsampled": ([(4, 3)], (9, 7)),
    "downsampled": ([(9, 8)], (4, 5)),
    "hypercolumn": ([(8, 6), (4, 3), (2, 2), (1, 1)], (12, 10)),
    "hypercolumn at its finest level": ([(2, 2), (8, 6), (4, 3)], (8, 6)),
    "two levels of the map's size": ([(8, 6), (8, 6)], (8, 6)),
}


def straightforward(levels: list[Tensor], size: tuple[int, int], multiplier: float) -> Tensor:
    """What the released codes do: resize, add, soft-max over all cells, expected coordinates."""
    maps = sum(F.interpolate(level, size, mode="bilinear", align_corners=False) for level in levels)
    assert isinstance(maps, Tensor)
    mass = torch.softmax(multiplier * maps.flatten(2), dim=2).view_as(maps)
    x = (mass.sum(2) * torch.linspace(-1, 1, size[1], dtype=maps.dtype)).sum(2)
    y = (mass.sum(3) * torch.linspace(-1, 1, size[0], dtype=maps.dtype)).sum(2)
    return torch.stack([x, y], dim=2)


def random_levels(shapes: list[tuple[int, int]], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(3, 5, h, w, generator=generator, dtype=dtype).requires_grad_() for h, w in shapes]


@pytest.mark.parametrize("case", LEVELS)
@pytest.mark.parametrize("cells_per_block", [1, 250, 2**19])
def test_equals_the_straightforward_way(
    case: str, cells_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_argmax, "_CELLS_ON_CPU", cells_per_block)
    shapes, size = LEVELS[case]
    levels = random_levels(shapes)
    towards = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    ours = spatial_soft_argmax(levels, size, 3.0)
    our_gradients = torch.autograd.grad((ours * towards).sum(), levels)
    theirs = straightforward(levels, size, 3.0)
    their_gradients = torch.autograd.grad((theirs * towards).sum(), levels)

    torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=0)
    for our, their in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(our, their, atol=1e-13, rtol=0)


@pytest.mark.parametrize("case", LEVELS)
def test_gradient_is_the_derivative(case: str) -> None:
    shapes, size = LEVELS[case]
    levels = [level[:2, :2].detach().requires_grad_() for level in random_levels(shapes)]
    assert torch.autograd.gradcheck(lambda *given: spatial_soft_argmax(given, size, 2.0), levels)


@pytest.mark.parametrize("case", LEVELS)
def test_any_memory_layout_gives_the_same(case: str) -> None:
    shapes, size = LEVELS[case]
    levels = random_levels(shapes)
    maps_first = [level.transpose(0, 1).contiguous().transpose(0, 1) for level in levels]
    channels_last = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    expected = spatial_soft_argmax(levels, size, 3.0)
    assert torch.equal(spatial_soft_argmax(maps_first, size, 3.0), expected)
    assert torch.equal(spatial_soft_argmax(channels_last, size, 3.0), expected)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_saturated_float32_is_as_near_to_float64_as_the_straightforward_way(scale: float) -> None:
    generator = torch.Generator().manual_seed(5)
    levels = [(scale * torch.randn(4, 60, n, n, generator=generator)).requires_grad_() for n in (24, 6)]
    exact_levels = [level.detach().double().requires_grad_() for level in levels]
    exact = straightforward(exact_levels, (24, 24), 100.0)
    exact_gradients = torch.autograd.grad(exact.sum(), exact_levels)

    def errors(points: Tensor) -> tuple[Tensor, Tensor]:
        gradients = torch.autograd.grad(points.sum(), levels)
        off = [(g - e).norm() for g, e in zip(gradients, exact_gradients, strict=True)]
        return (points - exact).detach().norm(), torch.stack(off).norm()

    ours = errors(spatial_soft_argmax(levels, (24, 24), 100.0))
    theirs = errors(straightforward(levels, (24, 24), 100.0))
    # Two sums of the same numbers in different orders: neither is better, and a few maps dominate.
    assert ours[0] < 6 * theirs[0]
    assert ours[1] < 6 * theirs[1]


def test_far_underflow_is_finite() -> None:
    levels = [(1e4 * level.detach()).float().requires_grad_() for level in random_levels([(24, 24), (6, 6)])]
    points = spatial_soft_argmax(levels, (24, 24), 100.0)
    for gradient in torch.autograd.grad(points.sum(), levels):
        assert torch.isfinite(gradient).all()
    torch.testing.assert_close(points, straightforward(levels, (24, 24), 100.0))


def test_one_peak_is_found_where_it_is() -> None:
    level = torch.zeros(1, 1, 5, 9)
    level[0, 0, 1, 6] = 10.0
    # Column 6 of 9 lies at -1 + 6 * 2/8, row 1 of 5 at -1 + 1 * 2/4.
    torch.testing.assert_close(spatial_soft_argmax([level], (5, 9), 100.0), torch.tensor([[[0.5, -0.5]]]))


def test_no_gradient_where_none_is_asked() -> None:
    fixed, free = random_levels([(4, 4), (2, 2)])
    points = spatial_soft_argmax([fixed.detach(), free], (4, 4), 1.0)
    torch.autograd.backward(points.sum())
    assert free.grad is not None
    assert fixed.grad is None


@pytest.mark.parametrize("levels", [[], [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]])
def test_levels_that_do_not_belong_together_are_refused(levels: list[Tensor]) -> None:
    with pytest.raises(BenchError, match="one B and one M"):
        spatial_soft_argmax(levels, (4, 4), 1.0)
