"""Frozen features on disk: extracted once, the same as in memory, by whatever they depend on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from bench.cache_folder import FEATURES, CacheFolder
from bench.cli import app
from bench.context import RunContext
from bench.errors import BenchError
from bench.extraction import Extraction
from bench.feature_cache import FeatureCache, images_sha256
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.runner import RunRequest, run
from tests.bench.two_levels import (
    BYTES,
    SIDE,
    TwoLevels,
    assert_same,
    cache_below,
    entries,
    extraction,
    in_memory,
    open_features,
    pictures,
)
from tests.bench.world import UNTRAINED_TINY_NETWORK, write_faces


def test_features_are_extracted_once_and_are_the_same_from_memory_and_disk(tmp_path: Path) -> None:
    images = pictures(10)
    expected = extraction(TwoLevels(), images).in_memory()
    first, _ = open_features(cache_below(tmp_path, TwoLevels()), images)
    network = TwoLevels()
    second, said = open_features(cache_below(tmp_path, network), images)
    assert_same(first, expected)
    assert_same(second, expected)
    assert not second.levels[0].is_contiguous()
    assert network.seen == 2  # the probe
    assert said == ""


@pytest.mark.parametrize("size", [None, (8, 8), (4, 4), (16, 16)])
def test_levels_are_kept_as_the_size_asks_for(size: tuple[int, int] | None, tmp_path: Path) -> None:
    network, images = TwoLevels(), pictures(5)
    cache = cache_below(tmp_path, network)
    in_memory = RunContext(batch_size=2).features(network, images, size=size)
    for _ in range(2):
        kept = RunContext(batch_size=2, feature_cache=cache).features(network, images, size=size, keep=True)
        assert_same(kept, in_memory)


def test_only_what_is_worth_it_is_kept(tmp_path: Path) -> None:
    """Images that one run draws are not, nor features of a network that a protocol trains."""
    network = TwoLevels()
    context = RunContext(feature_cache=cache_below(tmp_path, network))
    context.features(network, pictures(3))
    context.features(copy.deepcopy(network), pictures(3), keep=True)
    assert not (tmp_path / "features").exists()
    context.features(network, pictures(3), keep=True)
    assert (tmp_path / "features").exists()


def _one_pixel(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    images = wanted.images.clone()
    images[-1, -1, -1, -1] ^= 1
    return cache, replace(wanted, images=images)


def _other_order(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    return cache, replace(wanted, images=wanted.images.flip(0))


def _one_weight(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    next(wanted.extractor.parameters()).data.view(-1)[0] += 1e-6
    return cache, wanted


def _other_options(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    return replace(cache, network={"method": "tiny", "options": {"dim": 4}}), wanted


def _other_method(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    return replace(cache, network={"method": "other", "options": {}}), wanted


def _halves(cache: FeatureCache, wanted: Extraction) -> tuple[FeatureCache, Extraction]:
    wanted.extractor.half_precision = True
    return cache, wanted


@pytest.mark.parametrize(
    "change",
    [
        _one_pixel,
        _other_order,
        _one_weight,
        _other_options,
        _other_method,
        _halves,
        lambda cache, wanted: (cache, replace(wanted, size=(4, 4))),
        lambda cache, wanted: (cache, replace(wanted, batch_size=3)),
    ],
)
def test_whatever_numbers_depend_on_is_another_entry(
    change: Callable[[FeatureCache, Extraction], tuple[FeatureCache, Extraction]], tmp_path: Path
) -> None:
    network = TwoLevels()
    cache, wanted = cache_below(tmp_path, network), extraction(network, pictures(5))
    cache.open(wanted)
    cache, wanted = change(cache, wanted)
    assert_same(cache.open(wanted), wanted.in_memory())
    assert len(entries(cache)) == 2


def test_threads_are_another_entry(tmp_path: Path) -> None:
    network = TwoLevels()
    cache, before = cache_below(tmp_path, network), torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            open_features(cache, pictures(3))
    finally:
        torch.set_num_threads(before)
    assert len(entries(cache)) == 2


def test_where_images_come_from_and_how_they_lie_does_not_matter(tmp_path: Path) -> None:
    network, images = TwoLevels(), pictures(5)
    cache = cache_below(tmp_path, network)
    framed = F.pad(images, (2, 2, 2, 2))
    for same in (images, framed[..., 2:-2, 2:-2], images.contiguous(memory_format=torch.channels_last)):
        open_features(cache, same)
    cache.open(replace(extraction(network, images), what="training images"))
    assert len(entries(cache)) == 1
    assert images_sha256(images) != images_sha256(images.float())
    assert images_sha256(images) != images_sha256(images.flatten(2).unflatten(2, (8, 32)))


def test_writing_to_features_does_not_reach_the_disk(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels())
    expected = in_memory(3)
    for _ in range(2):
        features, said = open_features(cache, pictures(3))
        assert_same(features, expected)
        for level in features.levels:
            level.zero_()
    assert said == ""


def test_halves_take_half_the_room_and_lose_nothing_more(tmp_path: Path) -> None:
    images, network = pictures(5), TwoLevels()
    full = network.extract(images)
    network.half_precision = True
    rounded = network.extract(images)
    for level, whole in zip(rounded.levels, full.levels, strict=True):
        assert level.dtype == torch.float32
        assert torch.equal(level, whole.half().float())
        assert not torch.equal(level, whole)
    cache = cache_below(tmp_path, network)
    for _ in range(2):
        assert_same(open_features(cache, images)[0], extraction(network, images).in_memory())
    sizes = sum((entries(cache)[0] / f"level-{i}.npy").stat().st_size for i in range(2))
    assert sizes == 5 * BYTES // 2 + 2 * 128  # numpy's headers


def test_features_too_large_for_halves_are_refused() -> None:
    network = TwoLevels()
    network.half_precision = True
    network.convolution.weight.data.fill_(1e6)
    with pytest.raises(BenchError, match=r"features up to 2.*e\+07 do not fit into float16"):
        network.extract(torch.ones(1, 3, SIDE, SIDE))


def _request(tmp_path: Path, runs: str, feature_dtype: str = "float32") -> RunRequest:
    faces = tmp_path / "faces"
    if not faces.exists():
        write_faces(faces, train=6, val=4)
    return RunRequest(
        method="random", protocol="regression", dataset=DatasetRequest(f"coco:{faces}"),
        method_options=UNTRAINED_TINY_NETWORK, protocol_options=("epochs=2",), runs=tmp_path / runs,
        feature_dtype="float16" if feature_dtype == "float16" else "float32", batch_size=4,
    )  # fmt: skip


def test_a_run_measures_the_same_from_kept_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A regressor that is trained on mapped features ends with the same numbers, to the last bit."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    for dtype in ("float32", "float16"):
        records = []
        for runs, limit in (("memory", "0"), ("first", "1GB"), ("kept", "1GB")):
            monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", limit)
            request = _request(tmp_path, f"{runs}-{dtype}", dtype)
            records.append(run(request, Progress.silent()).record)
        assert records[0].metrics == records[1].metrics == records[2].metrics
        assert len({record.id for record in records}) == 1
    stored = CacheFolder(FEATURES, tmp_path / "cache" / "features", 0).entries()
    assert len(stored) == 4  # training and test images, in both types


def test_a_record_says_that_features_were_rounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        run(_request(tmp_path, "runs", dtype), Progress.silent()).record for dtype in ("float32", "float16")
    ]
    assert records[0].id != records[1].id
    assert "feature_dtype" not in records[0].identity()["method"]  # ids from before there was a choice
    assert records[1].identity()["method"]["feature_dtype"] == "float16"
    assert records[1].method.weights_label == f"{records[0].method.weights_label}; features in float16"


def test_an_unknown_type_is_refused() -> None:
    result = CliRunner().invoke(app, ["run", "-m", "lead", "-p", "matching", "--feature-dtype", "float8"])
    assert isinstance(result.exception, BenchError)
    assert "features cannot be of type 'float8'" in str(result.exception)
    assert "float16" in str(result.exception)
