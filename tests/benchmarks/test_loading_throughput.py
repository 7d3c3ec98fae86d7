"""Images a second of an epoch over JPEGs of CelebA's size: decoded from their files, and from kept images.

An epoch is what a training does: open the split, fingerprint it, load it, and gather every image once in shuffled
batches. Run by hand: ``pytest tests/benchmarks/test_loading_throughput.py --benchmark-enable``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from bench.image_cache import ImageCache
from bench.landmarks import DatasetInfo, LandmarkSchema
from bench.loading import PREPROCESSINGS, load_split
from datasets.listed import Entry, ListedDataset

WIDTH, HEIGHT = 178, 218
_NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
_BATCH = 64


def _write_images(folder: Path, count: int) -> list[Entry]:
    """Smooth pictures with some texture, 7 kB each: the mean of CelebA's aligned images."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    entries = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 11, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        file = folder / f"{number:06d}.jpg"
        Image.fromarray(pixels).save(file, quality=75)
        os.utime(file, (0, 0))  # not written just now, so that its digest is remembered as an old file's is
        points = rng.uniform((0, 0), (WIDTH, HEIGHT), (5, 2))
        entries.append(Entry(file.name, file, points, np.ones(5, dtype=np.bool_)))
    return entries


def _epoch(entries: list[Entry], cache: ImageCache) -> int:
    """The sum of all pixels, so that every one has been read."""
    dataset = ListedDataset(
        name="jpegs",
        split="train",
        info=DatasetInfo("JPEGs", "own", "none", "none"),
        schema=LandmarkSchema(_NAMES),
        entries=entries,
    )
    split = load_split(dataset, PREPROCESSINGS["contrast-96"], cache=cache)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return sum(int(split.images[batch].sum()) for batch in order.split(_BATCH))


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["first epoch", "cached epoch"])
def test_seconds_of_an_epoch(kind: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    entries = _write_images(tmp_path / "jpegs", 1000 if benchmark.enabled else 32)
    caches = (ImageCache(tmp_path / f"images-{i}", 10**9) for i in range(100))
    kept = next(caches)
    expected = _epoch(entries, kept)

    def prepare() -> tuple[tuple[list[Entry], ImageCache], dict[str, Any]]:
        return (entries, next(caches) if kind == "first epoch" else kept), {}

    benchmark.extra_info["images"] = len(entries)
    found = benchmark.pedantic(_epoch, setup=prepare, rounds=5)  # type: ignore[no-untyped-call]
    assert found == expected
