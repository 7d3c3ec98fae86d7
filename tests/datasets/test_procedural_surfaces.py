"""Surface coordinates of renderings, and the correspondences that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from bench.progress import Progress
from bench.surfaces import HasSurface, SurfaceMap, dense_correspondences, match_surfaces
from datasets.procedural.surface import shot_surface
from datasets.synthetic_faces import SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.head import head_mesh
from tests.datasets.balls_on_stage import SIZE, hits, opened, staged

pytestmark = pytest.mark.usefixtures("own_cache")


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
