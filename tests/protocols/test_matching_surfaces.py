"""Matching at spots of a surface: planes whose correspondences are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.geometry import TPSWarp
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.surfaces import FramedSurfaces, SurfaceMap
from protocols.matching import Matching
from protocols.pairs.points import surface_points
from protocols.pairs.warped_pairs import Pairs, PairWarps, draw_pair_warps
from protocols.scores.matching import score
from tests.protocols.matching_world import MARGIN, SIDE, Colours, Constant, Mixed, measure, split_of, value

FRAME = SIDE + 2 * MARGIN
PICTURE = FRAME // 2
SCALE = FRAME / PICTURE
EVERYWHERE = np.ones((PICTURE, PICTURE), dtype=np.bool_)


@dataclass(frozen=True)
class Planes:
    """Pictures of one plane: picture i shows at (x, y) the spot ``maps[i] @ (x, y) + offsets[i]``, where seen."""

    maps: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]
    seen: tuple[np.ndarray[Any, Any], ...]

    def surface(self, index: int) -> SurfaceMap:
        pixel = np.flatnonzero(self.seen[index])
        centres = np.stack([pixel % PICTURE, pixel // PICTURE], -1) + 0.5
        slope = np.broadcast_to(self.maps[index], (len(pixel), 2, 2))
        return SurfaceMap(PICTURE, pixel, centres @ self.maps[index].T + self.offsets[index], slope)

    def moved(self, points: np.ndarray[Any, Any], i: int, j: int) -> np.ndarray[Any, Any]:
        """Points of the working frame of picture i -> the same spots in that of picture j."""
        spots = points / SCALE @ self.maps[i].T + self.offsets[i]
        return np.linalg.solve(self.maps[j], (spots - self.offsets[j]).T).T * SCALE


def planes(count: int, seen: dict[int, np.ndarray[Any, Any]] | None = None) -> Planes:
    rng = np.random.default_rng(4)
    masks = tuple((seen or {}).get(i, EVERYWHERE) for i in range(count))
    maps = np.eye(2) + rng.uniform(-0.1, 0.1, (count, 2, 2))
    return Planes(maps, rng.uniform(-2, 2, (count, 2)), masks)


def world(count: int = 6, seen: dict[int, np.ndarray[Any, Any]] | None = None) -> tuple[LoadedSplit, Planes]:
    dataset = planes(count, seen)
    surfaces = FramedSurfaces(dataset, tuple(range(count)), FRAME)
    return replace(split_of(count), surfaces=surfaces), dataset


def half(columns: slice) -> np.ndarray[Any, Any]:
    mask = np.zeros_like(EVERYWHERE)
    mask[:, columns] = True
    return mask


# --- surfaces of a split ----------------------------------------------------------------------------------


def test_correspondences_are_in_pixels_of_the_frame_through_take_and_crop() -> None:
    split, dataset = world(4)
    taken = split.take([3, 1])
    for loaded, cut in ((taken, 0), (taken.cropped(), MARGIN), (split.cropped().take([3, 1]), MARGIN)):
        surfaces = loaded.surfaces
        assert surfaces is not None
        assert len(surfaces) == 2
        found = surfaces.correspondences(surfaces.of(0), 1)
        assert len(found.source) > 0.5 * PICTURE**2
        np.testing.assert_allclose(
            found.target + cut, dataset.moved(found.source + cut, 3, 1), rtol=0, atol=1e-9
        )
        own = surfaces.of(0)
        centres = (np.stack([own.pixel % PICTURE, own.pixel // PICTURE], -1) + 0.5) * SCALE - cut
        np.testing.assert_allclose(found.source, centres[found.row], rtol=0, atol=1e-12)


class Pictures(LandmarkDataset):
    name, split = "made", "test"
    schema = LandmarkSchema(("a",))
    info = DatasetInfo("Made", "own", "MIT", "none")

    def __len__(self) -> int:
        return 3

    @property
    def ids(self) -> tuple[str, ...]:
        return ("one", "two", "three")

    @property
    def fingerprint(self) -> str:
        return "00"

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, PICTURE, PICTURE, dtype=torch.uint8)
        return Sample(self.ids[index], image, torch.ones(1, 2), torch.ones(1, dtype=torch.bool))


class PicturesOfPlanes(Pictures):
    def surface(self, index: int) -> SurfaceMap:
        return planes(3).surface(index)


def test_a_loaded_split_has_the_surfaces_of_its_data_set() -> None:
    preprocessing = Preprocessing(image_size=SIDE, margin=MARGIN, points="official")
    assert load_split(Pictures(), preprocessing).surfaces is None
    surfaces = load_split(PicturesOfPlanes(), preprocessing).surfaces
    assert surfaces is not None
    found = surfaces.correspondences(surfaces.of(2), 0)
    assert len(found.row) > 0.5 * PICTURE**2
    np.testing.assert_allclose(found.target, planes(3).moved(found.source, 2, 0), rtol=0, atol=1e-9)


# --- points of a pair -------------------------------------------------------------------------------------


def test_without_warps_targets_are_where_the_plane_says() -> None:
    split, dataset = world(4)
    still = TPSWarp.identity(1)
    found = surface_points(split, Pairs((2,), (0,)), PairWarps(still, still, still), 950, 0, 0)
    assert found.queries.shape == (1, 950, 2)
    counted = found.counted[0].numpy()
    drawn = PICTURE**2
    assert not counted[:, drawn:].any()
    queries = found.queries[0].numpy()[:drawn]
    own = np.stack(np.meshgrid(*2 * [(np.arange(PICTURE) + 0.5) * SCALE - MARGIN]), -1).reshape(-1, 2)
    assert sorted(map(tuple, queries.round(6))) == sorted(map(tuple, own.round(6)))
    np.testing.assert_array_equal(counted[0, :drawn], ((queries >= 0) & (queries < SIDE)).all(1))
    expected = dataset.moved(queries + MARGIN, 2, 0) - MARGIN
    inside = ((expected >= 0) & (expected < SIDE)).all(1)
    np.testing.assert_array_equal(counted[1, :drawn], counted[0, :drawn] & inside)
    there = counted[1, :drawn]
    np.testing.assert_allclose(found.targets[0, 1].numpy()[:drawn][there], expected[there], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.targets[0, 0].numpy()[:drawn], queries, rtol=0, atol=1e-6)


def test_warped_points_are_taken_back_by_the_backward_maps() -> None:
    split, dataset = world(6)
    pairs = Pairs((0, 4), (3, 1))
    warps = draw_pair_warps(2, torch.Generator().manual_seed(1))
    size = (FRAME, FRAME)
    found = surface_points(split, pairs, warps, 300, 0, 0)
    assert 0.3 < found.counted.double().mean() < 1
    same = warps.again.source_of(found.queries + MARGIN, size)
    in_source = warps.first.source_of(same, size)
    in_target = warps.second.source_of(found.targets[:, 1] + MARGIN, size)
    for p, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        kept = found.counted[p].numpy()
        picture = in_source[p].numpy() / SCALE - 0.5
        np.testing.assert_allclose(picture[kept[0]], picture[kept[0]].round(), rtol=0, atol=2e-3)
        gap = found.targets[p, 0].numpy() + MARGIN - same[p].numpy()
        assert np.abs(gap[kept[0]]).max() < 2e-3
        expected = dataset.moved(in_source[p].numpy(), first, second)
        assert np.abs(in_target[p].numpy() - expected)[kept[1]].max() < 5e-3
        for points in (found.queries[p], found.targets[p, 0]):
            assert ((points >= 0) & (points < SIDE)).all(1).numpy()[kept[0]].all()


def test_what_the_other_image_hides_counts_in_the_same_image_only() -> None:
    """The source shows the left half of its frame, the other image nothing but the right half of its own."""
    split, dataset = world(4, {0: half(slice(0, PICTURE // 2)), 1: half(slice(PICTURE // 2, PICTURE))})
    still = TPSWarp.identity(1)
    found = surface_points(split, Pairs((0,), (1,)), PairWarps(still, still, still), 450, 0, 0)
    queries = found.queries[0].numpy() + MARGIN
    shown = np.arange(450) < PICTURE * PICTURE // 2
    assert (queries[shown, 0] < FRAME / 2).all()
    x = dataset.moved(queries, 0, 1)[:, 0]
    counted = found.counted[0].numpy()
    assert counted[0].sum() == counted[0, shown].sum() == (PICTURE // 2 - MARGIN / SCALE) * SIDE / SCALE
    # A spot may be found up to a pixel beside the centre of a pixel that shows the surface.
    assert not counted[1, x < FRAME / 2 - SCALE].any()
    clearly = shown & (x > FRAME / 2 + SCALE) & counted[0]
    assert 0 < counted[1].sum() < counted[0].sum()
    inside = ((dataset.moved(queries, 0, 1) >= MARGIN) & (dataset.moved(queries, 0, 1) < FRAME - MARGIN)).all(
        1
    )
    assert counted[1, clearly & inside].all()


def test_a_source_without_surface_has_no_points() -> None:
    split, _ = world(4, {0: np.zeros_like(EVERYWHERE), 3: np.zeros_like(EVERYWHERE)})
    warps = draw_pair_warps(2, torch.Generator().manual_seed(1))
    found = surface_points(split, Pairs((0, 1), (1, 3)), warps, 50, 0, 0)
    assert not found.counted[0].any()
    assert found.counted[1, 0].any()
    assert not found.counted[1, 1].any()
    nothing, _ = world(4, dict.fromkeys(range(4), np.zeros_like(EVERYWHERE)))
    with pytest.raises(BenchError, match="no point is visible in both images of any pair"):
        measure(nothing, Constant(), points="surface", surface_points=5)


# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    """Side 35, so that a pixel is two of a 70-pixel image: errors of 1, 2.5, 2.5 and 10 px."""
    targets = np.zeros((2, 2, 3, 2))
    predicted = np.zeros((2, 2, 3, 2))
    predicted[0, 1] = np.array([[1, 0], [1.5, 2], [300, 400]])  # the last does not count
    predicted[1, 1] = np.array([[0, 2.5], [-6, 8], [9, 9]])
    counted = np.zeros((2, 2, 3), dtype=np.bool_)
    counted[0, 1, :2] = counted[1, 1, :2] = True
    arrays = {"predicted": predicted, "targets": targets, "counted": counted, "target_visible": counted}
    values = score(arrays, LandmarkSchema(("a",)), side=35, seed=0, points="surface")
    assert {v.metric: (v.value, v.count, v.condition) for v in values} == {
        "surface_error_px70": (8.0, 2, {"pairs": "different"}),
        "surface_acc@2px70": (25.0, 2, {"pairs": "different"}),
        "surface_acc@5px70": (75.0, 2, {"pairs": "different"}),
        "surface_acc@10px70": (75.0, 2, {"pairs": "different"}),
    }
    assert {v.metric for v in values} <= {spec.name for spec in Matching.metrics}


def test_values_follow_from_the_stored_arrays() -> None:
    split, _ = world(6)
    measured = measure(split, Mixed(), points="surface", surface_points=40)
    arrays = measured.per_sample
    assert score(arrays, split.schema, SIDE, seed=0, points="surface") == measured.values
    distance = np.linalg.norm(arrays["predicted"] - arrays["targets"], axis=-1) * 70 / SIDE
    for i, pairs in enumerate(("same", "different")):
        mine = distance[:, i][arrays["counted"][:, i]]
        assert value(measured, "surface_error_px70", pairs).value == pytest.approx(mine.mean())
        for limit in (2, 5, 10):
            expected = 100 * (mine <= limit).mean()
            assert value(measured, f"surface_acc@{limit}px70", pairs).value == pytest.approx(expected)
    average = arrays["counted"][:, 1].sum() / 6
    assert f"of up to 40 spots {average:.0f} count in an average different pair" in measured.notes
    assert not any("normali" in note for note in measured.notes)


def test_landmarks_and_surfaces_share_no_metric() -> None:
    split, _ = world(6)
    annotated, dense = measure(split, Mixed()), measure(split, Mixed(), points="surface", surface_points=9)
    assert not {v.metric for v in annotated.values} & {v.metric for v in dense.values}
    assert measure(replace(split, surfaces=None), Mixed()).values == annotated.values


def test_features_that_know_the_place_find_the_spot_in_the_same_image() -> None:
    """Every image shows the same colours, which say where in the frame a pixel lies, not which spot it shows."""
    split, dataset = world(6)
    measured = measure(split, Colours(), points="surface", surface_points=100)
    assert value(measured, "surface_error_px70", "same").value < 1.5
    across = value(measured, "surface_error_px70", "different").value
    grid = np.stack(np.meshgrid(*2 * [np.arange(MARGIN, FRAME - MARGIN) + 0.5]), -1).reshape(-1, 2)
    names = {name: i for i, name in enumerate(split.ids)}
    ids = (measured.per_sample["source_ids"], measured.per_sample["different_ids"])
    gaps = [
        np.linalg.norm(dataset.moved(grid, names[str(a)], names[str(b)]) - grid, axis=1).mean()
        for a, b in zip(*ids, strict=True)
    ]
    assert across == pytest.approx(np.mean(gaps) * 70 / SIDE, rel=0.25)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    split, _ = world(6)
    reference = measure(split, Mixed(), points="surface", surface_points=30, batch_size=4)
    measured = measure(split, Mixed(), points="surface", surface_points=30, batch_size=batch_size)
    for key in ("queries", "predicted", "targets"):
        assert np.abs(measured.per_sample[key] - reference.per_sample[key]).max() < 1e-9
    for one, other in zip(measured.values, reference.values, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9)


def test_fewer_pairs_are_the_first_of_more_and_seeds_draw_other_spots() -> None:
    split, _ = world(8)
    few, many, other = (
        measure(split, Constant(), points="surface", surface_points=20, pairs=pairs, seed=seed).per_sample
        for pairs, seed in ((3, 0), (7, 0), (7, 1))
    )
    for key in ("queries", "targets", "counted"):
        np.testing.assert_array_equal(few[key], many[key][:3])
    assert not np.array_equal(many["queries"], other["queries"])
    assert len({tuple(q) for q in many["queries"][0].round(6).tolist()}) == 20


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(BenchError, match="surface coordinates, and made/test has none"):
        measure(split_of(), Mixed(), points="surface")
    split, _ = world(6)
    unannotated = replace(split, visible=torch.zeros_like(split.visible))
    assert measure(unannotated, Constant(), points="surface", surface_points=5).values
