"""What parts are compared with: cells by brute force, borders, hidden landmarks, empty images; agreement by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from bench.landmarks import UNLABELLED
from bench.loading import LoadedSplit
from bench.seeds import numpy_generator, torch_generator
from protocols.part_discovery.truth import (
    NOT_ASKED,
    Truth,
    agreement,
    contingency,
    landmark_cells,
    pixels_of,
    truths_of,
)
from tests.protocols.parts_world import parts_world


def by_name(split: LoadedSplit) -> dict[str, Truth]:
    return {truth.name: truth for truth in truths_of(split)}


def test_cells_are_nearest_landmarks_by_brute_force() -> None:
    generator = torch_generator(0, "cells")
    points = 14 * torch.rand(3, 5, 2, generator=generator) - 2  # some lie outside
    visible = torch.rand(3, 5, generator=generator) > 0.4
    inside = torch.rand(3, 10, 10, generator=generator) > 0.2
    cells = landmark_cells(points, visible, inside)
    for image in range(3):
        for row in range(10):
            for column in range(10):
                expected, nearest = NOT_ASKED, np.inf
                for k in range(5):
                    x, y = points[image, k].double().tolist()
                    distance = (x - column - 0.5) ** 2 + (y - row - 0.5) ** 2
                    if inside[image, row, column] and visible[image, k] and distance < nearest:
                        expected, nearest = k, distance
                assert cells[image, row, column] == expected


def test_equally_near_landmarks_and_images_without_any() -> None:
    points = torch.tensor([[[0.5, 0.5], [2.5, 0.5]], [[torch.nan, torch.nan], [0.0, 0.0]]])
    visible = torch.tensor([[True, True], [False, False]])
    cells = landmark_cells(points, visible, torch.ones(2, 3, 3, dtype=torch.bool))
    assert cells[0, 0].tolist() == [0, 0, 1]
    assert bool((cells[1] == NOT_ASKED).all())
    one = landmark_cells(points[1:], torch.tensor([[False, True]]), torch.ones(1, 3, 3, dtype=torch.bool))
    assert bool((one == 1).all())


def test_points_on_the_border_lie_in_the_image() -> None:
    points = torch.tensor(
        [[0.0, 0.0], [3.999, 0.5], [4.0, 4.0], [4.001, 1.0], [-0.001, 1.0], [torch.nan, 1.0]]
    )
    pixels, inside = pixels_of(points, 4)
    assert inside.tolist() == [True, True, True, False, False, False]
    assert pixels.tolist() == [0, 3, 15, 0, 0, 0]


def test_landmarks_that_are_hidden_or_outside_are_not_asked() -> None:
    split = parts_world("test", 3).cropped()
    points, visible = split.points.clone(), split.visible.clone()
    points[0, 1] = torch.tensor([-5.0, 2.0])
    visible[1] = False
    truth = by_name(replace(split, points=points, visible=visible))["landmarks"]
    assert [part.tolist() for part in truth.parts] == [[0, 2], [], [0, 1, 2]]
    side = split.images.shape[-1]
    x, y = (int(v) for v in split.points[2, 1])
    assert truth.places[2][1] == y * side + x


def test_on_the_squares_all_truths_are_the_squares() -> None:
    split = parts_world("test", 4).cropped()
    truths = by_name(split)
    assert list(truths) == ["landmarks", "cells", "classes", "figure"]
    assert split.masks is not None
    for image in range(4):
        foreground = split.masks[image].flatten().nonzero()[:, 0]
        for name in ("cells", "classes"):
            assert torch.equal(truths[name].places[image], foreground)
            assert torch.equal(truths[name].parts[image], split.masks[image].flatten()[foreground].long() - 1)
        assert torch.equal(truths["figure"].parts[image], (split.masks[image].flatten() > 0).long())
        assert truths["landmarks"].parts[image].tolist() == [0, 1, 2]


def test_what_is_not_annotated_is_not_asked() -> None:
    split = parts_world("test", 3).cropped()
    assert split.masks is not None
    hidden = torch.zeros_like(split.visible)
    assert list(by_name(replace(split, masks=None))) == ["landmarks"]
    assert list(by_name(replace(split, visible=hidden))) == ["classes", "figure"]
    assert by_name(replace(split, visible=hidden, masks=None)) == {}
    one = torch.tensor([[True, False, False]]).expand(3, 3)
    assert by_name(replace(split, visible=one, masks=None)) == {}  # one part alone says nothing
    masks = split.masks.clone()
    masks[1] = UNLABELLED
    truths = by_name(replace(split, masks=masks))
    for name in ("cells", "classes", "figure"):
        assert [len(places) > 0 for places in truths[name].places] == [True, False, True]


def test_tables_by_hand() -> None:
    found = torch.tensor([[[0, 1], [1, 2]], [[2, 2], [2, 2]]], dtype=torch.uint8)
    empty = torch.zeros(0, dtype=torch.long)
    truth = Truth("cells", 2, [torch.tensor([0, 1, 3]), empty], [torch.tensor([0, 1, 1]), empty])
    assert contingency(found, truth, 3).tolist() == [[[1, 0, 0], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("table", "nmi", "ari"),
    [
        ([[4, 0], [0, 6]], 1.0, 1.0),
        ([[0, 4], [6, 0]], 1.0, 1.0),  # names do not matter
        ([[5, 0], [5, 0]], 0.0, 0.0),
        # Of 28 pairs, 12 share a row, 12 a column, 4 both: (4 - 12 12 / 28) / (12 - 12 12 / 28).
        ([[2, 2], [2, 2]], 0.0, -1 / 6),
        # Entropies log 2 and 3/2 log 2, information log 2. Of 28 pairs 12 and 8, 8 both: (8 - 24/7) / (10 - 24/7).
        ([[4, 0, 0], [0, 2, 2]], 1 / 1.25, 32 / 46),
    ],
)
def test_agreement_by_hand(table: list[list[int]], nmi: float, ari: float) -> None:
    found = agreement(np.array(table))
    assert found == pytest.approx((nmi, ari), abs=1e-9)


def by_scikit_learn(table: NDArray[np.int64]) -> tuple[float, float]:
    true, found = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
    return normalized_mutual_info_score(true, found), adjusted_rand_score(true, found)


@pytest.mark.parametrize("largest", [1, 2, 5, 1000])
@pytest.mark.parametrize("shape", [(2, 2), (5, 3), (1, 4), (7, 9)])
def test_agreement_is_scikit_learns(shape: tuple[int, int], largest: int) -> None:
    """Of many tables at once, sparse ones with empty rows and columns among them."""
    tables = numpy_generator(largest, "tables").integers(0, largest, (3, 4, *shape), endpoint=True)
    tables[0] *= numpy_generator(largest, "holes").integers(0, 2, tables[0].shape)
    tables[2, 3] = 0
    tables[2, 3, 0, 0] = 1
    nmi, ari = agreement(tables)
    expected = [by_scikit_learn(table) for table in tables.reshape(-1, *shape)]
    np.testing.assert_allclose(np.stack([nmi, ari], -1).reshape(-1, 2), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "table", [[[7, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 0]], [[3, 0], [2, 0]]]
)
def test_labellings_that_tell_nothing_apart(table: list[list[int]]) -> None:
    assert agreement(table) == pytest.approx(by_scikit_learn(np.array(table)))
