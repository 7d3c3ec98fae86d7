"""What becomes of memory that was freed: large buffers in the C library, cycles of objects in Python.

glibc returns every freed tensor above some megabytes to the kernel and faults its pages in again at the next step;
on virtual machines that costs more than the arithmetic of a small network. Measured effects are in the benchmarks.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_SMALLEST_RETURNED = 64 * 1024
_NEVER = -1  # any number would have to fit an int, and steps free more than 2 GB


def retain_heap() -> bool:
    """Ask glibc to keep freed memory. Returns whether it did (false on other platforms and C libraries)."""
    return _set((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER))


def return_heap() -> bool:
    """Ask glibc to give every freed buffer back at once, so that the resident memory is what is in use.

    Slow; for measuring, in a process of its own. Returns whether it did.
    """
    return _set((_M_MMAP_THRESHOLD, _SMALLEST_RETURNED), (_M_TRIM_THRESHOLD, 0))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Thousands of records and rows make no cycles; looking for some takes longer than reading them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _set(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(bool(mallopt(parameter, value)) for parameter, value in settings)
