"""Decoded splits on disk: decoded once, the same as from memory, whatever is damaged, killed, full or in use."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bench.errors import BenchError
from bench.image_cache import ImageCache
from bench.landmarks import Sample
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.runner import RunRequest, run
from tests.bench.heard import Heard
from tests.bench.pictures import Pictures
from tests.bench.world import UNTRAINED_TINY_NETWORK, write_faces

SMALL = Preprocessing(image_size=16, margin=2)
BYTES = 3 * 20 * 20  # of an image in that working frame


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "images", 10**9)


def _entries(cache: ImageCache) -> list[Path]:
    return sorted(folder for folder in cache.folder.iterdir() if folder.is_dir())


def _load(
    dataset: Pictures, cache: ImageCache | None, preprocessing: Preprocessing = SMALL
) -> tuple[LoadedSplit, str]:
    """The split, and what was said."""
    said = io.StringIO()
    progress = Progress(Console(file=said, width=1000))
    return load_split(dataset, preprocessing, progress=progress, cache=cache), said.getvalue()


def _assert_same(one: LoadedSplit, other: LoadedSplit) -> None:
    for field in ("images", "points", "visible"):
        assert torch.equal(getattr(one, field), getattr(other, field)), field
    assert (one.ids, one.identities, one.fingerprint) == (other.ids, other.identities, other.fingerprint)


def test_a_split_is_decoded_once_and_is_the_same_from_memory_and_disk(
    cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 3)
    expected, _ = _load(Pictures(7, unlabelled=2), None)
    first, _ = _load(Pictures(7, unlabelled=2), cache)
    untouched = Pictures(7, unlabelled=2)
    second, said = _load(untouched, cache)
    _assert_same(first, expected)
    _assert_same(second, expected)
    assert untouched.reads == []
    assert said == ""
    assert len(_entries(cache)) == 1


def test_margin_and_arithmetic_of_points_share_the_decoded_images(cache: ImageCache) -> None:
    for preprocessing in (
        SMALL,
        Preprocessing(image_size=20),
        Preprocessing(image_size=16, margin=2, points="official"),
    ):
        _assert_same(_load(Pictures(3), cache, preprocessing)[0], _load(Pictures(3), None, preprocessing)[0])
    assert len(_entries(cache)) == 1
    _load(Pictures(3), cache, Preprocessing(image_size=21))
    assert len(_entries(cache)) == 2


def test_other_content_is_another_entry(cache: ImageCache) -> None:
    one, other = Pictures(3, seed=1), Pictures(3, seed=2)
    assert not torch.equal(_load(one, cache)[0].images, _load(other, cache)[0].images)
    _assert_same(_load(Pictures(3, seed=2), cache)[0], _load(other, None)[0])


def test_a_data_set_that_moved_is_not_decoded_again(cache: ImageCache) -> None:
    _load(Pictures(3), cache)
    moved = Pictures(3)
    moved.name = "elsewhere"
    loaded, _ = _load(moved, cache)
    assert loaded.name == "elsewhere/train"
    assert moved.reads == []


def _flip(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return damage


def _cut(folder: Path) -> None:
    (folder / "images.raw").write_bytes((folder / "images.raw").read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _flip("images.raw"),
        _flip("annotation.npz"),
        _flip("identities.json"),
        lambda folder: (folder / "identities.json").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("<html>"),
    ],
)
def test_a_damaged_entry_is_told_and_decoded_again(damage: Callable[[Path], None], cache: ImageCache) -> None:
    expected, _ = _load(Pictures(3), cache)
    expected = expected.take([0, 1, 2])  # a copy: the entry is about to change
    damage(_entries(cache)[0])
    again = Pictures(3)
    loaded, said = _load(again, cache)
    assert "decoded images of pictures train are damaged" in said
    assert "decoding them again" in said
    assert set(again.reads) == {0, 1, 2}
    _assert_same(loaded, expected)
    assert _load(Pictures(3), cache)[1] == ""


def test_writing_to_loaded_images_does_not_reach_the_disk(cache: ImageCache) -> None:
    expected, _ = _load(Pictures(3), None)
    _load(Pictures(3), cache)
    _load(Pictures(3), cache)[0].images.zero_()
    again, said = _load(Pictures(3), cache)
    _assert_same(again, expected)
    assert said == ""


class Interrupted(Pictures):
    """Stops as a user or a batch system does, at its fourth image."""

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_what_is_interrupted_leaves_nothing(cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        _load(Interrupted(5), cache)
    assert _entries(cache) == []
    _assert_same(_load(Pictures(5), cache)[0], _load(Pictures(5), None)[0])


def test_what_was_killed_is_cleared_away(cache: ImageCache) -> None:
    """A killed process leaves its unfinished folder; it goes when the next split is decoded, whichever that is."""
    _load(Pictures(3), cache)
    entry = _entries(cache)[0]
    for number, key in enumerate((entry.name, "0" * 32)):
        abandoned = cache.folder / f".{key}.{number:08x}.building"
        abandoned.mkdir()
        (abandoned / "images.raw").write_bytes(b"half")
    (entry / "manifest.json").unlink()
    _load(Pictures(3), cache)
    assert _entries(cache) == [entry]


def test_a_broken_image_is_named_and_nothing_is_kept(cache: ImageCache) -> None:
    with pytest.raises(BenchError, match=r"image 003\.jpg is damaged"):
        _load(Pictures(5, broken=3), cache)
    assert _entries(cache) == []


class Slow(Pictures):
    """Its first image is not read before a second reader has asked."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.started, self.go_on = threading.Event(), threading.Event()

    def __getitem__(self, index: int) -> Sample:
        self.started.set()
        assert self.go_on.wait(30)
        return super().__getitem__(index)


def test_two_that_ask_at_once_decode_once(cache: ImageCache) -> None:
    slow, waiting = Slow(3), Pictures(3)
    heard = Heard(slow.go_on)
    results: list[LoadedSplit] = []
    thread = threading.Thread(target=lambda: results.append(_load(slow, cache)[0]))
    thread.start()
    assert slow.started.wait(30)
    results.append(load_split(waiting, SMALL, progress=heard, cache=cache))
    thread.join()
    assert "waiting for another process that decodes pictures train" in heard.said
    assert waiting.reads == []
    for loaded in results:
        _assert_same(loaded, _load(Pictures(3), None)[0])


class _Grey(Pictures):
    """Cheap images, so that there can be many."""

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        image = torch.full((3, 20, 20), (index + self.seed) % 256, dtype=torch.uint8)
        return Sample(f"{index:03d}.jpg", image, torch.zeros(3, 2), torch.ones(3, dtype=torch.bool))


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, int(2.5 * 1000 * BYTES))
    splits = [_Grey(1000, seed=seed) for seed in range(3)]
    mapped = _load(splits[0], cache)[0]
    _load(splits[1], cache)
    assert len(_entries(cache)) == 2
    _load(splits[0], cache)  # used again: now the other is the oldest
    _load(splits[2], cache)
    assert len(_entries(cache)) == 2
    for number, decoded_again in ((0, False), (2, False), (1, True)):
        split = _Grey(1000, seed=number)
        _load(split, cache)
        assert bool(split.reads) == decoded_again, number
    # Evicted meanwhile, and still whole in memory.
    assert torch.equal(mapped.images, _load(splits[0], None)[0].images)
    assert sum(f.stat().st_size for entry in _entries(cache) for f in entry.iterdir()) <= cache.limit


def test_what_is_above_the_limit_is_decoded_into_memory(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, 3 * BYTES)
    loaded, said = _load(Pictures(4), cache)
    _assert_same(loaded, _load(Pictures(4), None)[0])
    assert "not kept: they take 4.8 KB, and BENCH_CACHE_LIMIT is 3.6 KB" in said
    assert _entries(cache) == []


def test_a_full_disk_is_told_before_anything_is_written(
    cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("bench.cache_folder.shutil.disk_usage", lambda folder: Full)
    loaded, said = _load(Pictures(4), cache)
    _assert_same(loaded, _load(Pictures(4), None)[0])
    assert "has 1.0 KB left" in said
    assert _entries(cache) == []


def test_a_disk_that_fills_up_meanwhile(cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **arrays: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.image_cache.np.savez_compressed", full)
    with pytest.raises(BenchError, match=r"cannot write decoded images below .*: No space left") as caught:
        _load(Pictures(4), cache)
    assert "BENCH_CACHE_LIMIT=0" in str(caught.value)
    assert _entries(cache) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    loaded, said = _load(Pictures(2), ImageCache(tmp_path / "file" / "images", 10**9))
    _assert_same(loaded, _load(Pictures(2), None)[0])
    assert "decoded images of pictures train are not kept: cannot write" in said


@pytest.mark.parametrize(("text", "limit"), [("", 40 * 10**9), ("500MB", 5 * 10**8), ("2 GiB", 2**31)])
def test_the_limit_is_read_from_the_environment(
    text: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE_LIMIT", text)
    assert ImageCache.from_environment() == ImageCache(tmp_path / "images", limit)


def test_a_limit_of_zero_keeps_nothing_and_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_LIMIT", "0")
    assert ImageCache.from_environment() is None
    monkeypatch.setenv("BENCH_CACHE_LIMIT", "plenty")
    with pytest.raises(BenchError, match="BENCH_CACHE_LIMIT is 'plenty', which is not a number of bytes"):
        ImageCache.from_environment()


def test_a_run_measures_the_same_from_kept_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of warped views are cut from the mapped frames: every number stays, to the last bit."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    dataset = DatasetRequest(f"coco:{write_faces(tmp_path / 'faces', train=2, val=4)}")
    records = []
    for runs, limit in (("memory", "0"), ("first", "1GB"), ("kept", "1GB")):
        monkeypatch.setenv("BENCH_CACHE_LIMIT", limit)
        request = RunRequest(
            method="random", protocol="matching", dataset=dataset, preprocessing=Preprocessing(image_size=32, margin=4),
            method_options=UNTRAINED_TINY_NETWORK, protocol_options=("pairs=2",), runs=tmp_path / runs,
        )  # fmt: skip
        records.append(run(request, Progress.silent()).record)
    assert (
        len(_entries(ImageCache(tmp_path / "cache" / "images", 0))) == 1
    )  # matching reads the test split alone
    assert records[0].metrics == records[1].metrics == records[2].metrics
    assert len({record.id for record in records}) == 1
