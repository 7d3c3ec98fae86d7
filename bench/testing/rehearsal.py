"""A training of a few steps on noise, run in a temporary folder, left alone or ended in the middle."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.method import Annotations, Method, MethodOptions, PretrainJob, Recipe
from bench.progress import Progress, Task
from bench.seeds import torch_generator
from bench.weights import Weights, read_weights

IMAGES = 24
SEED = 3
PROVENANCE: dict[str, Any] = {"dataset": "noise", "preset": "conformance", "images": IMAGES}

_LANDMARKS = 5


@dataclass(frozen=True, eq=False)
class Rehearsed:
    """What a finished training left in its folder, read.

    Attributes:
        path: What ``pretrain`` returned, relative to the folder.
        log: Rows of log.csv; empty where there is none.
        steps: Progress task -> steps that it reported.
    """

    path: Path
    weights: Weights
    log: tuple[dict[str, str], ...]
    steps: dict[str, int]


class StoppedError(BaseException):
    """Stands for a process that is killed: not an Exception, so that no handler of a method survives it."""


class Stopwatch(Progress):
    """Counts the steps of every task, and ends the training inside one of them.

    Args:
        stop: Task, and the number of its steps after which the training is ended; None: it is left alone.
    """

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        super().__init__(quiet=True)
        self.steps: dict[str, int] = {}
        self.stop = stop

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        del total, done
        yield _Counting(self, description)


class _Counting(Task):
    def __init__(self, watch: Stopwatch, description: str) -> None:
        self._watch, self._description = watch, description

    def advance(self, steps: int = 1, status: str = "") -> None:
        del status
        watch, task = self._watch, self._description
        before = watch.steps.get(task, 0)
        watch.steps[task] = before + steps
        if watch.stop is not None and watch.stop[0] == task and before < watch.stop[1] <= watch.steps[task]:
            raise StoppedError


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """The training of one method, options and recipe; every run is the same job unless it is changed."""

    method: type[Method]
    options: MethodOptions
    recipe: Recipe

    def job(self, folder: Path, **changes: Any) -> PretrainJob:
        generator = torch_generator(SEED, "conformance training")
        side = self.recipe.image_size
        images = torch.randint(0, 256, (IMAGES, 3, side, side), dtype=torch.uint8, generator=generator)
        annotations = None
        if self.method.learns_from_annotations:
            points = side * torch.rand(IMAGES, _LANDMARKS, 2, generator=generator)
            annotations = Annotations(points, torch.ones(IMAGES, _LANDMARKS, dtype=torch.bool))
        job = PretrainJob(
            images=images,
            options=self.options,
            recipe=self.recipe,
            output=folder,
            seed=SEED,
            device=torch.device("cpu"),
            progress=Progress.silent(),
            provenance=dict(PROVENANCE),
            annotations=annotations,
        )
        return replace(job, **changes)

    def run(self, folder: Path, *, global_seed: int = 0, **changes: Any) -> Rehearsed:
        """Train, or continue what lies in ``folder``, to the end.

        Args:
            global_seed: Of torch's global generator, which must not matter.
        """
        watch = Stopwatch()
        path = self._pretrain(self.job(folder, progress=watch, **changes), global_seed)
        weights = read_weights(path)
        log = folder / "log.csv"
        rows: tuple[dict[str, str], ...] = ()
        if log.is_file():
            with log.open(newline="") as stream:
                rows = tuple(csv.DictReader(stream))
        return Rehearsed(path.relative_to(folder), weights, rows, watch.steps)

    def run_until(self, folder: Path, stop: tuple[str, int], **changes: Any) -> dict[str, int] | None:
        """Train until the stop; the steps that were done, or None where the training ended without reaching it."""
        watch = Stopwatch(stop)
        try:
            self._pretrain(self.job(folder, progress=watch, **changes), global_seed=stop[1])
        except StoppedError:
            return watch.steps
        return None

    def _pretrain(self, job: PretrainJob, global_seed: int) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            return self.method().pretrain(job)
