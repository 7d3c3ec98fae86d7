"""Cells on a Ray cluster: each is a task, for which Ray finds a machine with the processors and memory it needs.

A task runs its cell in a worker process of its machine, which the next task there uses again, and brings back the
content of the record's files: machines need not share the folder of records. Where they share ``BENCH_CACHE``,
features are extracted once for all of them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.engines import Cell, CellQueue, Engine, Limits, Outcome, Watcher
from bench.engines.process import WorkerProcess
from bench.errors import BenchError
from bench.files import cache_folder
from bench.record import text_hash
from bench.run_request import RunRequest
from bench.store import RunStore

_WAIT_S = 0.5
_AHEAD = 2
"""Tasks for each place: the next one lies ready when one ends."""

_RAY_RETRIES = 3
_SHARED_VARIABLES = ("BENCH_CACHE", "BENCH_CACHE_LIMIT", "BENCH_FEATURE_CACHE_LIMIT", "OMP_NUM_THREADS")


class RayEngine(Engine):
    """Tasks on a cluster.

    Args:
        address: ``auto`` (the cluster that this machine is in), ``local`` (a new one on this machine),
            ``ray://HOST:PORT`` or ``HOST:PORT``.
        cpus: Of a cell.
        gpus: Of a cell; may be a part of one.

    Raises:
        BenchError: where Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, limits: Limits, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._ray = _imported()
        self._limits, self._cpus, self._gpus = limits, cpus, gpus
        if not self._ray.is_initialized():
            try:
                self._ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise BenchError(
                    f"no Ray cluster answers at {address!r}: {error}",
                    hint="Start one with `ray start --head`, or give --address local. See docs/cluster.md.",
                ) from error

    @property
    def places(self) -> int:
        there = self._ray.cluster_resources()
        fitting = [there.get("CPU", 0.0) / self._cpus] if self._cpus else []
        if self._gpus:
            fitting.append(there.get("GPU", 0.0) / self._gpus)
        if self._limits.memory:
            fitting.append(there.get("memory", 0.0) / self._limits.memory)
        return int(min(fitting, default=1.0))

    def run(self, cells: CellQueue, watcher: Watcher) -> None:
        if self.places == 0:
            raise BenchError(
                f"no machine of the cluster has what one cell asks for: {self._cpus:g} CPUs, {self._gpus:g} GPUs, "
                f"memory {self._limits.memory or 'as it comes'}",
                hint="`ray status` shows what there is.",
            )
        task = self._ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, memory=self._limits.memory, max_retries=_RAY_RETRIES
        )(run_cell)
        running: dict[Any, Cell] = {}
        try:
            while cells or running:
                while len(running) < _AHEAD * max(1, self.places):
                    cell = cells.take_unfinished(watcher)
                    if cell is None:
                        break
                    running[task.remote(_task(cell, self._limits))] = cell
                    watcher.started(cell, "cluster")
                for handle in self._ended(list(running)):
                    cell, outcome = running.pop(handle), self._outcome(handle)
                    if cells.settle(cell, outcome):
                        watcher.finished(cell, outcome)
                    else:
                        watcher.lost(cell, outcome)
                watcher.tick()
        finally:
            for handle in running:
                with contextlib.suppress(Exception):  # a cluster that is gone has nothing to cancel
                    self._ray.cancel(handle, force=True)

    def _ended(self, handles: list[Any]) -> list[Any]:
        if not handles:  # all that is left waits for other processes
            time.sleep(_WAIT_S)
            return []
        ended: list[Any] = self._ray.wait(handles, timeout=_WAIT_S)[0]
        return ended

    def _outcome(self, handle: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(handle)
        except self._ray.exceptions.OutOfMemoryError:
            return Outcome("failed", "out of memory: its machine had none left")
        except self._ray.exceptions.RayTaskError as error:
            # What a cell does wrong is an outcome: this is about the machine, and would happen to every cell.
            raise BenchError(
                f"a machine of the cluster cannot run cells: {str(error).strip().splitlines()[-1]}",
                hint="Each needs the same version of bench and of the driver's Python. See docs/cluster.md.",
            ) from error
        except self._ray.exceptions.RayError as error:
            return Outcome("lost", f"{type(error).__name__}: its worker or machine is gone")
        return outcome


@dataclass(frozen=True)
class CellTask:
    """What a machine of the cluster is given.

    Attributes:
        request: As JSON; its folder of records plays no part.
        scratch: Name of the folder for finished parts: that of this cell for this folder of records.
        environment: Variables of the driver that its workers share.
        command: That the driver was started by.
        folder: In which relative paths begin, where it exists there.
    """

    request: str
    scratch: str
    limits: Limits
    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    folder: str


def _task(cell: Cell, limits: Limits) -> CellTask:
    request = replace(cell.request, runs=Path()).to_json()
    shared = tuple((name, os.environ[name]) for name in _SHARED_VARIABLES if name in os.environ)
    scratch = text_hash(f"{platform.node()}|{cell.request.runs.absolute()}|{request}")
    return CellTask(request, scratch, limits, shared, tuple(sys.argv), str(Path.cwd()))


def run_cell(task: CellTask) -> Outcome:
    """The task: measures a cell on this machine, and brings its files."""
    # Ray may give a machine's GPU to one task and another one to the next.
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    worker = _kept_worker(replace(task, request="", scratch=""), gpus)
    # A task that is started again finds the finished parts, where the cache is shared.
    shared = dict(task.environment).get("BENCH_CACHE")
    scratch = (Path(shared).expanduser() if shared else cache_folder()) / "cells" / task.scratch
    outcome = worker.run(replace(RunRequest.from_json(task.request), runs=scratch))
    if outcome.status != "ok" or outcome.record is None:
        return outcome
    store = RunStore(scratch)
    files = {file.name[len(outcome.record) :]: file.read_bytes() for file in store.files(outcome.record)}
    shutil.rmtree(scratch, ignore_errors=True)
    if ".json" not in files:
        return Outcome("lost", "its record was removed before it could be brought")
    return replace(outcome, files=files, reused=False)


class _Worker:
    """The worker process of a Ray process, kept from task to task."""

    def __init__(self, task: CellTask, gpus: str) -> None:
        self._task, self._gpus = task, gpus
        self._process: WorkerProcess | None = None

    def run(self, request: RunRequest) -> Outcome:
        if self._process is None or not self._process.is_alive:
            task, folder = self._task, Path(self._task.folder)
            self._process = WorkerProcess(
                task.limits,
                {**os.environ, **dict(task.environment), "CUDA_VISIBLE_DEVICES": self._gpus},
                Path(tempfile.gettempdir(), f"bench-worker-{os.getpid()}.log"),
                command=task.command,
                folder=folder if folder.is_dir() else None,
            )
        self._process.start(request)
        return self._process.wait()


@cache
def _kept_worker(task: CellTask, gpus: str) -> _Worker:
    return _Worker(task, gpus)


def _imported() -> Any:
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BenchError(
            "engine 'ray' needs Ray, which is not installed", hint='pip install "landmark-bench[ray]"'
        ) from error
    return ray
