"""Equivariance of features, against extractors whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.errors import BenchError
from bench.geometry.elastic import ElasticWarp
from bench.seeds import torch_generator
from protocols.equivariance import Equivariance, EquivarianceOptions
from protocols.scores.equivariance import drawing, score
from tests.protocols.equivariance_world import (
    MARGIN,
    SIDE,
    Colours,
    Constant,
    Noise,
    measure,
    split_of,
    value,
)
from tests.protocols.matching_world import Mixed

pytestmark = pytest.mark.usefixtures("undrawn")


# --- extractors whose answer is known --------------------------------------------------------------------


def test_unique_colours_find_every_point() -> None:
    measured = measure(split_of(8), Colours(), max_distance=10)
    assert value(measured.values, "equivariance_acc", distance=3).value > 95
    assert value(measured.values, "equivariance_acc@20px").value == 100
    assert value(measured.values, "equivariance_auc").value > 0.85


def test_features_without_information_score_like_chance() -> None:
    split = split_of(60)
    measured = measure(split, Noise())
    for distance in (5, 10, 20):
        found = value(measured.values, "equivariance_acc", distance=distance)
        expected = value(measured.values, "equivariance_acc", "random", distance).value / 100
        deviation = 100 * (expected * (1 - expected) / measured.per_sample["counted"].sum()) ** 0.5
        assert abs(found.value - 100 * expected) < 4 * deviation
    mean = value(measured.values, "equivariance_error_mean")
    assert mean.value == pytest.approx(
        value(measured.values, "equivariance_error_mean", "random").value, rel=0.1
    )


def test_constant_features_score_the_first_pixel() -> None:
    """They predict one pixel for all points; over a grid of points that does no better than chance."""
    measured = measure(split_of(), Constant(), points="grid", grid=12)
    arrays = measured.per_sample
    assert np.unique(arrays["predicted"].reshape(-1, 2), axis=0).tolist() == [[0.5, 0.5]]
    errors = np.linalg.norm(arrays["targets"] - 0.5, axis=-1)[arrays["counted"]]
    found = value(measured.values, "equivariance_acc@20px")
    assert found.value == pytest.approx(100 * (errors <= 20).mean())
    assert found.value < value(measured.values, "equivariance_acc@20px", "random").value


@pytest.mark.parametrize("margin", [0, MARGIN])
def test_without_a_warp_every_pixel_centre_is_found_exactly(margin: int) -> None:
    split = split_of(margin=margin)
    split = replace(split, points=split.points.floor() + 0.5)
    measured = measure(split, Colours(), rotation=0, elastic=0)
    assert np.abs(measured.per_sample["errors"]).max() < 1e-9
    assert np.abs(measured.per_sample["targets"] - measured.per_sample["points"]).max() < 1e-9
    assert value(measured.values, "equivariance_auc").value == pytest.approx(1)
    assert value(measured.values, "equivariance_acc", distance=1).value == 100


def test_a_quarter_turn_is_undone_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    def quarter(_cls: type[ElasticWarp], /, count: int, *_: object, **__: object) -> ElasticWarp:
        return ElasticWarp(
            torch.full((count,), 90.0, dtype=torch.float64), ElasticWarp.identity(count).displacement
        )

    monkeypatch.setattr(ElasticWarp, "draw", classmethod(quarter))
    split = split_of()
    measured = measure(replace(split, points=split.points.floor() + 0.5), Colours())
    arrays = measured.per_sample
    x, y = np.moveaxis(arrays["points"], -1, 0)
    assert arrays["targets"] == pytest.approx(np.stack([SIDE - y, x], -1), abs=1e-9)
    assert arrays["predicted"] == pytest.approx(arrays["targets"], abs=1e-9)


def test_more_equivariant_features_score_more() -> None:
    split = split_of(10)
    areas = [value(measure(split, e).values, "equivariance_auc").value for e in (Noise(), Mixed(), Colours())]
    assert areas == sorted(areas)
    assert areas[2] - areas[0] > 0.5


# --- which points count ----------------------------------------------------------------------------------


def test_occluded_and_moved_out_points_do_not_count() -> None:
    split = split_of(4, margin=0)
    points, visible = split.points.clone(), split.visible.clone()
    visible[0, 1] = False
    points[0, 1] = float("nan")
    points[1, 0] = torch.tensor([-0.5, 10.0])
    points[2] = torch.tensor([1.0, 1.0])
    split = replace(split, points=points, visible=visible)
    arrays = measure(split, Colours(), rotation=0, elastic=0).per_sample
    expected = visible.numpy().copy()
    expected[1, 0] = False
    assert np.array_equal(arrays["counted"], expected)
    assert arrays["errors"][0, 1] == 0
    assert np.isfinite(arrays["points"]).all()

    turned = measure(split, Colours(), rotation=30, elastic=0)
    inside = ((turned.per_sample["targets"] >= 0) & (turned.per_sample["targets"] <= SIDE)).all(-1)
    arrays = turned.per_sample
    assert np.array_equal(arrays["counted"], expected & inside)
    assert not arrays["counted"][2].any()
    left_out = int((visible.numpy() & ~arrays["counted"]).sum())
    assert f"{left_out} of 19 points lie outside the image or are moved out of it: left out" in turned.notes
    assert "1 of 4 images have no point that counts" in turned.notes
    assert {each.count for each in turned.values} == {3}


def test_points_on_the_border_count() -> None:
    corners = torch.tensor([[0.0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE], [SIDE + 0.001, 3]])
    split = split_of(1, margin=0)
    arrays = measure(replace(split, points=corners[None]), Colours(), rotation=0, elastic=0).per_sample
    assert arrays["counted"].tolist() == [[True, True, True, True, False]]
    near, far = 0.5, SIDE - 0.5
    assert arrays["predicted"][0, :4].tolist() == [[near, near], [far, near], [near, far], [far, far]]


def test_a_margin_is_warped_with_the_image_and_then_removed() -> None:
    split = split_of(3)
    arrays = measure(split, Colours()).per_sample
    warps = ElasticWarp.draw(
        3, torch_generator(0, "equivariance", "warps"), rotation=30, elastic=0.4, cells=4
    )
    moved = warps.move_points(split.points.double(), (SIDE + 2 * MARGIN,) * 2) - MARGIN
    assert np.abs(arrays["targets"] - moved.numpy()).max() < 1e-9
    assert np.abs(arrays["points"] - (split.points.numpy() - MARGIN)).max() < 1e-5


def test_a_grid_needs_no_annotation() -> None:
    split = split_of(3, points=0)
    arrays = measure(split, Colours(), points="grid", grid=4).per_sample
    along = [6.5, 18.5, 30.5, 42.5]
    assert arrays["points"].shape == (3, 16, 2)
    assert arrays["points"][1].tolist() == [[x, y] for y in along for x in along]
    assert arrays["counted"].sum() > 30
    full = measure(split_of(1), Colours(), points="grid", grid=SIDE, rotation=0, elastic=0).per_sample
    assert np.array_equal(full["points"], full["predicted"])


# --- seeds, batches, parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    split, extractor = split_of(7), Mixed()
    reference, measured = (
        measure(split, extractor, batch_size=3),
        measure(split, extractor, batch_size=batch_size),
    )
    for key in ("points", "targets", "predicted"):
        assert np.abs(measured.per_sample[key] - reference.per_sample[key]).max() < 1e-9
    assert measured.values == reference.values


def test_seeds_decide_the_warps() -> None:
    split, extractor = split_of(), Mixed()
    first, again, other = (measure(split, extractor, seed=seed) for seed in (0, 0, 1))
    assert first.values == again.values
    assert np.abs(first.per_sample["targets"] - other.per_sample["targets"]).max() > 1


def test_fewer_images_are_some_of_more_with_the_same_warps() -> None:
    split, extractor = split_of(9), Mixed()
    everything = measure(split, extractor).per_sample
    few, more = (measure(split, extractor, images=images).per_sample for images in (3, 6))
    assert set(few["ids"]) < set(more["ids"]) < set(everything["ids"])
    for part in (few, more):
        rows = [everything["ids"].tolist().index(i) for i in part["ids"]]
        assert rows == sorted(rows)
        for key in ("targets", "predicted"):
            assert np.array_equal(part[key], everything[key][rows])


def test_finished_parts_are_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.equivariance._IMAGES_PER_STEP", 3)
    split = split_of(8)
    whole = measure(split, Mixed())
    first = measure(split, Mixed(), partial=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    again = measure(split, Noise(), partial=tmp_path)
    assert whole.values == first.values == again.values


# --- options, notes, drawing -----------------------------------------------------------------------------


def test_metrics_follow_from_the_stored_arrays() -> None:
    measured = measure(split_of(), Mixed(), scale_to=128)
    assert score(measured.per_sample, side=SIDE, scale_to=128, max_distance=20, seed=0) == measured.values
    declared = {metric.name for metric in Equivariance.metrics}
    assert {each.metric for each in measured.values} == declared
    arrays = measured.per_sample
    errors = np.linalg.norm(arrays["predicted"] - arrays["targets"], axis=-1)
    assert arrays["errors"] == pytest.approx(np.where(arrays["counted"], errors, 0))


def test_notes_state_the_size_of_the_image() -> None:
    assert (
        measure(split_of(2), Mixed()).notes[0]
        == "the method sees images of 48 px; distances are in pixels of these"
    )
    scaled = measure(split_of(2), Mixed(), scale_to=128).notes[0]
    assert scaled == "the method sees images of 48 px; distances are in pixels of images of 128 px"


def test_normalisation_can_be_chosen() -> None:
    split, extractor = split_of(), Mixed()
    found = {
        name: measure(split, extractor, normalisation=name).per_sample["predicted"]
        for name in ("joint", "method", "per_level", "none")
    }
    assert np.array_equal(found["method"], found["per_level"])
    assert not np.array_equal(found["joint"], found["per_level"])
    assert not np.array_equal(found["joint"], found["none"])
    # The colours' own normalisation is "none", and all are of one length.
    colours = (measure(split, Colours(), normalisation=name) for name in ("joint", "method"))
    first, second = (np.linalg.norm(each.per_sample["errors"]) for each in colours)
    assert first == pytest.approx(second, rel=0.2)


def test_the_curves_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.equivariance.drawing", drawing)
    drawn = [measure(split_of(), extractor).pictures["accuracy_curve"] for extractor in (Colours(), Noise())]
    for picture in drawn:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        # Blue for the features, black for chance, on white.
        blue = (picture[..., 2].astype(int) - picture[..., 0] > 100).sum()
        assert blue > 200
        assert (picture.max(2) < 30).sum() > 200
    assert not np.array_equal(drawn[0], drawn[1])


def test_what_cannot_work_is_refused() -> None:
    split = split_of(4)
    with pytest.raises(BenchError, match="visible landmarks") as refused:
        measure(replace(split, visible=torch.zeros_like(split.visible)), Mixed())
    assert refused.value.hint is not None
    assert "points=grid" in refused.value.hint
    with pytest.raises(BenchError, match="at least one image"):
        measure(split_of(0), Mixed(), points="grid")
    with pytest.raises(BenchError, match="grid of 64 points a side does not fit images of 48 pixels"):
        measure(split, Mixed(), points="grid", grid=64)
    points = split.points.clone()
    points[2, 1] = float("inf")
    with pytest.raises(BenchError, match="not finite, first 'image2'"):
        measure(replace(split, points=points), Mixed())
    far = replace(split_of(2, margin=0), points=torch.full((2, 5, 2), -20.0))
    with pytest.raises(BenchError, match="none of the 10 points lies inside"):
        measure(far, Mixed())


@pytest.mark.parametrize(
    "wrong", [{"rotation": -1}, {"elastic": 0.5}, {"images": 0}, {"points": "mesh"}, {"x": 1}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EquivarianceOptions(**wrong)


def test_presets_are_valid() -> None:
    for preset in Equivariance.presets.values():
        EquivarianceOptions(**preset)
    assert Equivariance.presets["paper"] == {}
