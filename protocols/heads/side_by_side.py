"""Independent trainings of small heads at the same time, each on its share of the cores.

A step of a head is many short operations, and after each of them all threads wait for the last. On two cores that
something else uses now and then, 18 trainings took 28 to 43 s one after another, 27 to 28 s side by side (six runs of
each, in turn).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch

from bench.context import RunContext
from bench.progress import Progress, Task

T = TypeVar("T")


def side_by_side(trainings: Sequence[Callable[[RunContext], T]], run: RunContext, what: str) -> list[T]:
    """What the trainings return, each of which is called with surroundings of its own.

    On a GPU, and where there is one core, they are done one after another. How many threads a training sums on shows
    in the last bits of its result, as everywhere; what else is trained does not.

    Args:
        run: Its progress shows one bar for all, its phase "head" takes the time until the last is done.
        what: Names them in the progress display.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(trainings)) if run.device.type == "cpu" else 1
    if workers <= 1:
        return [training(run) for training in trainings]
    percents = 100 * len(trainings)
    with run.phase("head"), run.progress.task(f"fitting {what}, percents of all", percents) as task:
        shared = _SharedProgress(console=run.progress.console, quiet=run.progress.quiet, whole=task)
        surroundings = [replace(run, progress=shared, seconds={}) for _ in trainings]
        # The number of threads is the calling thread's own, and that of threads which are started later.
        share = max(1, threads // workers)
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
                futures = [
                    pool.submit(train, around) for train, around in zip(trainings, surroundings, strict=True)
                ]
                try:
                    return [future.result() for future in futures]
                except BaseException:
                    shared.stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            torch.set_num_threads(threads)


class _StoppedError(Exception):
    """Another training has failed, or the user has interrupted all."""


@dataclass
class _SharedProgress(Progress):
    """Progress of one of several trainings, shown as percents of a task that they share."""

    whole: Task = field(default_factory=Task)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        del description
        yield _Part(self, total, done)


class _Part(Task):
    def __init__(self, progress: _SharedProgress, total: int, done: int) -> None:
        self._progress, self._total, self._done, self._told = progress, total, done, 0

    def advance(self, steps: int = 1, status: str = "") -> None:
        if self._progress.stopped.is_set():
            raise _StoppedError
        self._done += steps
        percents = 100 * self._done // self._total
        if percents > self._told:
            with self._progress.lock:
                self._progress.whole.advance(percents - self._told, status)
            self._told = percents
