"""Cells on this machine: worker processes, each with its GPU and its share of the processor's cores."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import torch

from bench.engines import Cell, CellQueue, Engine, Limits, Watcher
from bench.engines.process import WorkerProcess
from bench.errors import BenchError

_WAIT_S = 0.1


class LocalEngine(Engine):
    """Worker processes of this machine.

    Args:
        jobs: How many; None: one for each GPU, one where there is none.
        logs: Folder for what they print.

    Raises:
        BenchError: where the memory that is free holds not even one cell's limit.
    """

    def __init__(self, jobs: int | None, limits: Limits, logs: Path) -> None:
        self._gpus = visible_gpus(os.environ, torch.cuda.device_count() if torch.cuda.is_available() else 0)
        wanted = jobs or max(1, len(self._gpus))
        self._jobs = wanted if limits.memory is None else min(wanted, _that_fit(limits.memory))
        self._limits, self._logs = limits, logs

    @property
    def places(self) -> int:
        return self._jobs

    def run(self, cells: CellQueue, watcher: Watcher) -> None:
        places = [_Place(self, number) for number in range(min(self._jobs, len(cells)))]
        try:
            while cells or any(place.cell for place in places):
                for place in places:
                    cell = cells.take_unfinished(watcher) if place.cell is None else None
                    if cell is not None:
                        place.start(cell)
                        watcher.started(cell, place.name)
                busy = [place.worker for place in places if place.worker is not None and place.cell]
                select.select(busy, [], [], _WAIT_S)
                for place in places:
                    place.look(cells, watcher)
                watcher.tick()
        finally:
            for place in places:
                place.stop()

    def open_worker(self, number: int, device: str) -> WorkerProcess:
        """A process for the place of that number."""
        environment = worker_environment(os.environ, number, self._jobs, self._gpus, device)
        log = self._logs / f"{os.getpid()}-{number}.log"
        return WorkerProcess(self._limits, environment, log, command=sys.argv)


class _Place:
    """Where one cell at a time runs; its process is replaced when it is gone."""

    def __init__(self, engine: LocalEngine, number: int) -> None:
        self._engine, self._number = engine, number
        self.name = f"worker {number + 1}"
        self.worker: WorkerProcess | None = None
        self.cell: Cell | None = None

    def start(self, cell: Cell) -> None:
        if self.worker is None:
            self.worker = self._engine.open_worker(self._number, cell.request.device)
        self.cell = cell
        self.worker.start(cell.request)

    def look(self, cells: CellQueue, watcher: Watcher) -> None:
        if self.worker is None or self.cell is None:
            return
        outcome = self.worker.poll()
        if outcome is None:
            return
        cell, self.cell = self.cell, None
        if not self.worker.is_alive:
            self.stop()
        if cells.settle(cell, outcome):
            watcher.finished(cell, outcome)
        else:
            watcher.lost(cell, outcome)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """What CUDA calls the GPUs that this process may use."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if named is None else named.split(",")
    return names[:count]


def worker_environment(
    environment: Mapping[str, str], number: int, jobs: int, gpus: list[str], device: str
) -> dict[str, str]:
    """Variables of the process at one place: its GPU, unless cells name one themselves, and its share of cores."""
    found = dict(environment)
    if gpus and ":" not in device:
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    found.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return found


def _that_fit(memory: int) -> int:
    free = psutil.virtual_memory().available
    if free < memory:
        raise BenchError(
            f"a cell may take {memory / 1e9:g} GB of memory, and {free / 1e9:.1f} GB are free",
            hint="Lower --memory.",
        )
    return int(free // memory)
