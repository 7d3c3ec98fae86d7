"""Intersection over union and pixel accuracy, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from bench.errors import BenchError
from bench.landmarks import UNLABELLED
from bench.seeds import torch_generator
from protocols.scores.masks import count_pixels, miou, pixel_accuracy


def image(*rows: list[int]) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.uint8)


def test_by_hand() -> None:
    """Foreground: 2 pixels in both, 4 in either. Correct: those 2 and 2 of the background, of 6."""
    counts = count_pixels(image([1, 1, 1], [0, 0, 0]), image([0, 1, 1], [1, 0, 0]), 2)
    assert counts["intersection"].tolist() == [[2, 2]]
    assert counts["union"].tolist() == [[4, 4]]
    assert miou(counts).mean() == 0.5
    assert pixel_accuracy(counts).mean() == pytest.approx(100 * 4 / 6)


def test_only_background_predicted_is_zero_overlap() -> None:
    counts = count_pixels(image([0, 0, 0]), image([0, 0, 1]), 2)
    assert miou(counts).mean() == 0
    assert pixel_accuracy(counts).mean() == pytest.approx(200 / 3)


def test_several_classes_by_hand() -> None:
    """Class 1: 1 of 2 pixels. Class 2: 1 of 2. Class 3 is predicted once and never there: 0. Class 4 is nowhere."""
    counts = count_pixels(image([1, 0, 2, 3]), image([1, 1, 2, 2]), 5)
    assert miou(counts).mean() == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


def test_images_count_alike_and_pixels_count_alike() -> None:
    """Overlaps 1 and 0 have the mean 1/2; of the pixels, 3 of 4 and 1 of 4 are right."""
    predicted = torch.cat([image([1, 0], [0, 0]), image([1, 1], [1, 0])])
    target = torch.cat([image([1, 0], [0, UNLABELLED]), image([0, 0], [0, 0])])
    counts = count_pixels(predicted, target, 2)
    assert miou(counts).mean() == 0.5
    assert pixel_accuracy(counts).mean() == pytest.approx(100 * (3 + 1) / (3 + 4))


def test_unlabelled_pixels_count_nowhere() -> None:
    counts = count_pixels(image([1, 1, 0]), image([UNLABELLED, 1, UNLABELLED]), 2)
    assert counts["union"].tolist() == [[0, 1]]
    assert counts["labelled"].tolist() == [1]
    assert miou(counts).mean() == 1


def test_an_image_without_any_foreground_is_left_out_of_the_overlap() -> None:
    counts = count_pixels(
        torch.cat([image([0, 0]), image([1, 0])]), torch.cat([image([0, 0]), image([1, 1])]), 2
    )
    assert miou(counts).images == 1
    assert miou(counts).mean() == 0.5
    assert pixel_accuracy(counts).images == 2


def test_nothing_to_average() -> None:
    empty = count_pixels(image([0, 0]), image([UNLABELLED, UNLABELLED]), 2)
    for metric in (miou, pixel_accuracy):
        with pytest.raises(BenchError, match="nothing to average"):
            metric(empty).mean()
    none = count_pixels(torch.zeros(0, 4, 4, dtype=torch.uint8), torch.zeros(0, 4, 4, dtype=torch.uint8), 2)
    with pytest.raises(BenchError, match="nothing to average"):
        miou(none).mean()
    with pytest.raises(BenchError, match=r"must both be \(N, H, W\)"):
        count_pixels(image([0, 0]), image([0]), 2)


def test_as_scikit_learn_counts() -> None:
    generator = torch_generator(0, "masks")
    predicted, target = torch.randint(0, 4, (2, 6, 9, 7), generator=generator, dtype=torch.uint8)
    counts = count_pixels(predicted, target, 4)
    overlaps = [
        jaccard_score(t.ravel(), p.ravel(), labels=[1, 2, 3], average="macro")
        for p, t in zip(predicted.numpy(), target.numpy(), strict=True)
    ]
    np.testing.assert_allclose(miou(counts).sums, overlaps)
    expected = 100 * accuracy_score(target.numpy().ravel(), predicted.numpy().ravel())
    assert pixel_accuracy(counts).mean() == pytest.approx(expected)
    low, high = miou(counts).interval(0)
    assert low < np.mean(overlaps) < high
