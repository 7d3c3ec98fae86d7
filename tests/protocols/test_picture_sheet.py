"""Sheets of pictures: colours that differ, tints by hand, every picture on the sheet."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.part_discovery.picture_sheet import Row, class_colours, draw_sheet, painted, palette
from protocols.part_discovery.pictures import as_colours


@pytest.mark.parametrize("count", [1, 9, 10, 15, 20, 68])
def test_colours_differ(count: int) -> None:
    colours = palette(count)
    assert colours.shape == (count, 3)
    assert ((colours >= 0) & (colours <= 1)).all()
    assert len(np.unique(colours.round(2), axis=0)) == count
    assert class_colours(count + 1)[0].max() < 0.2


def test_tints_by_hand() -> None:
    image = np.full((1, 3, 3), 255, dtype=np.uint8)
    colours = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = painted(image, np.array([[0, 1, 255]]), colours, 0.75)
    np.testing.assert_allclose(found[0], np.array([[1, 0.25, 0.25], [0.25, 0.25, 1], [1, 1, 1]]))
    half = painted(image, np.array([[0, 0, 0]]), colours, np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_allclose(half[0], np.array([[1, 1, 1], [1, 0.5, 0.5], [1, 0, 0]]))


def test_coordinates_are_scaled_alike_in_all_images() -> None:
    axes = np.zeros((2, 3, 4, 4))
    axes[1] = 2.0
    axes[:, :, 0, 0] = 1.0
    colours = as_colours(axes)
    assert colours.shape == (2, 4, 4, 3)
    np.testing.assert_allclose(colours[:, 0, 0], 0.5)
    np.testing.assert_allclose([colours[0, 1, 1, 0], colours[1, 1, 1, 0]], [0, 1])


def test_every_picture_is_on_the_sheet() -> None:
    colours = palette(6)
    flat = [np.broadcast_to((255 * colour).astype(np.uint8), (12, 12, 3)) for colour in colours]
    sheet = draw_sheet(
        [Row("first", flat[:3]), Row("second\nrow", flat[3:])], [("a", colours[0])], title="six"
    )
    assert sheet.dtype == np.uint8
    for colour in flat:
        assert (sheet == colour[0, 0]).all(-1).sum() > 1000
