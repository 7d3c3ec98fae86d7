"""Linear maps between points, against scikit-learn and the normal equations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from protocols.heads.ridge import Booleans, Floats, fit_points


def points(seed: int, count: int, number: int) -> Floats:
    return 96 * np.random.default_rng(seed).random((count, number, 2))


def everything(count: int, number: int) -> Booleans:
    return np.ones((count, number), dtype=np.bool_)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1000.0])
def test_the_map_is_scikit_learns(alpha: float) -> None:
    sources, targets, unseen = points(0, 60, 7), points(1, 60, 5), points(2, 9, 7)
    learned = fit_points(sources, targets, everything(60, 5), alpha)
    flat = sources.reshape(60, -1)
    reference = (
        LinearRegression(fit_intercept=False) if alpha == 0 else Ridge(alpha=alpha, fit_intercept=False)
    ).fit(flat, targets.reshape(60, -1))
    expected = reference.predict(unseen.reshape(9, -1)).reshape(9, 5, 2)
    np.testing.assert_allclose(learned(unseen), expected, rtol=1e-8)
    assert learned.determined


def test_a_map_that_exists_is_found() -> None:
    sources = points(0, 40, 4)
    matrix = np.random.default_rng(5).standard_normal((3, 2, 8))
    targets = np.einsum("tad,nd->nta", matrix, sources.reshape(40, -1))
    learned = fit_points(sources, targets, everything(40, 3), 0.0)
    np.testing.assert_allclose(learned.weights, matrix, atol=1e-9)


def test_too_few_examples_give_the_solution_of_least_norm() -> None:
    sources, targets = points(0, 3, 6), points(1, 3, 2)
    learned = fit_points(sources, targets, everything(3, 2), 0.0)
    assert not learned.determined
    np.testing.assert_allclose(learned(sources), targets, rtol=1e-9)
    expected = np.linalg.pinv(sources.reshape(3, -1)) @ targets.reshape(3, -1)
    np.testing.assert_allclose(learned.weights.reshape(4, 12), expected.T, rtol=1e-7)
    # By hand, one example: weights along the example itself.
    alone = fit_points(sources[:1], targets[:1], everything(1, 2), 0.0)
    along = sources[0].ravel() / np.square(sources[0]).sum()
    np.testing.assert_allclose(alone.weights[1, 0], targets[0, 1, 0] * along, rtol=1e-9)


def test_sources_that_repeat_each_other_are_no_new_ones() -> None:
    """Two landmarks in one place, up to single precision: both are used alike, and nothing is amplified."""
    sources, targets = points(0, 50, 3), points(1, 50, 2)
    noise = 1e-6 * np.random.default_rng(3).standard_normal((50, 1, 2))
    doubled = np.concatenate([sources, sources[:, :1] + noise], 1)
    learned = fit_points(doubled, targets, everything(50, 2), 0.0)
    assert not learned.determined
    simple = fit_points(sources, targets, everything(50, 2), 0.0)
    np.testing.assert_allclose(learned(doubled), simple(sources), atol=1e-4)
    np.testing.assert_allclose(learned.weights[:, :, :2], learned.weights[:, :, 6:], atol=1e-5)


def test_each_landmark_learns_where_it_is_visible() -> None:
    sources, targets = points(0, 60, 5), points(1, 60, 4)
    visible = everything(60, 4)
    visible[::3, 1] = False
    visible[:20, 3] = False
    hidden = np.where(visible[..., None], targets, 1e6)
    learned = fit_points(sources, hidden, visible, 0.0)
    for k in range(4):
        seen = visible[:, k]
        alone = fit_points(sources[seen], targets[seen][:, k : k + 1], everything(int(seen.sum()), 1), 0.0)
        np.testing.assert_allclose(learned.weights[k : k + 1], alone.weights, rtol=1e-9)


def test_a_landmark_without_examples_has_no_weights() -> None:
    visible = everything(30, 2)
    visible[:, 1] = False
    learned = fit_points(points(0, 30, 3), points(1, 30, 2), visible, 0.0)
    assert not learned.determined
    assert not learned.weights[1].any()
    assert learned.weights[0].any()
