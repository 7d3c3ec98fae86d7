"""How fast procedural pictures are rendered, on one core; and by torch compared with NumPy.

Run by hand, on an otherwise idle machine: ``pytest tests/benchmarks --benchmark-enable``.
"""

from __future__ import annotations

import itertools
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from datasets.procedural.backend import HOST, Backend
from datasets.procedural.renderer import Rendering, render_batch
from datasets.procedural.torch_backend import TorchBackend
from datasets.synthetic_cats.category import Cats
from datasets.synthetic_faces.renderer import render_sample

_PICTURES = 20


def test_images_per_second(benchmark: BenchmarkFixture) -> None:
    render_sample(0, "train", 0, "learn", 0, 128, False)  # the template is sculpted once per process
    numbers = itertools.count()

    def some() -> list[Rendering]:
        return [
            render_sample(0, "train", i, "learn", i, 128, False) for i in itertools.islice(numbers, _PICTURES)
        ]

    pictures = benchmark(some)
    benchmark.extra_info["pictures_per_round"] = _PICTURES
    assert len(pictures) == _PICTURES
    assert all(picture.image.shape == (128, 128, 3) for picture in pictures)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("at_once", [1, 16])
def test_torch_takes_how_often_the_time_of_numpy(
    benchmark: BenchmarkFixture, device: str, at_once: int
) -> None:
    """The same shots by both, in turn; ``extra_info`` has the median ratio of the last times, torch to NumPy."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    rounds, count, size = (3, 16, 128) if benchmark.enabled else (1, 2, 32)
    category = Cats()
    shots = [category.shot(category.take(0, "train", index, False)) for index in range(count)]
    threads = torch.get_num_threads()

    def timed(on: Backend, together: int) -> float:
        start = perf_counter()
        for first in range(0, count, together):
            batch = shots[first : first + together]
            grains = [np.random.default_rng(i) for i in range(len(batch))]
            assert len(render_batch(batch, size, grains, on)) == len(batch)
        return perf_counter() - start

    def in_turn() -> list[float]:
        return [timed(TorchBackend(device), at_once) / timed(HOST, 1) for _ in range(rounds)]

    torch.set_num_threads(1)
    try:
        ratios = benchmark(in_turn)
    finally:
        torch.set_num_threads(threads)
    benchmark.extra_info["torch_per_numpy"] = round(median(ratios), 2)
    assert len(ratios) == rounds
