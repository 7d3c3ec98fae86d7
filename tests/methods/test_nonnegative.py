"""Non-negative projections against SciPy, one pixel after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch.nn import functional as F

from bench.errors import BenchError
from bench.features import FeatureMap
from bench.least_squares import nonnegative_least_squares
from methods.networks.nonnegative import NonNegativeProjection, nonnegative_components


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dim", [3, 20, 40])
def test_equals_scipy(dim: int) -> None:
    """Parts with much in common, and right-hand sides far outside their cone."""
    parts = F.normalize(_random(dim, 60) ** 4, dim=1)
    wanted = _random(50, 60, seed=1) ** 6
    reference = np.stack([nnls(parts.T.numpy(), h.numpy())[0] for h in wanted])
    assert (reference == 0).any()
    assert (reference > 0).any()
    got = nonnegative_least_squares(parts @ parts.T, parts @ wanted.T, iterations=1000)
    np.testing.assert_allclose(got.T.numpy(), reference, atol=1e-6)
    few = nonnegative_least_squares((parts @ parts.T).float(), (parts @ wanted.T).float())
    np.testing.assert_allclose(few.T.numpy(), reference, atol=1e-4)


def test_two_parts_by_hand() -> None:
    """h = (3, -1): onto the axes (3, 0); onto (1, 0) and (1, 1) the second amount would be -1, so it is none."""
    parts = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    products = parts @ torch.tensor([[3.0], [-1.0]])
    got = nonnegative_least_squares(parts @ parts.T, products)
    torch.testing.assert_close(got, torch.tensor([[3.0], [0.0]]), atol=1e-4, rtol=0)


def test_a_map_is_reduced_cell_by_cell() -> None:
    projection = NonNegativeProjection(7, 4)
    # Its own are drawn at random, and now and then so much alike that the iterations end before the third digit.
    projection.load_state_dict({"components": F.normalize(_random(4, 7, seed=2).float(), dim=1)})
    levels = _random(2, 5, 3, 3).float(), _random(2, 2, 6, 6, seed=1).float()
    features = FeatureMap(levels, (6, 6), (24, 24))
    got = projection(features)
    assert got.shape == (2, 4, 6, 6)
    dense, parts = features.dense().double().numpy(), projection.get_buffer("components").double().numpy()
    for b, row, column in ((0, 0, 0), (0, 5, 2), (1, 3, 4)):
        wanted, _ = nnls(parts.T, dense[b, :, row, column])
        np.testing.assert_allclose(got[b, :, row, column].numpy(), wanted, atol=2e-3)


def test_parts_of_a_sum_are_found() -> None:
    parts = F.normalize(torch.eye(4, 12).float() + torch.eye(4, 12).float().roll(5, dims=1), dim=1)
    amounts = torch.distributions.Exponential(1.0).sample((500, 4)) * (_random(500, 4) > 0.5)
    found = nonnegative_components((amounts @ parts).float(), 4, iterations=500, seed=2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    similarity = (found @ parts.T).max(dim=0).values
    assert similarity.min() > 0.99


def test_too_few_pixels_or_channels() -> None:
    with pytest.raises(BenchError, match="3 pixels of 8 channels cannot be factorised into 5 parts"):
        nonnegative_components(torch.rand(3, 8), 5, iterations=2, seed=0)
