"""The mean shape, by hand."""

from __future__ import annotations

import pytest
import torch

from bench.errors import BenchError
from bench.network import NetworkRequest, open_network
from bench.progress import Progress
from methods.mean_shape import MeanShape, MeanShapeNetwork

POINTS = torch.tensor([[[0.0, 4.0], [8.0, 8.0], [5.0, 5.0]], [[2.0, 6.0], [torch.nan, 1e9], [5.0, 5.0]]])
VISIBLE = torch.tensor([[True, True, False], [True, False, False]])


def test_landmarks_are_averaged_where_they_are_visible() -> None:
    """The third is never seen, and put at the mean of the three points that are."""
    predicted = MeanShapeNetwork().annotated_landmarks(torch.rand(4, 3, 8, 8), POINTS, VISIBLE)
    assert predicted.shape == (4, 3, 2)
    for shape in predicted:
        torch.testing.assert_close(shape, torch.tensor([[1.0, 5.0], [8.0, 8.0], [10 / 3, 18 / 3]]))


def test_nothing_visible_is_refused() -> None:
    with pytest.raises(BenchError, match="needs a visible landmark"):
        MeanShapeNetwork().annotated_landmarks(torch.rand(1, 3, 8, 8), POINTS, torch.zeros_like(VISIBLE))


def test_features_are_the_same_everywhere() -> None:
    features = MeanShapeNetwork().extract(torch.rand(2, 3, 6, 10))
    assert (features.channels, features.size, features.image_size) == (1, (6, 10), (6, 10))
    assert bool((features.dense() == 1).all())


def test_it_needs_no_weights() -> None:
    request = NetworkRequest(MeanShape())
    assert request.is_at_hand
    network = open_network(request, torch.device("cpu"), Progress.silent())
    assert network.label == "no weights: the mean of the training annotations"
    assert network.options == {}
