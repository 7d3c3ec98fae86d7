"""Rendered splits on disk: rendered once, whoever asks first, and checked when opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from bench.errors import BenchError
from bench.files import cache_folder, require_writable
from bench.progress import Progress, Task
from datasets.procedural.backend import HOST, Backend, backend
from datasets.procedural.job import ARRAYS, RenderJob, class_path
from datasets.procedural.worker import render_share

Arrays = dict[str, np.ndarray[Any, Any]]

_MANIFEST = "manifest.json"
_ALONE = 24  # so few pictures are rendered before worker processes have started


def open_split(job: RenderJob, progress: Progress, workers: int | None = None, device: str = "cpu") -> Arrays:
    """The memory-mapped arrays of a split; renders them where they are missing or damaged.

    Two processes that ask at once render once: the second waits for the first.

    Args:
        workers: Number of processes that render; by default one per available core. It never changes a picture.
        device: Where the pictures are computed, see ``backend.backend``. What another kind of device renders is kept
            apart: rounding may move its pixels.

    Raises:
        BenchError: where the cache folder cannot be written, a worker fails, or the device is not there.
    """
    on = backend(device)
    key = job.key if on is HOST else f"{job.key}-{on.kind}"
    home = cache_folder(job.name)
    require_writable(home)
    folder = home / key
    with FileLock(home / f"{key}.lock"):
        if not _intact(folder, job):
            if folder.exists():
                progress.say(f"{folder} is damaged: rendering it again")
                shutil.rmtree(folder)
            _render(job, folder, progress, workers or _cores(), device, on)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checksums(folder: Path) -> dict[str, int]:
    sums = {}
    for name in ARRAYS:
        value = 0
        with (folder / f"{name}.npy").open("rb") as stream:
            while block := stream.read(1 << 22):
                value = zlib.crc32(block, value)
        sums[name] = value
    return sums


def _intact(folder: Path, job: RenderJob) -> bool:
    """Whether a finished rendering of this job lies there, byte for byte as it was written."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        return bool(manifest == {"job": json.loads(job.model_dump_json()), "checksums": _checksums(folder)})
    except (OSError, ValueError):
        return False


def _render(job: RenderJob, folder: Path, progress: Progress, workers: int, device: str, on: Backend) -> None:
    # The lock is ours: what lies there was left by a process that was killed.
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, (shape, kind) in job.shapes().items():
            np.lib.format.open_memmap(building / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
        with progress.task(f"rendering {job.name} {job.split}", job.count) as task:
            if workers == 1 or job.count <= _ALONE:
                render_share(job, building, 0, 1, task.advance, on)
            else:
                _in_processes(job, building, task, min(workers, job.count), device)
        manifest = {"job": json.loads(job.model_dump_json()), "checksums": _checksums(building)}
        (building / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        building.rename(folder)
    except OSError as error:
        raise BenchError(
            f"cannot write renderings below {folder.parent}: {error.strerror or error}",
            hint="Check free space, or point BENCH_CACHE at another folder.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _in_processes(job: RenderJob, building: Path, task: Task, workers: int, device: str) -> None:
    """Start the workers and count the bytes they write, one a picture, until all have ended."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    worker = [sys.executable, "-m", "datasets.procedural.worker"]
    command = [*worker, class_path(type(job)), job.model_dump_json(), str(building)]
    ticks, end = os.pipe()
    log = building / "worker.log"
    running: list[subprocess.Popen[bytes]] = []
    try:
        try:
            with log.open("wb") as errors:
                for first in range(workers):
                    share = [*command, str(first), str(workers), device]
                    running.append(subprocess.Popen(share, stdout=end, stderr=errors, env=environment))
        finally:
            os.close(end)
        while block := os.read(ticks, 4096):
            task.advance(len(block))
        if any(process.wait() for process in running):
            raise BenchError(f"a rendering process failed:\n{log.read_text(errors='replace')[-2000:]}")
        log.unlink()
    finally:
        os.close(ticks)
        for process in running:
            process.kill()
            process.wait()
