"""Scores of equivariance, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.scores.equivariance import score
from tests.protocols.equivariance_world import (
    value,
)

# --- metrics, counted by hand ----------------------------------------------------------------------------


def by_hand() -> dict[str, np.ndarray[Any, Any]]:
    """Two images of 100 px; distances 0, 5, 20, 20 + 1e-9 | 30, 10, and two points that do not count."""
    targets = np.array([[[50.0, 50], [10, 10], [40, 60], [7, 30]], [[50, 50], [90, 90], [0, 0], [1, 1]]])
    away = np.array([[[0.0, 0], [3, 4], [12, 16], [20 + 1e-9, 0]], [[30, 0], [0, -10], [50, 0], [0, 0]]])
    counted = np.array([[True, True, True, True], [True, True, False, False]])
    return {"targets": targets, "predicted": targets + away, "counted": counted, "visible": counted}


def test_metrics_by_hand() -> None:
    values = score(by_hand(), side=100, scale_to=100, max_distance=25, seed=0)
    assert value(values, "equivariance_acc@20px").value == pytest.approx(100 * 4 / 6)
    curve = [value(values, "equivariance_acc", distance=d).value for d in range(1, 26)]
    steps = [1] * 4 + [2] * 5 + [3] * 10 + [4] + [5] * 5
    assert curve == pytest.approx([100 * step / 6 for step in steps])
    assert value(values, "equivariance_error_mean").value == pytest.approx((5 + 20 + 20 + 30 + 10) / 6)
    assert value(values, "equivariance_error_median").value == pytest.approx(15)
    assert value(values, "equivariance_auc").value == pytest.approx((25 + 20 + 5 + 5 + 0 + 15) / 25 / 6)
    assert {each.count for each in values} == {2}
    low, high = value(values, "equivariance_acc@20px").low, value(values, "equivariance_acc@20px").high
    # Whole images are resampled: 3 of 4 points of the first, 1 of 2 of the second.
    assert (low, high) == pytest.approx((50, 75))


def test_the_area_is_the_mean_of_the_curve_over_all_distances() -> None:
    arrays = by_hand()
    area = value(score(arrays, side=100, scale_to=100, max_distance=25, seed=0), "equivariance_auc").value
    errors = np.linalg.norm(arrays["predicted"] - arrays["targets"], axis=-1)[arrays["counted"]]
    fine = (np.arange(25000) + 0.5) / 1000
    assert area == pytest.approx((errors[:, None] <= fine).mean(), abs=1e-4)


def test_distances_can_be_scaled_to_another_image() -> None:
    """At 128 px the point 15 px away in 96 is exactly 20 away."""
    targets = np.array([[[48.0, 48], [48, 48]]])
    predicted = targets + np.array([[[9.0, 12], [15.001, 0]]])
    both = np.ones((1, 2), dtype=bool)
    arrays = {"targets": targets, "predicted": predicted, "counted": both, "visible": both}
    values = score(arrays, side=96, scale_to=128, max_distance=40, seed=0)
    assert value(values, "equivariance_acc@20px").value == pytest.approx(50)
    assert value(values, "equivariance_error_mean").value == pytest.approx((15 + 15.001) / 2 * 4 / 3)
    native = score(arrays, side=96, scale_to=96, max_distance=30, seed=0)
    assert value(native, "equivariance_acc@20px").value == 100
    # Area and chance are the same question asked in other units.
    for predictor in ("features", "random"):
        scaled = value(values, "equivariance_auc", predictor).value
        assert scaled == pytest.approx(value(native, "equivariance_auc", predictor).value)
    assert value(values, "equivariance_acc", "random", 40).value == pytest.approx(
        value(native, "equivariance_acc", "random", 30).value
    )


# --- chance ----------------------------------------------------------------------------------------------


def test_chance_counts_the_pixels_around_each_point_by_hand() -> None:
    """In an image of 4 px: around the centre of pixel (1, 1), around a corner, and around the middle."""
    targets = np.array([[[1.5, 1.5], [0.0, 0.0], [2.0, 2.0]]])
    for which, within in ((0, {1: 5, 2: 11, 3: 16}), (1, {1: 1, 2: 3, 3: 8}), (2, {1: 4, 2: 12, 3: 16})):
        counted = np.arange(3)[None] == which
        arrays = {"targets": targets, "predicted": targets, "counted": counted, "visible": counted}
        values = score(arrays, side=4, scale_to=4, max_distance=3, seed=0)
        found = {d: value(values, "equivariance_acc", "random", d).value * 16 / 100 for d in (1, 2, 3)}
        assert found == pytest.approx(within)
        assert value(values, "equivariance_acc@20px", "random").value == 100


def test_chance_is_the_mean_over_all_predictions() -> None:
    """Every pixel in turn as the prediction, scored as predictions are."""
    side = 5
    stream = np.random.default_rng(0)
    targets = stream.uniform(0, side, (1, 2, 2))
    every = [(j + 0.5, i + 0.5) for i in range(side) for j in range(side)]
    all_count = np.ones((1, 2), dtype=bool)
    totals: dict[tuple[str, int | None], float] = {}
    for pixel in every:
        arrays = {
            "targets": targets,
            "predicted": np.broadcast_to(np.array(pixel), targets.shape).copy(),
            "counted": all_count,
            "visible": all_count,
        }
        values = score(arrays, side=side, scale_to=7, max_distance=4, seed=0)
        for each in values:
            if each.condition["predictor"] == "features" and each.metric != "equivariance_error_median":
                key = (each.metric, each.condition.get("distance"))
                totals[key] = totals.get(key, 0) + each.value / len(every)  # type: ignore[index, arg-type]
    assert len(totals) == 3 + 4
    for (metric, distance), expected in totals.items():
        assert value(values, metric, "random", distance).value == pytest.approx(expected)
