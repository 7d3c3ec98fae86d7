"""The procedural birds: geometry, visibility, scenes, correspondences."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench.progress import Progress
from bench.seeds import numpy_generator
from bench.surfaces import match_surfaces
from datasets.cub import SCHEMA
from datasets.procedural.category import Shot
from datasets.procedural.dataset import RenderedDataset
from datasets.procedural.provider import ProceduralOptions
from datasets.procedural.renderer import Rendering, render
from datasets.procedural.samples import SUPERSAMPLING
from datasets.procedural.surface import shot_surface
from datasets.synthetic_birds import SyntheticBirdsProvider
from datasets.synthetic_birds.bird import LANDMARKS, Posture, build, places, template
from datasets.synthetic_birds.category import Birds
from datasets.synthetic_birds.individual import Individual, draw_individual, subject
from datasets.synthetic_birds.plumage import Coat, painter
from datasets.synthetic_birds.rings import rod, tube_normals, tube_triangles
from datasets.synthetic_birds.species import SPECIES, Shape
from datasets.synthetic_birds.staging import Stage, draw_stage

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 96
BIRDS = Birds()
INDEX = {name: k for k, name in enumerate(LANDMARKS)}


def staged(index: int, *, wild: bool = False, split: str = "train", seed: int = 0) -> Shot:
    return BIRDS.shot(BIRDS.take(seed, split, index, wild))


def rendered(shot: Shot, size: int = SIZE) -> Rendering:
    return render(shot, size, numpy_generator(0, "test", "grain"))


def individual(split: str, index: int) -> Individual:
    return draw_individual(BIRDS.take(0, split, index, wild=False).individual_generator(BIRDS.name))


def stage_of(index: int) -> Stage:
    """What ``staged(index)`` stages."""
    take = BIRDS.take(0, "train", index, wild=False)
    return draw_stage(take.picture_generator(BIRDS.name, "stage"), individual("train", index))


def first_on(setting: str) -> int:
    return next(index for index in range(3000) if stage_of(index).setting == setting)


@pytest.fixture(params=[False, True])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RenderedDataset:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    options = ProceduralOptions(size=64, test=4, wild=request.param)
    dataset = SyntheticBirdsProvider().open("test", None, options)
    dataset._progress = Progress.silent()
    return dataset


# --- samples --------------------------------------------------------------------------------------


def test_samples_are_complete(opened: RenderedDataset) -> None:
    assert opened.ids == tuple(f"test-{i:06d}" for i in range(4))
    for sample in opened:
        assert sample.mask is not None
        assert sample.box is not None
        assert sample.image.shape == (3, 64, 64)
        assert sample.points.shape == (15, 2)
        assert ((sample.points >= 0) & (sample.points <= 64)).all()
        assert sample.visible.any()
        assert (sample.points >= sample.box[:2] - 1e-3).all()
        assert (sample.points <= sample.box[2:] + 1e-3).all()
        rows, columns = np.nonzero(sample.mask.numpy())
        x0, y0, x1, y1 = sample.box.tolist()
        assert columns.min() + 1 >= x0
        assert columns.max() <= x1
        assert rows.min() + 1 >= y0
        assert rows.max() <= y1


def test_names_order_and_sides_are_those_of_cub(opened: RenderedDataset) -> None:
    assert opened.schema.names == SCHEMA.names
    assert opened.schema.flip_indices == SCHEMA.flip_indices
    assert opened.schema.normaliser == SCHEMA.normaliser


def test_pictures_depend_on_their_arguments_alone() -> None:
    first, again = rendered(staged(3), 64), rendered(staged(3), 64)
    for name in ("image", "points", "visible", "mask", "box"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    for other in (staged(3, split="pretrain"), staged(3, seed=1), staged(3, wild=True), staged(4)):
        assert not np.array_equal(rendered(other, 64).image, first.image)


def test_an_individual_is_the_same_in_all_its_pictures_and_in_one_pool() -> None:
    def shapes(split: str, start: int = 0) -> list[Shape]:
        return [individual(split, start + i).shape for i in range(10)]

    assert shapes("train") == shapes("train", 10) == shapes("pretrain")
    assert len({*shapes("train"), *shapes("train", 100), *shapes("test")}) == 30


def test_all_kinds_of_birds_appear() -> None:
    kinds = {
        individual("train", index).species.name
        for index in (100 * i + j for i in range(12) for j in range(10))
    }
    assert kinds == {species.name for species in SPECIES}


# --- geometry -------------------------------------------------------------------------------------


def test_a_rod_is_a_closed_cylinder_seen_from_outside() -> None:
    path = np.stack([np.linspace(0, 2, 30), np.zeros(30), np.zeros(30)], -1)
    grid = rod(path, np.full(30, 0.5), 65)
    flat = grid.reshape(-1, 3)
    np.testing.assert_allclose(np.hypot(flat[:, 1], flat[:, 2]), 0.5, atol=1e-12)
    expected = flat * (0, 2, 2)
    np.testing.assert_allclose(tube_normals(grid), expected, atol=1e-6)
    a, b, c = (flat[tube_triangles((30, 65))[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(2 * np.pi * 0.5 * 2, rel=2e-3)
    pair = rod(np.stack([path, path + np.array((0, 3, 0))]), np.full(30, 0.5), 65)
    np.testing.assert_allclose(pair[1] - pair[0], np.broadcast_to((0, 3, 0), grid.shape), atol=1e-12)
    np.testing.assert_allclose(tube_normals(pair), np.tile(expected, (2, 1)), atol=1e-6)
    assert tube_triangles((2, 30, 65)).max() == pair.size // 3 - 1


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
@pytest.mark.parametrize("flying", [False, True])
def test_parts_are_oriented_and_sound(species: object, flying: bool) -> None:
    assert isinstance(species, type(SPECIES[0]))
    posture = Posture(
        pitch=0.2, look=(0.8, 0.1, -0.2), gape=0.5, flying=flying, stroke=0.4, bend=0.3, fan=0.3
    )
    for name, part in build(species.shape, posture).parts.items():
        vertices, normals = part.vertices.astype(np.float64), part.normals
        assert np.isfinite(vertices).all()
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-4)
        a, b, c = (vertices[part.triangles[:, i]] for i in range(3))
        facing = np.cross(b - a, c - a)
        along = (facing * normals[part.triangles].mean(1)).sum(1)
        assert along[along > 0].sum() > 0.97 * np.abs(along).sum(), name
        if name == "trunk":
            centre = vertices.mean(0)
            volume = (facing * (a - centre)).sum() / 6
            assert 0.1 < volume < 0.6
            assert volume == pytest.approx((facing * (a - centre - 1)).sum() / 6, rel=0.05)  # closed


def test_a_bird_at_rest_is_its_own_mirror_image() -> None:
    for posture in (Posture(pitch=0.3, gape=0.4, droop=0.5), Posture(flying=True, stroke=0.5, fan=0.7)):
        points = build(SPECIES[3].shape, posture).landmarks
        np.testing.assert_allclose(points[list(BIRDS.flip_indices)] * (1, 1, -1), points, atol=2e-3)
        right = points[[INDEX[f"right_{part}"] for part in ("eye", "leg", "wing")]]
        assert (right[:, 2] > 0.05).all()  # the bird looks along x, y is down: z is to its right


def test_landmarks_are_where_their_names_say() -> None:
    body = build(Shape(), Posture())
    p = {name: body.landmarks[k] for name, k in INDEX.items()}
    order = [p[name][0] for name in ("tail", "back", "nape", "crown", "forehead", "beak")]
    assert order == sorted(order)
    under = [p[name][0] for name in ("tail", "belly", "breast", "throat", "beak")]
    assert under == sorted(under)
    assert p["back"][1] < p["belly"][1]
    assert p["crown"][1] == min(point[1] for point in p.values())
    assert p["left_leg"][1] > p["belly"][1]
    tips = body.parts["upper_beak"].vertices
    assert np.linalg.norm(p["beak"] - tips[tips[:, 0].argmax()]) < 0.1
    trunk = body.parts["trunk"].vertices
    for name in ("back", "belly", "breast", "crown", "forehead", "nape", "throat"):
        assert np.linalg.norm(trunk - p[name], axis=1).min() < 1e-6


def test_postures_do_what_they_are_called() -> None:
    rest = build(Shape(), Posture())
    spread = build(Shape(), Posture(flying=True)).landmarks
    wings = [INDEX["left_wing"], INDEX["right_wing"]]
    apart = np.linalg.norm(np.subtract(*spread[wings]))
    assert apart > 1.5 * np.linalg.norm(np.subtract(*rest.landmarks[wings]))
    raised = build(Shape(), Posture(flying=True, stroke=0.8)).landmarks
    assert (raised[wings, 1] < spread[wings, 1] - 0.1).all()
    right = build(Shape(), Posture(look=(0.7, 0, 0))).landmarks
    assert right[INDEX["beak"], 2] > 0.15
    np.testing.assert_allclose(right[INDEX["belly"]], rest.landmarks[INDEX["belly"]], atol=1e-5)
    up = build(Shape(), Posture(look=(0, 0.4, 0))).landmarks
    assert up[INDEX["beak"], 1] < rest.landmarks[INDEX["beak"], 1] - 0.05
    upright = build(Shape(), Posture(pitch=0.5))
    slopes = []
    for body in (rest, upright):
        along = body.landmarks[INDEX["back"]] - body.landmarks[INDEX["tail"]]
        slopes.append(np.arctan2(-along[1], along[0]))
    assert slopes[1] - slopes[0] == pytest.approx(0.5, abs=1e-3)


# --- visibility and masks -------------------------------------------------------------------------


def test_the_near_eye_wing_and_nothing_of_the_far_side_shows_in_profile() -> None:
    bird = replace(individual("train", 0), shape=Shape())
    body = build(bird.shape, Posture(stride=0.1))
    for frame, near, far in ((np.eye(3), "right", "left"), (np.diag((-1.0, 1.0, -1.0)), "left", "right")):
        alone = subject(bird, body, frame, np.zeros(3))
        picture = rendered(replace(staged(0), subject=alone, others=(), scale=0.38, centre=(0.5, 0.5)))
        for part in ("eye", "wing"):
            assert picture.visible[INDEX[f"{near}_{part}"]]
            assert not picture.visible[INDEX[f"{far}_{part}"]]
        assert picture.visible[[INDEX[name] for name in ("beak", "back", "crown", "tail", "breast")]].all()


def heights_above(shot: Shot, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 2) how far the nearest front face lies over points (N, 3) of the view: of the bird, and of anything else.

    By the definition, over all triangles, in float64; -inf where there is none.
    """
    pieces = (*shot.subject.pieces, *shot.others)
    corners = np.concatenate([piece.vertices.astype(np.float64)[piece.triangles] for piece in pieces])
    sizes = [len(piece.triangles) for piece in pieces]
    other = np.repeat(np.arange(len(pieces)) >= len(shot.subject.pieces), sizes)
    low, high = corners.min(1), corners.max(1)
    found = np.full((len(points), 2), -np.inf)
    for n, (x, y, z) in enumerate(points):
        near = (low[:, 0] <= x) & (x <= high[:, 0]) & (low[:, 1] <= y) & (y <= high[:, 1])
        for (a, b, c), whose in zip(corners[near], other[near].astype(int), strict=True):
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            if area <= 1e-12:
                continue
            v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
            w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
            if v >= 0 and w >= 0 and v + w <= 1:
                height = a[2] + v * (b[2] - a[2]) + w * (c[2] - a[2]) - z
                found[n, whose] = max(found[n, whose], height)
    return found


def test_visibility_against_rays() -> None:
    agreed = {True: 0, False: 0}
    for index in (*range(0, 900, 101), *range(5, 20, 3)):
        shot = staged(index, wild=index % 2 == 0)
        picture = rendered(shot)
        sample = 1.0 / (shot.scale * SIZE * SUPERSAMPLING)
        around = np.array([(0, 0, 0), (-1, -1, 0), (1, -1, 0), (-1, 1, 0), (1, 1, 0)]) * sample
        for k, landmark in enumerate(shot.subject.landmarks.astype(np.float64)):
            own, other = heights_above(shot, landmark + around).T
            allowed = float(shot.subject.tolerances[k])
            # Only where the neighbourhood of a sample agrees is the answer beyond rounding.
            answers = {
                bool(hidden)
                for more in (0.0, 2.0 * sample)
                for hidden in (own > allowed + more) | (other > 0)
            }
            if len(answers) == 1:
                hidden = answers.pop()
                assert bool(picture.visible[k]) is not hidden, (index, LANDMARKS[k])
                agreed[hidden] += 1
    assert agreed[True] >= 30
    assert agreed[False] >= 60


def test_other_birds_hide_but_are_not_in_the_mask() -> None:
    hid, crowds = 0, 0
    for index in range(0, 1600, 101):
        shot = staged(index, wild=True)
        known = {id(place) for place in places().values()}
        if not any(id(piece.place) in known for piece in shot.others):
            continue
        crowds += 1
        together, alone = rendered(shot, 64), rendered(replace(shot, others=()), 64)
        assert not (together.mask & ~alone.mask).any()
        assert not (together.visible & ~alone.visible).any()
        np.testing.assert_array_equal(together.box, alone.box)
        hid += int(alone.mask.sum() - together.mask.sum() > 20)
    assert crowds >= 4
    assert hid >= 1


def test_water_hides_legs() -> None:
    shot = staged(first_on("water"))
    picture = rendered(shot)
    legs = [INDEX["left_leg"], INDEX["right_leg"]]
    assert not picture.visible[legs].any()
    assert rendered(replace(shot, others=())).mask.sum() > picture.mask.sum()


def test_feet_touch_what_a_bird_stands_on() -> None:
    for setting in ("perch", "ground"):
        index = first_on(setting)
        stage = stage_of(index)
        if stage.posture.clinging:
            continue
        support = staged(index).others[0].vertices.astype(np.float64) @ stage.view  # back in the world
        feet = (stage.body.feet @ stage.turn.T).astype(np.float64)
        if setting == "ground":
            np.testing.assert_allclose(support[:, 1] - feet[:, 1].max(), 0.015, atol=1e-3)
        else:
            for foot in feet:
                rows = support.reshape(-1, 13, 3)
                assert np.linalg.norm(rows - foot, axis=-1).min() < 0.2


# --- surface --------------------------------------------------------------------------------------


def test_landmarks_have_the_same_surface_coordinates_on_every_bird() -> None:
    expected = template().landmarks
    on_trunk = [INDEX[name] for name in ("back", "belly", "breast", "crown", "nape", "throat", "forehead")]
    missed = []
    for index in range(0, 1200, 101):
        shot = staged(index)
        picture = rendered(shot)
        surface = shot_surface(shot, SIZE)
        for k in (k for k in on_trunk if picture.visible[k]):
            column, row = np.floor(picture.points[k]).astype(int)
            at = np.flatnonzero(surface.pixel == row * SIZE + column)
            if len(at):  # not at an outline, where the pixel's centre may miss the bird
                here = surface.coordinates[at[0]]
                reach = np.linalg.norm(surface.slope[at[0]], 2)
                missed.append(np.linalg.norm(here - expected[k]) / reach)
    assert len(missed) >= 25
    assert np.median(missed) < 1.0  # pixels


def test_surface_coordinates_tell_the_parts_apart() -> None:
    """No two spots of the template coincide but where a part grows out of another."""
    body = template()
    assert all(np.isfinite(part.vertices).all() for part in body.parts.values())
    left, right = body.parts["left_wing"].vertices, body.parts["right_wing"].vertices
    np.testing.assert_allclose(left * (1, 1, -1), right, atol=1e-6)
    trunk = body.parts["trunk"].vertices
    away = np.sqrt(((right[None] - trunk[:, None]) ** 2).sum(-1)).min(0)
    assert (away > 0.1).mean() > 0.7


def test_correspondences() -> None:
    shots = [staged(index) for index in range(0, 900, 101)]
    maps = [shot_surface(shot, SIZE) for shot in shots]
    same = match_surfaces(maps[0], maps[0])
    assert len(same.source) > 0.95 * len(maps[0].pixel)
    assert np.median(np.linalg.norm(same.source - same.target, axis=1)) < 1e-6
    pictures = [rendered(shot) for shot in shots]
    errors = []
    for source, target, from_map, to_map in zip(pictures, pictures[1:], maps, maps[1:], strict=False):
        found = match_surfaces(from_map, to_map)
        for k in np.flatnonzero(source.visible & target.visible):
            if len(found.source):
                away = np.linalg.norm(found.source - source.points[k], axis=1)
                if away.min() <= 1:
                    errors.append(np.linalg.norm(found.target[int(away.argmin())] - target.points[k]))
    assert len(errors) >= 20
    assert np.median(errors) < 2.0


# --- looks and cost -------------------------------------------------------------------------------


def test_every_dress_paints_every_part() -> None:
    for species in SPECIES:
        for dress in species.dresses:
            coat = Coat(dress, np.ones(3, dtype=np.float32), 0.1, (0.2, 0.7))
            for name, place in places().items():
                albedo, gloss = painter(name, coat)(place)
                assert albedo.shape == (len(place), 3)
                assert gloss.shape == (len(place),)
                assert (albedo > 0).all()
                assert (albedo < 1.5).all()
                assert ((gloss >= 0) & (gloss <= 1)).all()


def test_wild_birds_are_smaller_and_in_different_places() -> None:
    def boxes(wild: bool) -> npt.NDArray[np.float64]:
        return np.stack([rendered(staged(index, wild=wild), 64).box for index in range(0, 800, 101)])

    crops, wild = boxes(False), boxes(True)
    extent = [(b[:, 2:] - b[:, :2]).max(1) for b in (crops, wild)]
    assert extent[1].max() < extent[0].min()
    assert np.ptp((wild[:, 0] + wild[:, 2]) / 2) > 12


def test_rendering_needs_no_torch() -> None:
    code = "import sys; import datasets.synthetic_birds.category; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
