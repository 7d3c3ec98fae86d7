"""The shared renderer on ellipsoids, whose geometry is known; the faces through the same doors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from bench.cli.data import app as data_app
from bench.errors import BenchError
from bench.landmarks import NoOptions
from bench.progress import Progress
from bench.surfaces import HasSurface, SurfaceMap, dense_correspondences, match_surfaces
from datasets.coco import CocoOptions, CocoProvider
from datasets.procedural import cache as disk
from datasets.procedural.category import Category, Shot, Take
from datasets.procedural.dataset import CategoryDataset
from datasets.procedural.framing import centred, framed
from datasets.procedural.job import CategoryJob, class_path
from datasets.procedural.provider import ProceduralOptions, ProceduralProvider
from datasets.procedural.renderer import Rendering, render
from datasets.procedural.surface import shot_surface
from datasets.synthetic_faces import SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.job import Job
from tests.datasets.procedural_balls import Balls, upper_half, wall

SIZE = 64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


class BallsProvider(ProceduralProvider):
    name: ClassVar[str] = Balls.name
    summary: ClassVar[str] = Balls.summary
    category: ClassVar[type[Category]] = Balls


def opened(split: str = "train", **options: object) -> CategoryDataset:
    chosen = ProceduralOptions.model_validate({"size": SIZE, "pretrain": 6, "train": 6, "test": 6, **options})
    dataset = cast(CategoryDataset, BallsProvider().open(split, None, chosen))
    dataset._progress = Progress.silent()
    return dataset


def staged(index: int, *, wild: bool = False) -> Shot:
    return Balls().shot(Balls().take(0, "train", index, wild))


def rendered(shot: Shot, size: int = SIZE) -> Rendering:
    return render(shot, size, np.random.default_rng(0))


def hits(shot: Shot, points: np.ndarray) -> list[list[tuple[int, float, np.ndarray]]]:
    """Every (piece, depth, surface coordinates) on the ray through each point (x, y in the view), in float64."""
    found: list[list[tuple[int, float, np.ndarray]]] = []
    for x, y in points.astype(np.float64):
        mine = []
        for number, piece in enumerate([*shot.subject.pieces, *shot.others]):
            corners = piece.vertices[piece.triangles].astype(np.float64)
            for triangle, names in zip(corners, piece.surface[piece.triangles], strict=True):
                if (
                    not (triangle[:, :2].min(0) <= (x, y)).all()
                    or not (triangle[:, :2].max(0) >= (x, y)).all()
                ):
                    continue
                system = np.vstack([triangle[:, :2].T, np.ones(3)])
                if abs(np.linalg.det(system)) > 1e-12:
                    weights = np.linalg.solve(system, [x, y, 1.0])
                    if weights.min() >= 0:
                        mine.append((number, float(weights @ triangle[:, 2]), weights @ names))
        found.append(mine)
    return found


# --- pictures -------------------------------------------------------------------------------------


def test_points_are_the_orthographic_projection_of_the_landmarks() -> None:
    shot = staged(0)
    expected = (shot.subject.landmarks[:, :2] * shot.scale + np.asarray(shot.centre)) * SIZE
    np.testing.assert_allclose(rendered(shot).points, expected, atol=1e-4)


def test_visibility_agrees_with_rays_through_the_landmarks() -> None:
    hidden = 0
    for index in range(12):
        shot = staged(index)
        landmarks = shot.subject.landmarks
        expected = []
        for (_, _, z), on_ray in zip(landmarks, hits(shot, landmarks[:, :2]), strict=True):
            own = max((float(depth) for piece, depth, _ in on_ray if piece == 0), default=-np.inf)
            other = max((float(depth) for piece, depth, _ in on_ray if piece > 0), default=-np.inf)
            expected.append(bool(own <= z + 0.05 and other <= z))
        assert rendered(shot).visible.tolist() == expected, index
        hidden += len(expected) - sum(expected)
    assert hidden > 15  # the back of every ball at least, and poles behind the other ball


def test_others_hide_and_are_not_part_of_the_mask() -> None:
    shot = staged(1)
    alone = rendered(replace(shot, others=[]))
    both = rendered(shot)
    assert both.mask.sum() < 0.95 * alone.mask.sum()
    assert not (both.mask & ~alone.mask).any()
    np.testing.assert_array_equal(both.box, alone.box)
    rows, columns = np.nonzero(alone.mask)
    tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(alone.box, tight, atol=1.0)


def test_the_mask_is_the_ellipse_that_an_ellipsoid_projects_to() -> None:
    shot = staged(0)
    turn, *_ = np.linalg.lstsq(shot.subject.pieces[0].surface, shot.subject.pieces[0].vertices)
    flat = turn[:, :2].T @ turn[:, :2]  # the outline is the image of the unit ball under this 2 x 3 map
    grid = (np.stack(np.meshgrid(*2 * [np.arange(SIZE)]), -1) + 0.5) / SIZE
    away = (grid - shot.centre) / shot.scale
    inside = np.einsum("ijk,kl,ijl->ij", away, np.linalg.inv(flat), away) <= 1
    assert (inside != rendered(shot).mask).mean() < 0.01


def test_foregrounds_hide_landmarks_mask_and_surface() -> None:
    shot = replace(staged(2), foreground=wall)
    result, free = rendered(shot), rendered(staged(2))
    assert not result.mask[:, : SIZE // 2].any()
    left = free.points[:, 0] < SIZE / 2
    assert free.visible[left].any()
    assert not result.visible[left].any()
    np.testing.assert_array_equal(result.visible[~left], free.visible[~left])
    assert (result.image[:, : SIZE // 2].mean((0, 1)) < free.image[:, : SIZE // 2].mean((0, 1))).all()
    assert (shot_surface(shot, SIZE).pixel % SIZE >= SIZE // 2).all()


def test_fragments_that_are_not_present_leave_holes() -> None:
    shot = staged(0)
    half = replace(shot.subject.pieces[0], present=upper_half)
    cut = replace(shot, subject=replace(shot.subject, pieces=[half]))
    surface = shot_surface(cut, SIZE)
    assert 0 < len(surface.pixel) < len(shot_surface(shot, SIZE).pixel)
    assert surface.coordinates[:, 1].max() < 0.02
    assert rendered(cut).box[3] < rendered(shot).box[3] - 5


def test_a_piece_that_is_no_figure_counts_as_something_else() -> None:
    shot = staged(0)
    prop = replace(shot.subject.pieces[0], figure=False)
    result = rendered(replace(shot, subject=replace(shot.subject, pieces=[prop])))
    assert not result.mask.any()


@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 3.0),
    centre=st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
)
@settings(max_examples=60, deadline=None)
def test_framed_points_lie_in_the_picture(seed: int, scale: float, centre: tuple[float, float]) -> None:
    points = np.random.default_rng(seed).normal(0, 1, (5, 3)).astype(np.float32)
    fitted, where = framed(points, scale, centre)
    assert fitted <= scale
    placed = points[:, :2] * fitted + np.asarray(where)
    assert placed.min() >= 0.02 - 1e-5
    assert placed.max() <= 0.98 + 1e-5
    assert framed(points, fitted, where) == pytest.approx((fitted, pytest.approx(where, abs=1e-5)))


def test_centred_puts_the_middle_of_the_bounds_where_asked() -> None:
    points = np.array([[0.0, 0.0, 5.0], [2.0, 4.0, 0.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    assert centred(points, 0.1, (0.5, 0.6)) == pytest.approx((0.4, 0.4))


# --- surface coordinates and correspondences ------------------------------------------------------


def test_surface_coordinates_are_those_of_the_nearest_triangle_on_the_ray() -> None:
    shot = staged(1)
    surface = shot_surface(shot, SIZE)
    picture = surface.image()
    rng = np.random.default_rng(1)
    pixels = rng.integers(8, SIZE - 8, (40, 2))
    places = ((pixels + 0.5) / SIZE - shot.centre) / shot.scale
    shown = 0
    for (column, row), on_ray in zip(pixels, hits(shot, places), strict=True):
        piece, _, coordinates = max(on_ray, key=lambda hit: hit[1], default=(1, 0.0, np.full(3, np.nan)))
        expected = coordinates if piece == 0 else np.full(3, np.nan)
        np.testing.assert_allclose(picture[row, column], expected, atol=1e-4)
        shown += piece == 0
    assert shown > 10


def test_an_image_corresponds_to_itself_pixel_by_pixel() -> None:
    for dataset in (opened(), faces()):
        matches = dense_correspondences(dataset, 0, 0)
        assert len(matches.source) == len(dataset.surface(0).pixel) > 500
        np.testing.assert_allclose(matches.source, matches.target, atol=1e-9)


@pytest.mark.parametrize(("i", "j"), [(0, 2), (3, 0), (4, 5)])
def test_correspondences_are_exact_and_complete(i: int, j: int) -> None:
    dataset = opened(size=128)
    matches = dense_correspondences(dataset, i, j)
    source, shot = dataset.surface(i), dataset.job.shot(j)
    piece = shot.subject.pieces[0]
    to_view, *_ = np.linalg.lstsq(piece.surface.astype(np.float64), piece.vertices.astype(np.float64))
    in_view = source.coordinates @ to_view
    expected = (in_view[:, :2] * shot.scale + np.asarray(shot.centre)) * 128
    matched = np.isin(source.pixel, (matches.source - 0.5) @ (1, 128))
    np.testing.assert_allclose(matches.target, expected[matched], atol=0.5)
    assert np.median(np.abs(matches.target - expected[matched])) < 0.02
    # Seen from the front, well inside the outline and not behind the other ball: a match must be there.
    normal = source.coordinates @ np.linalg.inv(to_view).T
    facing = normal[:, 2] / np.linalg.norm(normal, axis=1)
    shown = dataset.surface(j).image()
    column, row = np.clip(expected.astype(int), 1, 126).T
    around = [np.isfinite(shown[row + dy, column + dx]).all(-1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert matched[(facing > 0.1) & np.all(around, axis=0)].all()
    assert not matched[facing < -0.35].any()


def test_matching_inverts_an_affine_map_to_rounding() -> None:
    """On planes the coordinates are linear, and the match is where the two maps agree."""
    a = np.array([[0.02, 0.003], [-0.004, 0.015], [0.01, 0.01]])
    b = np.array([[0.018, -0.002], [0.003, 0.017], [0.011, 0.0093]])
    b = a @ np.linalg.lstsq(a, b)[0]  # the same plane
    size = 20
    centres = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2) + 0.5
    pixel = np.arange(size * size)
    one = SurfaceMap(size, pixel, centres @ a.T, np.broadcast_to(a, (len(pixel), 3, 2)))
    two = SurfaceMap(size, pixel, centres @ b.T, np.broadcast_to(b, (len(pixel), 3, 2)))
    matches = match_surfaces(one, two)
    expected = np.linalg.lstsq(b, a @ centres.T)[0].T
    inside = ((expected >= 0) & (expected <= size)).all(1)
    np.testing.assert_array_equal(np.isin(pixel, (matches.source - 0.5) @ (1, size))[inside], True)
    kept = ((matches.source - 0.5) @ (1, size)).astype(int)
    np.testing.assert_allclose(matches.target, expected[kept], atol=1e-8)


def test_nothing_corresponds_to_nothing() -> None:
    empty = SurfaceMap(8, np.empty(0, dtype=np.int64), np.empty((0, 3)), np.empty((0, 3, 2)))
    assert match_surfaces(empty, shot_surface(staged(0), 32)).source.shape == (0, 2)
    assert match_surfaces(shot_surface(staged(0), 32), empty).target.shape == (0, 2)


def faces(count: int = 6) -> HasSurface:
    options = SyntheticFacesOptions(size=128, test=count, landmarks=68)
    dataset = SyntheticFacesProvider().open("test", None, options)
    dataset._progress = Progress.silent()
    return dataset


def test_landmarks_of_faces_are_found_by_their_surface_coordinates() -> None:
    """The template's landmarks, matched into renderings of different people, are those people's landmarks."""
    dataset = SyntheticFacesProvider().open(
        "test", None, SyntheticFacesOptions(size=128, test=4, landmarks=68)
    )
    dataset._progress = Progress.silent()
    template = head_mesh().landmarks(head_mesh().vertices).astype(np.float64)
    wanted = SurfaceMap(128, np.arange(68), template, np.zeros((68, 3, 2)))
    errors = []
    for index in range(4):
        matches, sample = match_surfaces(wanted, dataset.surface(index)), dataset[index]
        number = (matches.source[:, 0] - 0.5).astype(int)
        seen = sample.visible.numpy()
        assert np.isin(np.flatnonzero(seen), number).mean() > 0.9
        away = np.linalg.norm(matches.target - sample.points.numpy()[number], axis=1)
        errors.append(away[seen[number]])
    assert np.median(np.concatenate(errors)) < 0.02
    assert np.quantile(np.concatenate(errors), 0.95) < 0.5


# --- data sets ------------------------------------------------------------------------------------


def test_samples_have_the_declared_form() -> None:
    dataset = opened("test")
    sample = dataset[-1]
    assert sample.id == dataset.ids[-1] == "test-000005"
    assert sample.image.shape == (3, SIZE, SIZE)
    assert sample.points.shape == (5, 2)
    assert sample.points.dtype == torch.float32
    assert sample.identity == "test-00005"
    assert sample.mask is not None
    assert sample.mask.dtype == torch.bool
    assert sample.box is not None
    assert dataset.schema.names == Balls.landmark_names
    assert isinstance(dataset, HasSurface)
    with pytest.raises(IndexError):
        dataset[6]
    with pytest.raises(IndexError):
        dataset.surface(6)


def test_processes_render_what_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = opened(train=4)
    alone.prepare(workers=1)
    monkeypatch.setattr(disk, "_ALONE", 0)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    together = opened(train=4)
    together.prepare(workers=2)
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.points, two.points)
        assert one.identity == two.identity


def test_a_shot_depends_on_its_take_only() -> None:
    first, again = rendered(staged(3)), rendered(staged(3))
    np.testing.assert_array_equal(first.image, again.image)
    take = Balls().take(0, "train", 3, False)
    shape = take.individual_generator("x").random()
    assert Take(0, "test", 99, take.pool, take.individual, True).individual_generator("x").random() == shape
    assert take.picture_generator("x").random() != replace(take, index=4).picture_generator("x").random()
    assert replace(take, pool="test").individual_generator("x").random() != shape


def test_individuals_of_training_and_test_are_different() -> None:
    category = Balls()
    learn = {(t.pool, t.individual) for t in (category.take(0, "train", i, False) for i in range(300))}
    held = {(t.pool, t.individual) for t in (category.take(0, "test", i, False) for i in range(300))}
    assert len(learn) == len(held) == 30
    assert not learn & held


def test_fingerprints_differ_where_results_could() -> None:
    changes: list[dict[str, object]] = [{}, {"size": 96}, {"seed": 1}, {"wild": True}, {"train": 7}]
    prints = {opened("train", **change).fingerprint for change in changes} | {opened("test").fingerprint}
    assert len(prints) == len(changes) + 1
    assert opened().fingerprint == opened(test=9).fingerprint


def test_keys_of_the_cache_stay_valid() -> None:
    """Renderings that lie on users' disks are found again; a change here means to render everything anew."""
    assert Job(split="test", count=300, size=128, seed=0, wild=False).key == "v1-test-3cfe26c63a02d011"
    job = CategoryJob(
        split="test", count=3, size=64, seed=0, wild=False, version=1, category=class_path(Balls), engine=1
    )
    assert json.loads(job.model_dump_json())["category"] == "tests.datasets.procedural_balls:Balls"


def test_wrong_use_is_explained() -> None:
    provider = BallsProvider()
    options = ProceduralOptions()
    with pytest.raises(BenchError, match="trian") as caught:
        provider.open("trian", None, options)
    assert "'train'" in str(caught.value)
    with pytest.raises(BenchError, match="location"):
        provider.open("train", "/somewhere", options)
    with pytest.raises(BenchError, match="ProceduralOptions"):
        provider.open("train", None, NoOptions())
    assert provider.pretraining_splits(None, options) == ("pretrain", "train")
    assert provider.splits(None, options) == ("pretrain", "train", "test")


# --- bench data render ----------------------------------------------------------------------------


def test_render_writes_a_folder_that_coco_reads(tmp_path: Path) -> None:
    output = tmp_path / "faces"
    arguments = ["synthetic-faces", "--count", "3", "--size", "64", "--seed", "4", "--split", "train"]
    command = ["render", *arguments, "--split", "test", "--surface", "-o", str(output), "-q", "--json"]
    done = CliRunner().invoke(data_app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "folders": [str(output / "train"), str(output / "test")],
        "images": 6,
    }
    chosen = SyntheticFacesOptions(size=64, seed=4, train=3)
    original = SyntheticFacesProvider().open("train", None, chosen)
    options = CocoOptions(occluded="drop")
    copy = CocoProvider().open("train", str(output), options)
    assert CocoProvider().evaluation_splits(str(output), options) == ("train", "test")
    assert copy.schema.names == original.schema.names
    assert copy.schema.flip_indices == original.schema.flip_indices
    assert copy.schema.normaliser == original.schema.normaliser
    for index, (read, sample) in enumerate(zip(copy, original, strict=True)):
        assert torch.equal(read.image, sample.image)
        assert read.identity == sample.identity
        assert torch.equal(read.visible, sample.visible)
        seen = sample.visible
        torch.testing.assert_close(read.points[seen], sample.points[seen], atol=1e-4, rtol=0)
        torch.testing.assert_close(read.box, sample.box, atol=1e-4, rtol=0)
        mask = np.asarray(Image.open(output / "train" / "masks" / f"{sample.id}.png")) > 0
        assert sample.mask is not None
        np.testing.assert_array_equal(mask, sample.mask.numpy())
        surface = np.load(output / "train" / "surface" / f"{sample.id}.npy")
        np.testing.assert_array_equal(surface, original.surface(index).image().astype(np.float32))
    again = CliRunner().invoke(data_app, command)
    assert isinstance(again.exception, BenchError)
    assert "exists" in str(again.exception)


def test_render_refuses_what_is_not_procedural(tmp_path: Path) -> None:
    done = CliRunner().invoke(data_app, ["render", "coco:somewhere", "-o", str(tmp_path)])
    assert isinstance(done.exception, BenchError)
    assert "coco is not rendered" in str(done.exception)
    wrong = CliRunner().invoke(
        data_app, ["render", "synthetic-faces", "--split", "tset", "-o", str(tmp_path)]
    )
    assert isinstance(wrong.exception, BenchError)
    assert "'test'" in str(wrong.exception)
