"""Landmark matching, against constructed answers and the released code's numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureMap
from bench.geometry import TPSWarp
from bench.landmarks import LandmarkSchema
from protocols.matching import Matching, MatchingOptions
from protocols.pairs.correspondence import _ELEMENTS_AT_ONCE, match
from protocols.pairs.warped_pairs import (
    PairWarps,
    consecutive_pairs,
    draw_pair_warps,
    identity_pairs,
    warped_views,
)
from protocols.scores.matching import score
from tests.goldens import fill_parameters, golden
from tests.protocols.matching_world import SIDE, Colours, Constant, Mixed, measure, split_of, value

# --- constructed answers ----------------------------------------------------------------------------------


def test_features_that_know_their_place_match_almost_exactly() -> None:
    """All images show one surface, so different targets hold the answer too, as seen through two warps."""
    split = split_of(8)
    split = replace(split, points=split.points[:1].expand(8, -1, -1).contiguous())
    measured = measure(split, Colours())
    for pairs in ("same", "different"):
        found = value(measured, "matching_error_px70", pairs)
        assert found.value < 1.5
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        assert found.count == 8


def test_constant_features_predict_the_first_cell() -> None:
    measured = measure(split_of(), Constant(), map_size=12)
    predicted = measured.per_sample["predicted"]
    assert np.unique(predicted.reshape(-1, 2), axis=0).tolist() == [[2.0, 2.0]]
    targets = measured.per_sample["targets"]
    errors = np.linalg.norm(targets - 2.0, axis=-1)
    assert value(measured, "matching_error_px70", "same").value == pytest.approx(
        errors[:, 0].mean() * 70 / SIDE, abs=1e-9
    )


def test_metrics_follow_from_the_stored_arrays_by_hand() -> None:
    split = split_of()
    visible = split.visible.clone()
    visible[0, 2] = visible[3, 0] = False
    split = replace(split, visible=visible)
    measured = measure(split, Mixed())
    arrays = measured.per_sample
    names = dict(zip(split.ids, range(len(split)), strict=True))
    pixels: dict[str, list[float]] = {"same": [], "different": []}
    percent: dict[str, list[float]] = {"same": [], "different": []}
    for p in range(6):
        first = names[str(arrays["source_ids"][p])]
        second = names[str(arrays["different_ids"][p])]
        for side, pairs, target in ((0, "same", first), (1, "different", second)):
            eyes = arrays["targets"][p, side, :2]
            for k in range(4):
                if not (visible[first, k] and visible[target, k]):
                    assert not arrays["counted"][p, side, k]
                    assert arrays["errors"][p, side, k] == 0
                    continue
                error = float(np.hypot(*(arrays["predicted"][p, side, k] - arrays["targets"][p, side, k])))
                assert arrays["errors"][p, side, k] == pytest.approx(error)
                pixels[pairs].append(error * 70 / SIDE)
                if visible[target, 0] and visible[target, 1]:
                    percent[pairs].append(100 * error / float(np.hypot(*(eyes[0] - eyes[1]))))
    for pairs in ("same", "different"):
        assert value(measured, "matching_error_px70", pairs).value == pytest.approx(np.mean(pixels[pairs]))
        assert value(measured, "matching_error_iod", pairs).value == pytest.approx(np.mean(percent[pairs]))
    assert any("do not show the normalising landmarks" in note for note in measured.notes)
    assert score(arrays, split.schema, SIDE, seed=0) == measured.values


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    split, extractor = split_of(7), Mixed()
    reference = measure(split, extractor, batch_size=3)
    measured = measure(split, extractor, batch_size=batch_size)
    for key in ("queries", "predicted", "targets"):
        assert np.abs(measured.per_sample[key] - reference.per_sample[key]).max() < 1e-9
    assert measured.values == reference.values


def test_seeds_decide_warps_and_pairs() -> None:
    split, extractor = split_of(), Mixed()
    first, again, other = (measure(split, extractor, seed=seed) for seed in (0, 0, 1))
    assert first.values == again.values
    assert first.values != other.values
    assert not np.array_equal(first.per_sample["source_ids"], other.per_sample["source_ids"])


def test_fewer_pairs_are_the_first_of_more() -> None:
    split, extractor = split_of(10), Mixed()
    few, many = (measure(split, extractor, pairs=pairs).per_sample for pairs in (3, 9))
    for key in ("source_ids", "different_ids", "predicted", "targets"):
        assert np.array_equal(few[key], many[key][:3])


def test_map_size_native_is_that_of_the_finest_level() -> None:
    split, extractor = split_of(), Mixed()
    at_native = measure(split, extractor, map_size="native").per_sample["predicted"]
    at_side = measure(split, extractor, map_size=SIDE // 2).per_sample["predicted"]
    assert np.array_equal(at_native, at_side)
    assert set(np.unique(at_native % 2)) == {1.0}  # Centres of cells of two pixels.
    strided = measure(split, extractor, map_size="native", cells="strided").per_sample["predicted"]
    assert set(np.unique(strided % 2)) == {0.5}


def test_normalisation_can_be_chosen() -> None:
    split, extractor = split_of(), Mixed()
    of_method = measure(split, extractor).values
    assert measure(split, extractor, normalisation="per_level").values == of_method
    assert measure(split, extractor, normalisation="joint").values != of_method
    assert measure(split, extractor, normalisation="none").values != of_method


def test_without_normaliser_only_pixels_are_reported() -> None:
    split = replace(split_of(), schema=LandmarkSchema(("a", "b", "c", "d")))
    measured = measure(split, Mixed())
    assert {v.metric for v in measured.values} == {"matching_error_px70"}
    assert any("no normaliser" in note for note in measured.notes)


# --- pairs ------------------------------------------------------------------------------------------------


def test_other_images_show_other_individuals() -> None:
    identities = ("a", "a", "b", None, "b", "a", None, "c", "a")
    seen = set()
    for seed in range(200):
        streams = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
        pairs = identity_pairs(identities, 100, *streams)
        assert sorted(pairs.first) == list(range(9))
        for first, second in zip(pairs.first, pairs.second, strict=True):
            assert first != second
            assert identities[first] is None or identities[first] != identities[second]
            seen.add((first, second))
    allowed = sum(
        i != j and (identities[i] is None or identities[i] != identities[j])
        for i in range(9)
        for j in range(9)
    )
    assert len(seen) == allowed


def test_identities_are_honoured_in_a_run() -> None:
    split = split_of(8, identities=("x", "x", "x", "x", "x", "x", "y", "y"))
    arrays = measure(split, Mixed(), pairs=8).per_sample
    who = dict(zip(split.ids, split.identities, strict=True))
    for first, second in zip(arrays["source_ids"], arrays["different_ids"], strict=True):
        assert who[str(first)] != who[str(second)]


def test_consecutive_pairs_are_those_of_the_released_code() -> None:
    assert consecutive_pairs(7, 500).first == (0, 2, 4)
    assert consecutive_pairs(7, 500).second == (1, 3, 5)
    assert consecutive_pairs(1000, 2).second == (1, 3)
    measured = measure(split_of(6), Mixed(), pairing="consecutive")
    assert measured.per_sample["source_ids"].tolist() == ["image0", "image2", "image4"]
    assert measured.per_sample["different_ids"].tolist() == ["image1", "image3", "image5"]
    assert "3 pairs instead of 500: made/test has 6 images" in measured.notes
    assert "3 of 3 different pairs show the same individual" in measured.notes


def test_images_without_identity_are_noted() -> None:
    measured = measure(split_of(3, identities=(None, None, None)), Mixed())
    assert any("3 of 3 images name no individual" in note for note in measured.notes)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(BenchError, match="at least two images"):
        measure(split_of(1), Mixed())
    with pytest.raises(BenchError, match="all images of made/test show 'x'"):
        measure(split_of(3, identities=("x", "x", "x")), Mixed())
    assert measure(split_of(3, identities=("x", "x", "x")), Mixed(), pairing="consecutive").values
    split = split_of(4)
    with pytest.raises(BenchError, match="visible landmarks"):
        measure(replace(split, visible=torch.zeros_like(split.visible)), Mixed())
    with pytest.raises(ValidationError):
        MatchingOptions(pairs=0)
    for preset in Matching.presets.values():
        MatchingOptions(**preset)


# --- views ------------------------------------------------------------------------------------------------


def test_views_without_a_warp_are_the_cropped_images() -> None:
    split = split_of(4)
    still = TPSWarp.identity(2)
    views = warped_views(split, consecutive_pairs(4, 2), PairWarps(still, still, still))
    cropped = split.cropped()
    for view, indices in ((views.source, [0, 2]), (views.same, [0, 2]), (views.different, [1, 3])):
        # Interpolation in float32 may fall just below a byte, which is then truncated.
        below = cropped.images[indices].int() - view.images.int()
        assert below.min() == 0
        assert below.max() <= 1
        centres = cropped.points[indices].floor() + 0.5
        assert (view.points - centres).abs().max() < 1e-4


def test_matches_of_unlike_maps_are_refused() -> None:
    maps = FeatureMap((torch.rand(2, 3, 4, 4),), (4, 4), (8, 8))
    with pytest.raises(BenchError, match="as many source as target maps"):
        match(maps, torch.rand(2, 1, 2), maps[:1])
    with pytest.raises(BenchError, match="of one normalisation"):
        match(maps, torch.rand(2, 1, 2), maps.with_normalisation("none"))


def test_queries_are_rounded_half_to_even_and_clamped() -> None:
    columns = torch.eye(4).reshape(1, 4, 1, 4).expand(1, 4, 3, 4)
    maps = FeatureMap((columns,), (3, 4), (30, 40))
    x = torch.tensor([-9.0, 9.9, 10.0, 10.1, 20.0, 30.0, 99.0])
    points = torch.stack([x, torch.full_like(x, 15.0)], -1)[None]
    assert match(maps, points, maps).points[0, :, 0].tolist() == [5, 5, 5, 15, 25, 25, 35]


def test_ties_go_to_the_first_cell_in_row_order() -> None:
    hypercolumn = torch.rand(1, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    maps = FeatureMap((hypercolumn,), (24, 24), (24, 24))
    corners = torch.tensor([[[0.5, 0.5], [3.5, 3.5], [23.5, 0.5], [23.5, 23.5], [0.5, 21.5]]])
    # The outer four cells are copies of the native border.
    expected = [[0.5, 0.5], [0.5, 0.5], [20.5, 0.5], [20.5, 20.5], [0.5, 20.5]]
    assert match(maps, corners, maps).points[0].tolist() == expected


def test_pairs_match_alike_together_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    levels = (torch.rand(5, 4, 6, 6, generator=generator), torch.rand(5, 9, 3, 3, generator=generator))
    source = FeatureMap(levels, (12, 12), (24, 24))
    target = FeatureMap(tuple(level.flip(0) for level in levels), (12, 12), (24, 24))
    points = 24 * torch.rand(5, 7, 2, generator=generator)
    together = match(source, points, target)
    for elements in (1, 2 * 7 * 144):
        monkeypatch.setitem(_ELEMENTS_AT_ONCE, "cpu", elements)
        some = match(source, points, target)
        assert torch.equal(some.points, together.points)
        torch.testing.assert_close(some.scores, together.scores, rtol=1e-12, atol=0)
    assert match(source, points[:, :0], target).points.shape == (5, 0, 2)


# --- the released code's numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["n35", "n48"])
def test_golden_dve_matches(tag: str) -> None:
    stored = golden("dve/d1_matching.npz")
    _, width, crop = stored[f"{tag}__stride_imw_crop"]
    side = int(width - 2 * crop)

    def features(key: str) -> FeatureMap:
        level = torch.from_numpy(stored[f"{tag}__{key}"])[None]
        return FeatureMap((level,), (level.shape[2], level.shape[3]), (side, side), "none")

    points = torch.from_numpy(stored[f"{tag}__kp"])[None] + 0.5
    matches = match(features("src"), points, features("tgt"), cells="strided")
    predicted = matches.points[0].numpy() - 0.5
    assert np.abs(predicted - stored[f"{tag}__pred"]).max() == 0
    errors = np.linalg.norm(predicted - stored[f"{tag}__gt"], axis=1) * 70 / side
    assert np.abs(errors - stored[f"{tag}__err"]).max() < 1e-9
    assert errors.mean() == pytest.approx(float(stored[f"{tag}__mean_err"]), abs=1e-5)


@pytest.mark.parametrize("tag", ["hc24", "hc9x17", "proj24"])
def test_golden_contrast_matches(tag: str) -> None:
    stored = golden("contrast/d1_matching.npz")
    height, width = stored[f"{tag}__src"].shape[1:]
    blocks = stored[f"{tag}__spec"].tolist()
    last = np.array([width - 1, height - 1])

    def features(key: str) -> FeatureMap:
        levels = torch.split(torch.from_numpy(stored[f"{tag}__{key}"])[None], blocks, 1)
        return FeatureMap(tuple(levels), (height, width), (height, width), "per_level")

    points = torch.from_numpy((stored[f"{tag}__kp"] + 1) / 2 * last + 0.5)[None]
    matches = match(features("src"), points, features("tgt"))
    predicted = 2 * (matches.points[0].numpy() - 0.5) / last - 1
    assert np.abs(predicted - stored[f"{tag}__pred"]).max() < 1e-6
    errors = np.linalg.norm(predicted - stored[f"{tag}__gt"], axis=1) / 2 * 69
    assert np.abs(errors - stored[f"{tag}__err70"]).max() < 1e-4


@pytest.mark.parametrize("model", ["smallnet", "hourglass"])
def test_golden_dve_views(model: str) -> None:
    """From the photos to the bytes that enter the network, and to the landmarks, by the released warps."""
    stored = golden("dve/d2_matching_e2e.npz")
    frame, crop = (int(v) for v in stored[f"{model}__imw_crop"])
    photos = [Image.fromarray(photo[30:208]) for photo in stored[f"{model}__images_u8"]]
    resized = [np.asarray(photo.resize((frame, frame), Image.Resampling.BILINEAR)) for photo in photos]
    raw = torch.from_numpy(stored["landmarks_raw"]).double() - torch.tensor([0, 30])
    split = replace(
        split_of(10),
        images=torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous(),
        points=raw * frame / 178 + 0.5,
        visible=torch.ones(10, 5, dtype=torch.bool),
        margin=crop,
    )
    stream = torch.Generator().manual_seed(0)
    torch.empty((), dtype=torch.int64).random_(generator=stream)  # The released loader's own draw.
    warps = draw_pair_warps(4, stream)
    for warp, which in zip(warps, (0, 1, 2), strict=True):
        assert np.abs(warp.weights.numpy() - stored[f"{model}__tps_weights"][which:16:4]).max() < 1e-6

    views = warped_views(split, consecutive_pairs(8, 4), warps)
    for view, which in zip(views, (0, 1, 3), strict=True):
        apart = np.abs(view.images.numpy().astype(int) - stored[f"{model}__data_u8"][:, which].astype(int))
        assert apart.max() <= 1
        assert (apart == 0).mean() >= 0.9
    records = stored[f"{model}__records"]
    assert np.array_equal(views.source.points.numpy() - 0.5, records[:, :, 0, 0:2])
    assert np.array_equal(views.same.points.numpy() - 0.5, records[:, :, 0, 6:8])
    assert np.array_equal(views.different.points.numpy() - 0.5, records[:, :, 1, 6:8])


def test_golden_contrast_hypercolumns_from_images_to_errors() -> None:
    resnet = pytest.importorskip("methods.networks.resnet")
    stored = golden("contrast/d2_matching_e2e.npz")
    network = resnet.ResNet("resnet18").eval()
    gain = float(stored["gain_resnet18"])
    fill_parameters(network, gain, prefix="encoder.module.")
    mean, std = torch.from_numpy(stored["mean_std"]).float()[:, None, :, None, None]

    def features(images: np.ndarray[Any, Any]) -> FeatureMap:
        with torch.no_grad():
            stages = network((torch.from_numpy(images).float() / 255 - mean) / std)
        levels = cast("tuple[Tensor, ...]", resnet.hypercolumn_levels(stages))
        return FeatureMap(levels, (96, 96), (96, 96), "per_level")

    first, second = stored["x_u8"][:, :3], stored["x_u8"][:, 3:]
    queries = torch.from_numpy((stored["kp_norm"][::2, :5].astype(np.float64) + 1) / 2 * 95 + 0.5)
    source = features(first[::2])
    records = stored["hypercol__records"]
    for which, targets, name in ((0, second[::2], "same"), (1, second[1::2], "diff")):
        predicted = match(source, queries, features(targets)).points.numpy() - 0.5
        unit = 2 * predicted / 95 - 1
        assert np.abs(unit - records[:, :, which, 2:4]).max() < 1e-5
        errors = np.linalg.norm(unit - records[:, :, which, 5:7], axis=-1) / 2 * 69
        assert errors.mean() == pytest.approx(float(stored[f"hypercol__{name}"]), abs=1e-4)
