"""Keep the C library from giving large buffers back to the kernel between two steps.

glibc returns every freed tensor above some megabytes to the kernel and faults its pages in again at the next step;
on virtual machines that costs more than the arithmetic of a small network. Measured effects are in the benchmarks.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def retain_heap() -> bool:
    """Ask glibc to keep freed memory. Returns whether it did (false on other platforms and C libraries)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
