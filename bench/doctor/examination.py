"""All examinations, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from bench.doctor.environment import environment
from bench.doctor.finding import Finding
from bench.doctor.holdings import caches, data, records, weights
from bench.doctor.methods import methods
from bench.progress import Progress


def examine(runs: Path, progress: Progress, *, quick: bool = False) -> Iterator[Finding]:
    """Look at everything, and give each finding as soon as it is made.

    Args:
        runs: Folder of records.
        quick: Leave out the conformance of the methods, which takes most of the time.
    """
    parts = [environment(), weights(), caches(), data(), records(runs)]
    if not quick:
        parts.append(methods(progress))
    return chain.from_iterable(parts)
