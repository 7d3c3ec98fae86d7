"""Is a downloaded file what its name says? Told by its first bytes."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError

_HEAD = 512

# Suffix -> first bytes that such a file may have (position, bytes), and what it is called.
_MAGIC: dict[str, tuple[str, tuple[tuple[int, bytes], ...]]] = {
    ".zip": ("a zip archive", ((0, b"PK\x03\x04"), (0, b"PK\x05\x06"))),
    ".gz": ("a gzip archive", ((0, b"\x1f\x8b"),)),
    ".tgz": ("a gzip archive", ((0, b"\x1f\x8b"),)),
    ".7z": ("a 7z archive", ((0, b"7z\xbc\xaf\x27\x1c"),)),
    ".tar": ("a tar archive", ((257, b"ustar"),)),
    ".mat": ("a MATLAB file", ((0, b"MATLAB 5.0"), (0, b"MATLAB 7.3"), (0, b"\x89HDF"))),
    ".jpg": ("a JPEG image", ((0, b"\xff\xd8\xff"),)),
    ".png": ("a PNG image", ((0, b"\x89PNG\r\n\x1a\n"),)),
}
_TEXT = (".txt", ".csv", ".pts", ".cat", ".json")


def misfit(path: Path) -> str | None:
    """What the file is instead of what its suffix says, in words; None where nothing speaks against it.

    A web page (a log-in or quota page saved under the archive's name), a Git-LFS pointer and an empty file are
    told for every suffix.

    Raises:
        BenchError: where the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        return "an empty file"
    if is_web_page(head):
        return "a web page (HTML): the site answered with a page instead of the file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git-LFS pointer: the file itself was not fetched"
    suffix = path.suffix.lower()
    if suffix in _TEXT and b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary, not text"
    if suffix in _MAGIC:
        name, beginnings = _MAGIC[suffix]
        if not any(head[at : at + len(magic)] == magic for at, magic in beginnings):
            return f"not {name}"
    return None


def is_web_page(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head")) or (
        start.startswith(b"<?xml") and b"<html" in start
    )
