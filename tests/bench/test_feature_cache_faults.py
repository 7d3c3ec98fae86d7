"""Frozen features on disk when entries are damaged, writers killed, disks full, or two ask at once."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from bench.cache_folder import FEATURES, CacheFolder
from bench.errors import BenchError
from bench.feature_cache import FeatureCache
from bench.features import FeatureMap
from tests.bench.heard import Heard
from tests.bench.two_levels import (
    BATCH,
    BYTES,
    TwoLevels,
    assert_same,
    cache_below,
    entries,
    extraction,
    flip,
    in_memory,
    open_features,
    pictures,
)


class Edited(TwoLevels):
    """The same weights under other code."""

    def forward(self, images: Tensor) -> FeatureMap:
        return super().forward(images).scaled(1.01)


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
    open_features(cache, pictures(5))
    damage(entries(cache)[0])
    features, said = open_features(cache, pictures(5))
    assert "features of test images, tiny are damaged" in said
    assert "extracting them again" in said
    assert_same(features, in_memory(5))
    assert open_features(cache, pictures(5))[1] == ""


def test_every_flipped_bit_is_found_by_who_reads_all(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels())
    open_features(cache, pictures(5))
    (entry,) = entries(cache)
    for file in ("level-0.npy", "level-1.npy", "map.json"):
        for place in (0, len((entry / file).read_bytes()) - 1):
            (stored,) = cache.folder.entries()
            assert cache.folder.is_whole(stored)
            flip(entry / file, place)
            assert not cache.folder.is_whole(stored), (file, place)
            flip(entry / file, place)


def test_features_of_other_code_are_told_and_extracted_again(tmp_path: Path) -> None:
    """The same weights, images and options: only what comes out differs."""
    open_features(cache_below(tmp_path, TwoLevels()), pictures(5))
    edited = cache_below(tmp_path, Edited())
    features, said = open_features(edited, pictures(5))
    assert "features of test images, tiny are not what this code extracts" in said
    assert_same(features, extraction(Edited(), pictures(5)).in_memory())
    assert open_features(edited, pictures(5))[1] == ""
    assert len(entries(edited)) == 1


class Interrupted(TwoLevels):
    """Stops as a user or a batch system does, at its third batch (the first is one image, to know the sizes)."""

    def forward(self, images: Tensor) -> FeatureMap:
        if self.seen > BATCH:
            raise KeyboardInterrupt
        return super().forward(images)


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        open_features(cache, pictures(9))
    assert entries(cache) == []


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
    (abandoned,) = entries(cache)
    assert abandoned.name.endswith(".building")
    features, _ = open_features(cache, pictures(9))
    assert_same(features, in_memory(9))
    (entry,) = entries(cache)
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


def test_two_that_ask_at_once_extract_once(tmp_path: Path) -> None:
    slow, waiting = Slow(), TwoLevels()
    heard = Heard(slow.go_on)
    results: list[FeatureMap] = []
    thread = threading.Thread(
        target=lambda: results.append(open_features(cache_below(tmp_path, slow), pictures(5))[0])
    )
    thread.start()
    assert slow.started.wait(30)
    results.append(cache_below(tmp_path, waiting).open(extraction(waiting, pictures(5), heard)))
    thread.join()
    assert "waiting for another process that extracts test images, tiny" in heard.said
    assert waiting.seen == 2  # the probe
    for features in results:
        assert_same(features, in_memory(5))


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    network = TwoLevels()
    cache = cache_below(tmp_path, network, limit=int(2.5 * 100 * BYTES))
    mapped = open_features(cache, pictures(100, seed=0))[0]
    open_features(cache, pictures(100, seed=1))
    assert len(entries(cache)) == 2
    open_features(cache, pictures(100, seed=0))  # used again: now the other is the oldest
    open_features(cache, pictures(100, seed=2))
    assert len(entries(cache)) == 2
    for seed, again in ((0, False), (2, False), (1, True)):
        network.seen = 0
        open_features(cache, pictures(100, seed=seed))
        assert (network.seen > 2) == again, seed
    # Evicted meanwhile, and still whole in memory.
    assert_same(mapped, extraction(network, pictures(100, seed=0)).in_memory())
    assert sum(stored.size for stored in cache.folder.entries()) <= cache.folder.limit


def test_what_is_above_the_limit_is_in_memory(tmp_path: Path) -> None:
    cache = cache_below(tmp_path, TwoLevels(), limit=3 * BYTES)
    features, said = open_features(cache, pictures(4))
    assert_same(features, in_memory(4))
    assert "not kept: they take 5.3 KB, and BENCH_FEATURE_CACHE_LIMIT is 4.0 KB" in said
    assert entries(cache) == []


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("bench.cache_folder.shutil.disk_usage", lambda folder: Full)
    cache = cache_below(tmp_path, TwoLevels())
    features, said = open_features(cache, pictures(4))
    assert_same(features, in_memory(4))
    assert "has 1.0 KB left" in said
    assert entries(cache) == []


def test_a_disk_that_fills_up_meanwhile_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.feature_cache._write_header", full)
    cache = cache_below(tmp_path, TwoLevels())
    features, said = open_features(cache, pictures(4))
    assert_same(features, in_memory(4))
    assert "features of test images are not kept: cannot write features below" in said
    assert "No space left" in said
    assert entries(cache) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("in the way")
    features, said = open_features(cache_below(tmp_path, TwoLevels()), pictures(2))
    assert_same(features, in_memory(2))
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
