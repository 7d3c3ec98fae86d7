"""Linear maps by Adam: against the closed form, by hand, with hidden landmarks, and interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.context import RunContext
from protocols.heads.gradient_map import AdamSettings, fit_points_by_adam
from protocols.heads.ridge import PointMap, fit_points
from tests.killing import KilledError, Killer

SIDE = 32
SETTINGS = AdamSettings(steps=700, batch_size=80, learning_rate=0.04, weight_decay=0.0)

Floats = NDArray[np.float64]


def related(noise: float = 0.0) -> tuple[Floats, Floats]:
    """80 examples of 3 sources and 2 targets that are a linear function of them about the image's centre."""
    stream = np.random.default_rng(0)
    sources = stream.uniform(4, 28, (80, 3, 2))
    weights = stream.normal(0, 0.5, (4, 6))
    targets = (sources.reshape(80, 6) - 16) @ weights.T + 16 + noise * stream.normal(size=(80, 4))
    return sources, targets.reshape(80, 2, 2)


def fit(
    sources: Floats, targets: Floats, visible: NDArray[np.bool_] | None = None, **changes: Any
) -> PointMap:
    seen = np.ones(targets.shape[:2], dtype=np.bool_) if visible is None else visible
    keywords = {"seed": 3, "run": RunContext(), "key": "x", **changes}
    settings = keywords.pop("settings", SETTINGS)
    return fit_points_by_adam(sources, targets, seen, SIDE, settings, **keywords)


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_converges_to_the_closed_form(noise: float) -> None:
    """With all examples in every batch, where there is noise: the best map is then that of least squares."""
    sources, targets = related(noise)
    found = fit(sources, targets)
    closed = fit_points(sources - 16, targets - 16, np.ones((80, 2), dtype=np.bool_), 0.0)
    np.testing.assert_allclose(found.weights, closed.weights, atol=2e-3)
    np.testing.assert_allclose(found(sources), closed(sources - 16) + 16, atol=0.02)
    if not noise:
        np.testing.assert_allclose(found(sources), targets, atol=0.02)


def test_small_batches_come_near_it() -> None:
    sources, targets = related()
    found = fit(sources, targets, settings=SETTINGS.model_copy(update={"batch_size": 8}))
    np.testing.assert_allclose(found(sources), targets, atol=0.1)


def test_one_step_by_hand() -> None:
    """Adam's first step is the rate along each coordinate with a gradient, whatever its size.

    The source (24, 12) is (0.5, -0.25) from the centre in half sides, the target (32, 16) is (1, 0). From zero weights
    the error is (-1, 0), and the gradient of its mean square -(1, 0) times the source.
    """
    once = SETTINGS.model_copy(update={"steps": 1, "batch_size": 1})
    found = fit(np.array([[[24.0, 12.0]]]), np.array([[[32.0, 16.0]]]), settings=once)
    assert once.rate(0) == 0.04
    np.testing.assert_allclose(found.weights, [[[0.04, -0.04], [0.0, 0.0]]], rtol=1e-6)
    # 16 + 0.04 (8 + 4) along x.
    np.testing.assert_allclose(found(np.array([[[24.0, 12.0]]])), [[[16.48, 16.0]]], rtol=1e-6)


def test_what_stands_on_the_centre_stays_there() -> None:
    sources, targets = related()
    found = fit(sources, targets, settings=SETTINGS.model_copy(update={"steps": 5}))
    np.testing.assert_array_equal(found(np.full((1, 3, 2), 16.0)), np.full((1, 2, 2), 16.0))


def test_hidden_targets_teach_nothing() -> None:
    sources, targets = related(noise=1.0)
    visible = np.ones((80, 2), dtype=np.bool_)
    visible[::3, 1] = False
    hidden = np.where(visible[..., None], targets, np.nan)
    found = fit(sources, hidden, visible)
    seen = visible[:, 1]
    closed = fit_points(sources[seen] - 16, targets[seen] - 16, visible[seen], 0.0)
    np.testing.assert_allclose(found.weights[1], closed.weights[1], atol=2e-3)
    never = fit(sources, np.full_like(targets, np.nan), np.zeros((80, 2), dtype=np.bool_))
    np.testing.assert_array_equal(never.weights, 0)


def test_decay_shrinks_the_map() -> None:
    sources, targets = related()
    decayed = fit(sources, targets, settings=SETTINGS.model_copy(update={"weight_decay": 0.1}))
    assert np.linalg.norm(decayed.weights) < 0.8 * np.linalg.norm(fit(sources, targets).weights)


def test_the_rate_falls_for_the_last_quarter() -> None:
    rates = [SETTINGS.model_copy(update={"steps": 8}).rate(step) for step in range(8)]
    np.testing.assert_allclose(rates, [0.04] * 6 + [0.004] * 2)


def test_an_interrupted_fit_continues(tmp_path: Path) -> None:
    sources, targets = related(noise=1.0)
    settings = SETTINGS.model_copy(update={"steps": 40, "batch_size": 8})
    expected = fit(sources, targets, settings=settings)
    killed = RunContext(partial=tmp_path, progress=Killer("fitting x", 17))
    with pytest.raises(KilledError):
        fit(sources, targets, settings=settings, run=killed, save_seconds=0.0)
    assert len(list(tmp_path.iterdir())) == 1
    again = fit(sources, targets, settings=settings, run=RunContext(partial=tmp_path))
    np.testing.assert_array_equal(again.weights, expected.weights)
    assert not list(tmp_path.iterdir())
    assert not np.array_equal(fit(sources, targets, settings=settings, seed=4).weights, expected.weights)
