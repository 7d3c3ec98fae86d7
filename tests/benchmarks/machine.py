"""What this machine can do at best: the limits that measured times are held against."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

_SIDE, _ROUNDS = 2048, 7
_COPIED = 2**26


def matrix_rate(dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations per second of a product of two large matrices, with the threads torch has now."""
    one, two = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    out = torch.empty_like(one)
    return 2 * _SIDE**3 / _median_seconds(lambda: torch.mm(one, two, out=out))


def copy_rate() -> float:
    """Bytes per second read and written by a copy too large for the caches."""
    source = torch.ones(_COPIED)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _median_seconds(lambda: target.copy_(source))


def _median_seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_ROUNDS):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return median(times)
