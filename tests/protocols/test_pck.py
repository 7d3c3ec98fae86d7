"""Percentages of correct keypoints, against hand computation and the released code's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from protocols.heads.virtual_keypoints import to_pixels
from protocols.scores.pck import accuracy_6px, accuracy_px128, pck_5pct_longer_side, pck_cl
from tests.goldens import golden

SIZE = (96, 96)


def released_code(predicted: Tensor, target: Tensor, visible: Tensor, side: int) -> float:
    """The released rule, written as loops over batches, parts and images."""
    total = 0.0
    for start in range(0, len(target), 32):
        images = range(start, min(start + 32, len(target)))
        by_part = []
        for k in range(target.shape[1]):
            correct = []
            for i in images:
                x, y, px, py = ((float(v) - 0.5) * 47 / (side - 1) for v in (*target[i, k], *predicted[i, k]))
                if bool(visible[i, k]) and x > 0 and y > 0:
                    correct.append(int(np.hypot(px - x, py - y)) < 2.4)
            if correct:
                by_part.append(np.mean(correct))
        total += len(images) * (float(np.mean(by_part)) if by_part else 0.0)
    return 100 * total / len(target)


def one(x: float, y: float) -> Tensor:
    return torch.tensor([[[x, y]]], dtype=torch.float64)


SEEN = torch.ones(1, 1, dtype=torch.bool)


# --- the released rule ---------------------------------------------------------------------------------------


def test_released_pck_is_the_golden_one() -> None:
    stored = golden("contrast/e_regressor.npz")
    target, predicted = (
        to_pixels(torch.from_numpy(stored[f"pck__{name}"]).double(), SIZE) for name in ("gt", "pred")
    )
    visible = torch.from_numpy(stored["pck__vis"])
    assert pck_cl(predicted, target, visible, SIZE).mean() == pytest.approx(
        float(stored["pck__meter"]), abs=1e-4
    )
    for batch, expected in enumerate(stored["pck__per_batch"]):
        part = slice(32 * batch, 32 * batch + 32)
        found = pck_cl(predicted[part], target[part], visible[part], SIZE).mean()
        assert found == pytest.approx(float(expected), abs=1e-4)
    nothing = pck_cl(predicted, target, torch.zeros_like(visible), SIZE)
    assert nothing.mean() == float(stored["pck__all_invisible"])


def test_released_pck_around_its_threshold() -> None:
    stored = golden("contrast/e_regressor.npz")
    target, predicted = (
        to_pixels(torch.from_numpy(stored[f"pck_edge__{name}"]).double(), SIZE) for name in ("gt", "pred")
    )
    for i, expected in enumerate(stored["pck_edge__pck_each"]):
        part = slice(i, i + 1)
        assert pck_cl(predicted[part], target[part], SEEN, SIZE).mean() == float(expected)


@pytest.mark.parametrize("images", [1, 31, 32, 33, 80])
def test_released_pck_is_that_of_loops(images: int) -> None:
    generator = torch.Generator().manual_seed(images)
    target = 110 * torch.rand(images, 5, 2, generator=generator, dtype=torch.float64) - 10
    predicted = target + 4 * torch.randn(images, 5, 2, generator=generator, dtype=torch.float64)
    visible = torch.rand(images, 5, generator=generator) > 0.4
    visible[:, 4] = False
    found = pck_cl(predicted, target, visible, SIZE)
    assert found.mean() == pytest.approx(released_code(predicted, target, visible, 96), abs=1e-9)


def test_a_group_of_32_that_shows_nothing_counts_as_wrong() -> None:
    target = torch.full((64, 2, 2), 50.0, dtype=torch.float64)
    visible = torch.ones(64, 2, dtype=torch.bool)
    visible[32:] = False
    assert pck_cl(target, target, visible, SIZE).mean() == 50.0
    assert released_code(target, target, visible, 96) == 50.0


def test_released_pck_skips_annotations_on_the_first_pixels_centre_and_before() -> None:
    """In the box of 48 the centre of the first pixel is 0, so that x = 0.5 is on the border."""
    inside, outside = one(50.0, 50.0), one(50.0, 0.5)
    target = torch.cat([inside, outside], 1)
    predicted = torch.cat([inside, one(90.0, 90.0)], 1)
    found = pck_cl(predicted, target, torch.ones(1, 2, dtype=torch.bool), SIZE)
    assert found.counted.tolist() == [[True, False]]
    assert found.mean() == 100.0
    assert pck_cl(one(0.6, 0.6), one(0.6, 0.6), SEEN, SIZE).counted.item()
    # The far border is not special.
    assert pck_cl(one(96.0, 96.0), one(96.0, 96.0), SEEN, SIZE).mean() == 100.0


def test_released_pck_truncates_the_distance() -> None:
    """3 pixels of 48, in pixels of 96: a little above 6; 5 % would be 4.8."""
    limit = 3 * 95 / 47
    assert pck_cl(one(50 + limit - 0.01, 50.0), one(50.0, 50.0), SEEN, SIZE).mean() == 100.0
    assert pck_cl(one(50 + limit + 0.01, 50.0), one(50.0, 50.0), SEEN, SIZE).mean() == 0.0
    assert pck_5pct_longer_side(one(50 + limit - 0.01, 50.0), one(50.0, 50.0), SEEN, SIZE).mean() == 0.0


# --- the other rules -----------------------------------------------------------------------------------------

# Image 1 shows all three points, image 2 only the first, image 3 nothing.
TARGET = torch.tensor([[[10.0, 10.0], [50.0, 50.0], [96.0, 96.0]]] * 3, dtype=torch.float64)
VISIBLE = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
OFFSETS = torch.tensor([[4.5, 4.6, 4.9], [4.8, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
PREDICTED = TARGET - torch.stack([OFFSETS, torch.zeros(3, 3)], 2)


def test_five_percent_by_hand() -> None:
    """The limit is 4.8 of 96 pixels and counts as within: 4.5, 4.6 and 4.8 are, 4.9 is not."""
    found = pck_5pct_longer_side(PREDICTED, TARGET, VISIBLE, SIZE)
    assert found.values.tolist() == [[100, 100, 0], [100, 0, 0], [0, 0, 0]]
    assert found.mean() == pytest.approx(75.0)
    assert found.images == 2
    # The longer side decides.
    assert pck_5pct_longer_side(PREDICTED, TARGET, VISIBLE, (96, 100)).mean() == 100.0


def test_six_pixels_of_128_by_hand() -> None:
    """The limit is 4.5 of 96 pixels: landmark 1 is right in 1 of 2 images, the two others in none of 1."""
    found = accuracy_6px(PREDICTED, TARGET, VISIBLE, SIZE)
    assert found.values.tolist() == [[100, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.mean() == pytest.approx((50 + 0 + 0) / 3)
    assert found.landmark(0).mean() == 50.0
    assert found.landmark(0).images == 2
    low, high = found.interval(0)
    assert low <= found.mean() <= high


def test_landmarks_that_are_never_visible_do_not_weigh() -> None:
    visible = VISIBLE.clone()
    visible[:, 2] = False
    assert accuracy_6px(PREDICTED, TARGET, visible, SIZE).mean() == pytest.approx((50 + 0) / 2)


def test_the_accuracy_curve_pools_points_and_only_rises() -> None:
    curve = [accuracy_px128(PREDICTED, TARGET, VISIBLE, SIZE, d).mean() for d in (0, 6, 6.2, 6.4, 7)]
    assert curve == [0.0, 25.0, 50.0, 75.0, 100.0]


def test_what_is_predicted_of_occluded_landmarks_does_not_matter() -> None:
    predicted = torch.where(VISIBLE.unsqueeze(-1), PREDICTED, torch.nan)
    target = torch.where(VISIBLE.unsqueeze(-1), TARGET, torch.nan)
    for rule in (pck_5pct_longer_side, pck_cl, accuracy_6px):
        expected = rule(PREDICTED, TARGET, VISIBLE, SIZE)
        found = rule(predicted, target, VISIBLE, SIZE)
        assert found.mean() == expected.mean()
        assert torch.isfinite(found.values).all()


def test_a_prediction_that_is_no_number_is_wrong() -> None:
    nothing = one(float("nan"), 3.0)
    for rule in (pck_5pct_longer_side, pck_cl, accuracy_6px):
        assert rule(nothing, one(50.0, 50.0), SEEN, SIZE).mean() == 0.0
