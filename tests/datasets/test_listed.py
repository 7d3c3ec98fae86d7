"""What all data sets given by lists have in common: identity, fingerprints, digests remembered between runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, LandmarkSchema
from datasets.digests import file_digests
from datasets.listed import Entry, ListedDataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(folder: Path, number: int, **changes: Any) -> Entry:
    file = folder / f"{number}.png"
    if not file.exists():
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    content: dict[str, Any] = {
        "id": f"{number}.png",
        "file": file,
        "points": np.array([[3.5, 4.25], [np.nan, 7.0]]),
        "visible": np.array([True, False]),
    }
    return Entry(**content | changes)


def listed(*entries: Entry, **changes: Any) -> ListedDataset:
    content: dict[str, Any] = {
        "name": "toys",
        "split": "train",
        "info": DatasetInfo("toys", "published", "none", "nobody"),
        "schema": LandmarkSchema(("nose", "tail")),
        "entries": entries,
    }
    return ListedDataset(**content | changes)


def test_a_sample_is_what_its_entry_says(tmp_path: Path) -> None:
    Image.fromarray(np.eye(20, 30, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    given = entry(tmp_path, 0, identity="bear", box=(1, 2, 8.5, 9), mask=tmp_path / "mask.png")
    sample = listed(given)[0]
    assert (sample.id, sample.identity) == ("0.png", "bear")
    assert sample.points.dtype == torch.float32
    assert sample.points.tolist() == [
        [3.5, 4.25],
        [0.0, 0.0],
    ]  # nothing is told of a point that is not visible
    assert sample.visible.tolist() == [True, False]
    assert sample.box is not None
    assert sample.box.tolist() == [1, 2, 8.5, 9]
    assert sample.mask is not None
    assert torch.equal(sample.mask, torch.eye(20, 30, dtype=torch.bool))
    sample.points[0] = 99
    sample.visible[0] = False
    assert listed(given)[0].points[0].tolist() == [3.5, 4.25]


def test_nothing_counts_twice_and_nothing_is_missing_silently(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"'train' lists '0\.png' twice"):
        listed(entry(tmp_path, 0), entry(tmp_path, 1), entry(tmp_path, 0))
    with pytest.raises(BenchError, match=r"0\.png has points \(3, 2\)"):
        listed(entry(tmp_path, 0, points=np.zeros((3, 2))))
    dataset = listed(entry(tmp_path, 0, file=tmp_path / "gone.png"))
    with pytest.raises(BenchError, match=r"gone\.png is missing"):
        dataset[0]
    with pytest.raises(BenchError, match=r"gone\.png is missing"):
        _ = dataset.fingerprint


def test_fingerprint_follows_everything_that_can_change_a_result(tmp_path: Path) -> None:
    one, two = entry(tmp_path, 0), entry(tmp_path, 1)
    original = listed(one, two).fingerprint
    assert listed(one, two, name="other", split="test").fingerprint == original
    unseen = entry(tmp_path, 0, points=np.array([[3.5, 4.25], [8.0, 8.0]]))
    assert listed(unseen, two).fingerprint == original
    prints = [
        listed(two, one).fingerprint,
        listed(one).fingerprint,
        listed(entry(tmp_path, 0, points=np.array([[3.5, 4.5], [0.0, 0.0]])), two).fingerprint,
        listed(entry(tmp_path, 0, visible=np.array([False, False])), two).fingerprint,
        listed(entry(tmp_path, 0, identity="bear"), two).fingerprint,
        listed(entry(tmp_path, 0, box=(0, 0, 1, 1)), two).fingerprint,
        listed(entry(tmp_path, 0, mask=two.file), two).fingerprint,
        listed(one, two, recipe={"crop": 3}).fingerprint,
        listed(one, two, schema=LandmarkSchema(("nose", "tail"), normaliser=((0,), (1,)))).fingerprint,
    ]
    two.file.write_bytes(two.file.read_bytes() + b"\0")
    prints.append(listed(one, two).fingerprint)
    assert len({original, *prints}) == len(prints) + 1


def test_digests_are_remembered_until_a_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    old = time.time() - 60
    for file in files:
        file.write_bytes(file.name.encode())
        os.utime(file, (old, old))
    first = file_digests(files)
    assert first[0] == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # of "a"
    opened: list[str] = []
    real = Path.open

    def spy(self: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(self.name)
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", spy)
        assert file_digests(files) == first
    assert not {"a", "b"} & set(opened)
    files[1].write_bytes(b"c")
    os.utime(files[1], (old, old + 1))
    assert file_digests(files)[0] == first[0]
    changed = file_digests(files)[1]
    assert changed != first[1]
    # Written a moment ago: may change again within the resolution of the clock, so it is not remembered.
    files[0].write_bytes(b"x")
    fresh = file_digests(files)
    stat = files[0].stat()
    files[0].write_bytes(b"y")
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_digests(files)[0] != fresh[0]
    # A damaged memory is no memory.
    for store in (cache / "digests").iterdir():
        store.write_text("[1, 2")
    assert file_digests(files)[1] == changed
