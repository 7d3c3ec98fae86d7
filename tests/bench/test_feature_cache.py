"""Frozen features on disk: extracted once, the same as in memory, whatever is damaged, killed, full or in use."""

from __future__ import annotations

import copy
import errno
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from bench.cache_folder import FEATURES, CacheFolder
from bench.cli import app
from bench.context import RunContext
from bench.errors import BenchError
from bench.extraction import Extraction
from bench.feature_cache import FeatureCache, images_sha256
from bench.features import FeatureMap
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.runner import RunRequest, run
from tests.bench.two_levels import BATCH, BYTES, SIDE, TwoLevels, cache_below, extraction, in_memory, pictures
from tests.bench.world import UNTRAINED_TINY_NETWORK, write_faces


class Edited(TwoLevels):
    """The same weights under other code."""

    def forward(self, images: Tensor) -> FeatureMap:
        return super().forward(images).scaled(1.01)


def _open(cache: FeatureCache, images: Tensor) -> tuple[FeatureMap, str]:
    """The features, and what was said."""
    said = io.StringIO()
    progress = Progress(Console(file=said, width=1000))
    return cache.open(extraction(cache.extractor, images, progress)), said.getvalue()


def _entries(cache: FeatureCache) -> list[Path]:
    return sorted(folder for folder in cache.folder.folder.iterdir() if folder.is_dir())


def _assert_same(one: FeatureMap, other: FeatureMap) -> None:
    """Bit for bit, and lying alike in memory: what is computed from either is the same."""
    assert (one.size, one.image_size, one.normalisation) == (
        other.size,
        other.image_size,
        other.normalisation,
    )
    for a, b in zip(one.levels, other.levels, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
        assert a.stride() == b.stride()


def test_features_are_extracted_once_and_are_the_same_from_memory_and_disk(tmp_path: Path) -> None:
    images = pictures(10)
    expected = extraction(TwoLevels(), images).in_memory()
    first, _ = _open(cache_below(tmp_path, TwoLevels()), images)
    network = TwoLevels()
    second, said = _open(cache_below(tmp_path, network), images)
    _assert_same(first, expected)
    _assert_same(second, expected)
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
        _assert_same(kept, in_memory)


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
    _assert_same(cache.open(wanted), wanted.in_memory())
    assert len(_entries(cache)) == 2


def test_threads_are_another_entry(tmp_path: Path) -> None:
    network = TwoLevels()
    cache, before = cache_below(tmp_path, network), torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            _open(cache, pictures(3))
    finally:
        torch.set_num_threads(before)
    assert len(_entries(cache)) == 2


def test_where_images_come_from_and_how_they_lie_does_not_matter(tmp_path: Path) -> None:
    network, images = TwoLevels(), pictures(5)
    cache = cache_below(tmp_path, network)
    framed = F.pad(images, (2, 2, 2, 2))
    for same in (images, framed[..., 2:-2, 2:-2], images.contiguous(memory_format=torch.channels_last)):
        _open(cache, same)
    cache.open(replace(extraction(network, images), what="training images"))
    assert len(_entries(cache)) == 1
    assert images_sha256(images) != images_sha256(images.float())
    assert images_sha256(images) != images_sha256(images.flatten(2).unflatten(2, (8, 32)))


def test_writing_to_features_does_not_reach_the_disk(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels())
    expected = in_memory(3)
    for _ in range(2):
        features, said = _open(cache, pictures(3))
        _assert_same(features, expected)
        for level in features.levels:
            level.zero_()
    assert said == ""


def _flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "level-0.npy").write_bytes((folder / "level-0.npy").read_bytes()[:-1]),
        lambda folder: (folder / "level-1.npy").unlink(),
        lambda folder: (folder / "map.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("[]"),
    ],
)
def test_a_damaged_entry_is_told_and_extracted_again(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels())
    _open(cache, pictures(5))
    damage(_entries(cache)[0])
    features, said = _open(cache, pictures(5))
    assert "features of test images, tiny are damaged" in said
    assert "extracting them again" in said
    _assert_same(features, in_memory(5))
    assert _open(cache, pictures(5))[1] == ""


def test_every_flipped_bit_is_found_by_who_reads_all(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels())
    _open(cache, pictures(5))
    (entry,) = _entries(cache)
    for file in ("level-0.npy", "level-1.npy", "map.json"):
        for place in (0, len((entry / file).read_bytes()) - 1):
            (stored,) = cache.folder.entries()
            assert cache.folder.is_whole(stored)
            _flip(entry / file, place)
            assert not cache.folder.is_whole(stored), (file, place)
            _flip(entry / file, place)


def test_features_of_other_code_are_told_and_extracted_again(tmp_path: Path) -> None:
    """The same weights, images and options: only what comes out differs."""
    _open(cache_below(tmp_path, TwoLevels()), pictures(5))
    edited = cache_below(tmp_path, Edited())
    features, said = _open(edited, pictures(5))
    assert "features of test images, tiny are not what this code extracts" in said
    _assert_same(features, extraction(Edited(), pictures(5)).in_memory())
    assert _open(edited, pictures(5))[1] == ""
    assert len(_entries(edited)) == 1


class Interrupted(TwoLevels):
    """Stops as a user or a batch system does, at its third batch (the first is one image, to know the sizes)."""

    def forward(self, images: Tensor) -> FeatureMap:
        if self.seen > BATCH:
            raise KeyboardInterrupt
        return super().forward(images)


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        _open(cache, pictures(9))
    assert _entries(cache) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.bench.two_levels import BATCH, TwoLevels, cache_below, extraction, pictures

class Killed(TwoLevels):
    def forward(self, images):
        if self.seen > BATCH:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

network = Killed()
cache_below(Path(sys.argv[1]), network).open(extraction(network, pictures(9)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_what_is_killed_is_cleared_away_and_locks_nobody_out(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=root, timeout=120, check=False)
    assert ended.returncode == -9
    cache = cache_below(tmp_path, TwoLevels())
    (abandoned,) = _entries(cache)
    assert abandoned.name.endswith(".building")
    features, _ = _open(cache, pictures(9))
    _assert_same(features, in_memory(9))
    (entry,) = _entries(cache)
    assert not entry.name.startswith(".")


class Slow(TwoLevels):
    """Its first batch is not read before a second reader has asked."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.go_on = threading.Event(), threading.Event()

    def forward(self, images: Tensor) -> FeatureMap:
        self.started.set()
        assert self.go_on.wait(30)
        return super().forward(images)


class _Heard(Progress):
    """Lets the slow reader go on as soon as it is told that another waits."""

    def __init__(self, go_on: threading.Event) -> None:
        super().__init__(quiet=True)
        self.go_on, self.said = go_on, ""

    def say(self, message: str) -> None:
        self.said += message
        self.go_on.set()


def test_two_that_ask_at_once_extract_once(tmp_path: Path) -> None:
    slow, waiting = Slow(), TwoLevels()
    heard = _Heard(slow.go_on)
    results: list[FeatureMap] = []
    thread = threading.Thread(
        target=lambda: results.append(_open(cache_below(tmp_path, slow), pictures(5))[0])
    )
    thread.start()
    assert slow.started.wait(30)
    results.append(cache_below(tmp_path, waiting).open(extraction(waiting, pictures(5), heard)))
    thread.join()
    assert "waiting for another process that extracts test images, tiny" in heard.said
    assert waiting.seen == 2  # the probe
    for features in results:
        _assert_same(features, in_memory(5))


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    network = TwoLevels()
    cache = cache_below(tmp_path, network, limit=int(2.5 * 100 * BYTES))
    mapped = _open(cache, pictures(100, seed=0))[0]
    _open(cache, pictures(100, seed=1))
    assert len(_entries(cache)) == 2
    _open(cache, pictures(100, seed=0))  # used again: now the other is the oldest
    _open(cache, pictures(100, seed=2))
    assert len(_entries(cache)) == 2
    for seed, again in ((0, False), (2, False), (1, True)):
        network.seen = 0
        _open(cache, pictures(100, seed=seed))
        assert (network.seen > 2) == again, seed
    # Evicted meanwhile, and still whole in memory.
    _assert_same(mapped, extraction(network, pictures(100, seed=0)).in_memory())
    assert sum(stored.size for stored in cache.folder.entries()) <= cache.folder.limit


def test_what_is_above_the_limit_is_in_memory(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels(), limit=3 * BYTES)
    features, said = _open(cache, pictures(4))
    _assert_same(features, in_memory(4))
    assert "not kept: they take 5.3 KB, and BENCH_FEATURE_CACHE_LIMIT is 4.0 KB" in said
    assert _entries(cache) == []


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("bench.cache_folder.shutil.disk_usage", lambda folder: Full)
    cache = cache_below(tmp_path, TwoLevels())
    features, said = _open(cache, pictures(4))
    _assert_same(features, in_memory(4))
    assert "has 1.0 KB left" in said
    assert _entries(cache) == []


def test_a_disk_that_fills_up_meanwhile_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.feature_cache._write_header", full)
    cache = cache_below(tmp_path, TwoLevels())
    features, said = _open(cache, pictures(4))
    _assert_same(features, in_memory(4))
    assert "features of test images are not kept: cannot write features below" in said
    assert "No space left" in said
    assert _entries(cache) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("in the way")
    features, said = _open(cache_below(tmp_path, TwoLevels()), pictures(2))
    _assert_same(features, in_memory(2))
    assert "features of test images, tiny are not kept: cannot write" in said


def test_a_limit_of_zero_keeps_nothing_and_nonsense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    network = TwoLevels()
    for text, limit in (("", 20 * 10**9), ("500MB", 5 * 10**8)):
        monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", text)
        found = FeatureCache.from_environment(network, {})
        assert found is not None
        assert found.folder == CacheFolder(FEATURES, tmp_path / "features", limit)
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "0")
    assert FeatureCache.from_environment(network, {}) is None
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "plenty")
    with pytest.raises(BenchError, match="BENCH_FEATURE_CACHE_LIMIT is 'plenty', which is not a number of"):
        FeatureCache.from_environment(network, {})


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
        _assert_same(_open(cache, images)[0], extraction(network, images).in_memory())
    sizes = sum((_entries(cache)[0] / f"level-{i}.npy").stat().st_size for i in range(2))
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


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureCache:
    """A cache with two entries, where the commands look for it."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "1GB")
    cache = cache_below(tmp_path, TwoLevels())
    _open(cache, pictures(4))
    _open(cache, pictures(8))
    return cache


def test_the_commands_show_verify_and_clear(kept: FeatureCache) -> None:
    invoke = CliRunner().invoke
    shown = invoke(app, ["cache", "info"])
    assert shown.exit_code == 0
    assert "features: 2 entries" in shown.output
    assert "decoded images: 0 entries" in shown.output
    content = json.loads(invoke(app, ["cache", "info", "features", "--json"]).output)["features"]
    assert [entry["what"] for entry in content["entries"]] == ["test images, tiny"] * 2
    assert content["bytes"] == sum(entry["bytes"] for entry in content["entries"])
    assert content["limit"] == 10**9

    assert invoke(app, ["cache", "verify"]).exit_code == 0
    damaged, whole = _entries(kept)
    _flip(damaged / "level-0.npy", -1)
    verified = invoke(app, ["cache", "verify", "--json"])
    assert verified.exit_code == 1
    assert [entry["folder"] for entry in json.loads(verified.output)["features"]["damaged"]] == [str(damaged)]
    assert _entries(kept) == [whole]

    cleared = json.loads(invoke(app, ["cache", "clear", "--json"]).output)
    assert cleared["features"]["removed"] == 1
    assert cleared["images"]["removed"] == 0
    assert _entries(kept) == []


def test_a_cache_of_something_else_is_refused(kept: FeatureCache) -> None:
    result = CliRunner().invoke(app, ["cache", "clear", "feature"])
    assert isinstance(result.exception, BenchError)
    assert "Did you mean 'features'" in str(result.exception)
    assert len(_entries(kept)) == 2
