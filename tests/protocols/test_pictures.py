"""What is drawn over images: which images, where the marks are, and colours of features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from bench.context import RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from protocols.heads.regressor import RegressorOptions
from protocols.pictures.canvas import FOUND, Canvas, Row, sheet
from protocols.pictures.cases import best_median_worst, draw_cases
from protocols.pictures.matches import as_colours, principal_coordinates
from protocols.regression import Regression
from tests.protocols import matching_world, regression_world

BLUE = tuple(int(FOUND[i : i + 2], 16) for i in (1, 3, 5))


def black(side: int = 10) -> torch.Tensor:
    return torch.zeros(3, side, side, dtype=torch.uint8)


def test_marks_are_at_their_places_in_the_enlarged_image() -> None:
    canvas = Canvas([black(), black()], 100)
    canvas.dot((2.5, 7.0), FOUND, 3.0)
    canvas.dot((9.0, 1.0), FOUND, 3.0, 1)
    picture = canvas.picture()
    assert picture.shape == (100, 200, 3)
    rows, columns = np.nonzero((np.abs(picture.astype(int) - BLUE) < 30).all(2))
    first = columns < 100
    # Centre of pixel i is at i + 0.5.
    assert (columns[first].mean() + 0.5, rows[first].mean() + 0.5) == pytest.approx((25, 70), abs=0.3)
    assert (columns[~first].mean() + 0.5, rows[~first].mean() + 0.5) == pytest.approx((190, 10), abs=0.3)


def test_an_image_without_marks_is_only_enlarged() -> None:
    image = torch.full((3, 8, 8), 200, dtype=torch.uint8)
    assert (Canvas([image], 64).picture() == 200).all()


def test_sheets_have_room_for_names_texts_and_legend() -> None:
    tile = Canvas([black()], 40).picture()
    plain = sheet([Row("", [tile, tile])])
    named = sheet([Row("best", [tile, tile], ["1", "2"])], [("ring", "annotated")])
    assert plain.shape[1] == 2 * (40 + 6)
    assert named.shape[0] > plain.shape[0]
    assert named.shape[1] > plain.shape[1]
    assert named.dtype == np.uint8


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 100])
def test_best_median_and_worst_are_distinct_images_in_order(count: int) -> None:
    rows = dict(best_median_worst(list(range(count)), 4))
    shown = [i for row in rows.values() for i in row]
    assert len(set(shown)) == len(shown)
    assert rows["best"][0] == 0
    if count > 1:
        assert rows["worst"][0] == count - 1
    if count >= 12:
        assert rows["median"] == [count // 2 - 2, count // 2 - 1, count // 2, count // 2 + 1]


def test_the_worst_case_is_the_image_with_the_largest_mean_error() -> None:
    test = regression_world.world("test", 12).cropped()
    # Every image has a colour of its own, by which it is found in the picture.
    test = replace(
        test, images=(20 * torch.arange(12, dtype=torch.uint8)).view(12, 1, 1, 1).expand_as(test.images)
    )
    off = torch.arange(12, dtype=torch.float32).roll(5)
    # Errors double from one to the next: the distances that normalise them differ less.
    picture = draw_cases(test.points + 0.002 * 2 ** off[:, None, None] * torch.tensor([1.0, 0.0]), test)[
        "cases"
    ]
    tile, gap = 168, 6
    bottom = picture[2 * (tile + gap + 21) : 2 * (tile + gap + 21) + tile]
    corners = bottom[4, -4 * (tile + gap) :: tile + gap, 0]
    assert [int(value) // 20 for value in corners] == [int(i) for i in off.argsort(descending=True)[:4]]


def test_cases_without_a_normaliser_and_without_visible_landmarks() -> None:
    test = regression_world.world("test", 6).cropped()
    bare = replace(test, schema=LandmarkSchema(test.schema.names))
    assert draw_cases(test.points + 1, bare)["cases"].ndim == 3
    hidden = replace(test, visible=torch.zeros_like(test.visible))
    assert draw_cases(test.points, hidden) == {}


def test_principal_coordinates_are_those_of_the_dense_descriptors() -> None:
    """Against scikit-learn, on descriptors at the places that the axes are fitted to."""
    stream = torch.Generator().manual_seed(0)
    level = torch.randn(4, 12, 9, 9, generator=stream) * torch.linspace(3, 0.2, 12)[:, None, None]
    features = FeatureMap((level,), (9, 9), (90, 90), "none")
    found = principal_coordinates(features)
    rows = level.permute(0, 2, 3, 1).reshape(-1, 12).numpy()
    expected = PCA(3).fit_transform(rows)
    mine = found.transpose(0, 2, 3, 1).reshape(-1, 3)
    mine = mine - mine.mean(0)
    signs = np.sign((mine * expected).sum(0))
    np.testing.assert_allclose(mine * signs, expected, atol=1e-3)


def test_colours_are_scaled_alike_in_all_images_and_grey_where_nothing_differs() -> None:
    coordinates = np.zeros((2, 3, 8, 8), dtype=np.float32)
    coordinates[0, 0], coordinates[1, 0] = 1.0, 3.0
    colours = as_colours(coordinates)
    assert colours.dtype == np.uint8
    assert [int(colours[i, 0, 0, 0]) for i in (0, 1)] == [0, 255]
    assert (colours[:, 1:] == 128).all()


def test_regression_stores_its_cases() -> None:
    options = RegressorOptions(epochs=1, batch_size=10)
    data = regression_world.evaluation_data(train=10, test=6)
    measured = Regression().measure(regression_world.Colours(), data, options, RunContext())
    expected = draw_cases(torch.from_numpy(measured.per_sample["predictions"]), data.test.cropped())
    assert np.array_equal(measured.pictures["cases"], expected["cases"])


@pytest.mark.parametrize(
    "extractor", [matching_world.Colours(), matching_world.Constant(), matching_world.Mixed()]
)
def test_matching_stores_its_pairs_and_features(extractor: FeatureExtractor) -> None:
    split = matching_world.split_of(4)
    measured = matching_world.measure(split, extractor)
    assert set(measured.pictures) == {"pairs", "features"}
    pairs = measured.pictures["pairs"]
    assert pairs.shape[1] == 2 * (2 * 168 + 6)  # two pairs a row, two images a pair
