"""Writing files so that a reader never sees half of one, whatever is killed and when; and locks that are waited for."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from bench.errors import BenchError


class UnwritableError(BenchError):
    """A folder that cannot be written, or a disk that is full: no fault of what was computed."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary name in the same folder, flush to disk, rename.

    Raises:
        UnwritableError: where the folder cannot be written or the disk is full; nothing is left behind then.
    """
    data = content.encode() if isinstance(content, str) else content
    # not by tempfile, whose files only their owner may read, whatever the umask
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UnwritableError:
    return UnwritableError(
        f"cannot write {path}: {error.strerror or error}", hint="Check permissions and free space."
    )


def require_writable(folder: Path) -> None:
    """Find out before a long computation that its result could not be written.

    Raises:
        UnwritableError: where ``folder`` cannot be made or written.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise _unwritable(probe, error) from error
    probe.unlink(missing_ok=True)


def cache_folder(*parts: str) -> Path:
    """Where re-computable things are kept: ``$BENCH_CACHE``, or the platform's cache folder."""
    root = os.environ.get("BENCH_CACHE")
    base = Path(root).expanduser() if root else Path(user_cache_dir("bench", appauthor=False))
    return base.joinpath(*parts)


@contextmanager
def only_process(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the lock of a file, and calls ``waiting`` where another process has it first."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
