from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.files import cache_folder, require_writable, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["grün\n", b"\x00\xff"])
def test_writes_and_replaces(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, "old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == ["file"]


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr(failing, full)
    with pytest.raises(BenchError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_reader_sees_the_old_content_until_the_new_one_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    seen: list[str] = []
    fsync = os.fsync

    def spy(handle: int) -> None:
        fsync(handle)
        seen.append(path.read_text())

    monkeypatch.setattr(os, "fsync", spy)
    write_atomically(path, "new")
    assert seen == ["old"]
    assert path.read_text() == "new"


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot write"):
        write_atomically(tmp_path / "file" / "inside", "x")
    with pytest.raises(BenchError, match="cannot write"):
        require_writable(tmp_path / "file")


def test_the_probe_is_removed(tmp_path: Path) -> None:
    require_writable(tmp_path / "runs")
    assert names(tmp_path / "runs") == []


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert cache_folder("features", "x") == tmp_path / "features" / "x"
    monkeypatch.delenv("BENCH_CACHE")
    assert cache_folder("features").is_absolute()
