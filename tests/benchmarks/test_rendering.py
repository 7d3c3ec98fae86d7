"""How fast the procedural faces are rendered, on one core."""

from __future__ import annotations

import itertools

from pytest_benchmark.fixture import BenchmarkFixture

from datasets.synthetic_faces.renderer import Rendering, render_sample

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
