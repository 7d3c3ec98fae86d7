"""Errors of points, against hand computation and the released code's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from protocols.scores.metrics import (
    accuracy_within,
    counted_values,
    nme_interocular,
    normaliser_lengths,
    point_errors,
    px70,
    px128,
)

GOLDENS = Path(__file__).resolve().parents[2].parent / "shared" / "goldens"
EYES = ((0,), (1,))
TARGET = torch.tensor([[[10.0, 10.0], [20.0, 10.0], [15.0, 20.0]], [[0.0, 0.0], [0.0, 50.0], [5.0, 5.0]]])
PREDICTED = TARGET + torch.tensor(
    [[[3.0, 4.0], [0.0, 0.0], [0.0, -1.0]], [[0.0, 5.0], [6.0, 8.0], [0.0, 0.0]]]
)
ALL = torch.ones(2, 3, dtype=torch.bool)


def test_errors_are_distances() -> None:
    assert point_errors(PREDICTED, TARGET).tolist() == [[5.0, 0.0, 1.0], [5.0, 10.0, 0.0]]
    with pytest.raises(BenchError, match=r"\(1, 3, 2\) and \(2, 3, 2\)"):
        point_errors(PREDICTED[:1], TARGET)
    with pytest.raises(BenchError, match=r"\(N, K, 2\)"):
        point_errors(PREDICTED[0], TARGET[0])


def test_interocular_error_by_hand() -> None:
    errors = nme_interocular(PREDICTED, TARGET, ALL, EYES)
    assert errors.values.tolist() == [[50.0, 0.0, 10.0], [10.0, 20.0, 0.0]]
    assert errors.mean() == pytest.approx(15.0)
    assert (errors.images, errors.excluded) == (2, 0)


def test_occluded_landmarks_do_not_count() -> None:
    visible = torch.tensor([[True, True, False], [True, True, True]])
    predicted = PREDICTED.clone()
    predicted[0, 2] = float("nan")  # Whatever is predicted there.
    errors = nme_interocular(predicted, TARGET, visible, EYES)
    assert errors.values.tolist() == [[50.0, 0.0, 0.0], [10.0, 20.0, 0.0]]
    assert errors.mean() == pytest.approx(80 / 5)


def test_images_without_their_normaliser_are_left_out_and_counted() -> None:
    visible = torch.tensor([[True, False, True], [True, True, True]])
    errors = nme_interocular(PREDICTED, TARGET, visible, EYES)
    assert errors.counted.tolist() == [[False] * 3, [True] * 3]
    assert errors.mean() == pytest.approx(10.0)
    assert (errors.images, errors.excluded) == (1, 1)
    one_place = TARGET.clone()
    one_place[1, 1] = one_place[1, 0]
    assert nme_interocular(PREDICTED, one_place, ALL, EYES).excluded == 1
    nothing = nme_interocular(PREDICTED, TARGET, torch.zeros_like(ALL), EYES)
    assert nothing.excluded == 0  # Nothing was to be seen in them anyway.
    with pytest.raises(BenchError, match="nothing to average"):
        nothing.mean()


def test_normalisers_may_be_centres_of_groups() -> None:
    points = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [1.0, 9.0], [1.0, 3.0]]])
    lengths, defined = normaliser_lengths(points, ((0, 1), (2, 3)), torch.ones(1, 4, dtype=torch.bool))
    assert lengths.tolist() == [6.0]
    assert defined.tolist() == [True]
    for wrong in (((0,), (4,)), ((), (1,)), ((0,), (-1,))):
        with pytest.raises(BenchError, match="does not fit 4 landmarks"):
            normaliser_lengths(points, wrong, torch.ones(1, 4, dtype=torch.bool))


def test_pixels_of_a_70_pixel_image() -> None:
    assert px70(torch.tensor([96.0, 9.6]), 96).tolist() == pytest.approx([70.0, 7.0])
    assert px70(torch.tensor([3.0]), 70).tolist() == [3.0]


def test_accuracy_includes_the_limit() -> None:
    visible = ALL.clone()
    visible[1, 2] = False
    accuracy = accuracy_within(point_errors(PREDICTED, TARGET), 5.0, visible)
    assert accuracy.values.tolist() == [[100, 100, 100], [100, 0, 0]]
    assert accuracy.mean() == pytest.approx(80.0)


def test_balanced_means_weigh_landmarks_alike() -> None:
    """Landmark means 2, 6 and none: their mean is 4, and that of the points 3."""
    values = torch.tensor([[1.0, 6.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    counted = torch.tensor([[True, True, False], [True, False, False], [True, False, False]])
    points = counted_values(values, counted)
    assert points.mean() == 3.0
    assert points.balanced().mean() == pytest.approx(4.0)
    assert points.landmark(1).mean() == 6.0
    assert points.landmark(1).images == 1
    low, high = points.balanced().interval(0)
    assert low < 4.0 < high
    with pytest.raises(BenchError, match="nothing to average"):
        points.landmark(2).mean()


def test_pixels_of_a_128_pixel_image() -> None:
    assert px128(torch.tensor([4.5, 96.0]), 96).tolist() == [6.0, 128.0]


def test_intervals_are_over_images() -> None:
    values = torch.rand(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    visible = torch.rand(400, 3, generator=torch.Generator().manual_seed(1)) > 0.3
    counted = counted_values(values, visible)
    low, high = counted.interval(seed=0)
    assert low < counted.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 840), rel=0.1)
    # Landmarks that repeat one value per image tell no more than one landmark.
    repeated = counted_values(values[:, :1].expand(-1, 3), torch.ones_like(visible))
    low, high = repeated.interval(seed=0)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 400), rel=0.1)


@pytest.mark.parametrize("name", ["dve/e_regressor.npz", "contrast/e_regressor.npz"])
def test_golden_interocular_errors(name: str) -> None:
    path = GOLDENS / name
    if not path.exists():
        pytest.skip(f"needs the golden vectors {name} beside the checkout")
    with np.load(path, allow_pickle=False) as archive:
        stored: dict[str, np.ndarray[Any, Any]] = {key: archive[key] for key in archive.files}
    compared = 0
    for key, eyes in stored.items():
        tag, _, kind = key.partition("__")
        if kind != "eye":
            continue
        gt = stored.get(f"{tag}__gt", stored.get(f"{tag}__kp"))
        expected = stored.get(f"{tag}__iod", stored.get(f"{tag}__iod_all_at_once"))
        assert gt is not None
        assert expected is not None
        left, right = (int(v) for v in eyes)
        errors = nme_interocular(
            torch.from_numpy(stored[f"{tag}__pred"]),
            torch.from_numpy(gt),
            torch.ones(gt.shape[:2], dtype=torch.bool),
            ((left,), (right,)),
        )
        assert errors.mean() == pytest.approx(float(expected), abs=1e-3)
        compared += 1
    assert compared >= 2
