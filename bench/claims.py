"""Which cells other processes are at, on the same folder of records: no cell is measured by two of them."""

from __future__ import annotations

import contextlib

from filelock import FileLock, Timeout

from bench.engines import Cell, Claims
from bench.record_index import SWEEP_FOLDER
from bench.store import RunStore


class LockedClaims(Claims):
    """A lock file for each cell, held from its start until its record is there; the end of a process frees its own.

    The lock of ``bench run`` is another one, which the process of a cell holds itself, wherever it is.
    """

    def __init__(self) -> None:
        self._held: dict[int, FileLock] = {}

    def take(self, cell: Cell) -> bool:
        if cell.record is None:
            return True
        store = RunStore(cell.request.runs)
        file = store.folder / SWEEP_FOLDER / "claims" / f"{cell.record}.lock"
        # Where there is no room for a lock, or no locks at all, the cell's own process will tell.
        with contextlib.suppress(OSError, NotImplementedError):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
                self._held[cell.number] = lock
                measured = store.lock_file(cell.record)
                if measured.exists():
                    with FileLock(measured, timeout=0):
                        pass
            except Timeout:
                self.release(cell)
                return False
        return True

    def release(self, cell: Cell) -> None:
        lock = self._held.pop(cell.number, None)
        if lock is not None:
            lock.release()

    def release_all(self) -> None:
        for lock in self._held.values():
            lock.release()
        self._held.clear()
