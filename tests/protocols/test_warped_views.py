"""Detections on warped views: as the annotation moves, so does what is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.context import RunContext
from bench.geometry import TPSWarp
from bench.seeds import torch_generator
from protocols.heads.warped_views import WARPS, WarpedViews, warped_views
from tests.protocols.regression_world import MARGIN, SIDE, world
from tests.protocols.test_discovered import Finds


def test_a_view_by_hand() -> None:
    """One image after another, by the warps alone; the detector sees the crop, in [0, 1], of the warped frame."""
    split = world("train", 3)
    views = warped_views(Finds(), split, 2, RunContext(seed=5, batch_size=2))
    full = SIDE + 2 * MARGIN
    for view in range(2):
        generator = torch_generator(5, "discovered", "warps", view)
        warps = TPSWarp.draw(3, WARPS, generator, subset="add")
        for place in range(3):
            warp = warps[place : place + 1]
            image = warp.warp_images(split.images[place : place + 1].float() / 255)
            cropped = image[..., MARGIN : full - MARGIN, MARGIN : full - MARGIN]
            np.testing.assert_allclose(
                views.discovered[view, place], Finds().landmarks(cropped)[0], atol=1e-4
            )
            moved, reached = warp.move_points(split.points[place : place + 1], (full, full))
            expected = torch.where(reached.unsqueeze(-1), moved - MARGIN, 0.0)[0]
            np.testing.assert_allclose(views.annotated[view, place], expected, atol=1e-4)
            np.testing.assert_array_equal(views.visible[view, place], reached[0])
            back = warp.source_of(moved, (full, full))[reached]
            np.testing.assert_allclose(back, split.points[place : place + 1][reached], atol=1e-3)
    assert views.visible.mean() > 0.7  # those that leave the frame by far are found nowhere


def test_what_is_found_moves_with_the_annotation() -> None:
    """Each colour's middle is a landmark; no interpolation or half pixel comes between, except at the border."""
    views = warped_views(Finds(), world("train", 30), 3, RunContext())
    inside = ((views.annotated > 6) & (views.annotated < SIDE - 6)).all(3) & views.visible
    off = np.linalg.norm(views.discovered[:, :, :3] - views.annotated, axis=3)[inside]
    assert inside.mean() > 0.4
    assert np.median(off) < 0.1
    assert off.max() < 0.6
    assert np.linalg.norm(views.annotated[0] - views.annotated[1], axis=2).mean() > 1


def test_the_warps_are_those_of_the_paper() -> None:
    """Rotations of 20 degrees, translations of a tenth of half the side, scales of 5 %, by sample."""
    warps = TPSWarp.draw(2000, WARPS, torch_generator(0), subset="add").weights
    shift, along = warps[:, -3], warps[:, -2]
    assert abs(float(shift.std()) - 0.1) < 0.01
    turn = torch.rad2deg(torch.atan2(-along[:, 1], along[:, 0]))
    assert abs(float(turn.std()) - 20) < 1.5
    assert abs(float(along.norm(dim=1).std()) - 0.05) < 0.005
    # 0.001 everywhere and, added with probability one half, 0.01.
    assert abs(float(warps[:, :100].square().mean()) - (1e-6 + 0.5e-4)) < 2e-6


def test_views_depend_neither_on_their_number_nor_on_the_batch_size() -> None:
    split = world("train", 5)
    three, two = (warped_views(Finds(), split, count, RunContext(batch_size=4)) for count in (3, 2))
    np.testing.assert_array_equal(three.discovered[:2], two.discovered)
    single = warped_views(Finds(), split, 2, RunContext(batch_size=1))
    np.testing.assert_allclose(single.discovered, two.discovered, atol=1e-4)
    np.testing.assert_allclose(single.annotated, two.annotated, atol=1e-4)


def test_hidden_landmarks_stay_hidden_and_may_be_anything() -> None:
    split = world("train", 2)
    visible = torch.tensor([[True, False, True], [False, False, False]])
    points = torch.where(visible.unsqueeze(-1), split.points, torch.nan)
    views = warped_views(Finds(), replace(split, visible=visible, points=points), 2, RunContext())
    np.testing.assert_array_equal(views.visible, np.stack([visible.numpy()] * 2))
    assert np.isfinite(views.annotated).all()
    whole = warped_views(Finds(), split, 2, RunContext())
    np.testing.assert_allclose(views.annotated[:, 0, [0, 2]], whole.annotated[:, 0, [0, 2]], atol=1e-4)


def test_examples_are_all_views_of_the_chosen_images() -> None:
    numbers = np.arange(2 * 4 * 1 * 2, dtype=np.float64).reshape(2, 4, 1, 2)
    views = WarpedViews(numbers, 100 + numbers, numbers[..., 0] > 5)
    discovered, annotated, visible = views.of([3, 1])
    assert discovered.tolist() == [[[6, 7]], [[2, 3]], [[14, 15]], [[10, 11]]]
    np.testing.assert_array_equal(annotated, 100 + discovered)
    assert visible.tolist() == [[True], [False], [True], [True]]


def test_a_finished_view_is_not_looked_at_again(tmp_path: Path) -> None:
    run, extractor = RunContext(partial=tmp_path), Finds()
    first = warped_views(extractor, world("train", 6), 1, run)
    assert extractor.images_seen == 6
    both = warped_views(extractor, world("train", 6), 2, run)
    assert extractor.images_seen == 12
    np.testing.assert_array_equal(both.discovered[:1], first.discovered)
