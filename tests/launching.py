"""Processes that train together, started as a launcher starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun tells a process on a host of its own."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    return {
        **os.environ,
        **{name: str(value) for name, value in told.items()},
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(count: int, module: str, *arguments: Sequence[str]) -> list[subprocess.Popen[str]]:
    """``python -m module arguments`` in ``count`` processes, each with its own or all with the same arguments."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments[rank % len(arguments)]],
            env=environment(rank, count, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def python(module: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """``python -m module arguments``: a launcher, which starts the processes itself."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def torchrun(count: int, module: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    options = ["--nproc-per-node", str(count), "--master-port", str(free_port())]
    return python("torch.distributed.run", [*options, "-m", module, *arguments])


def finish(processes: Sequence[subprocess.Popen[str]], timeout: float = 600) -> list[tuple[int, str, str]]:
    """Exit status, standard output and standard error of each."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]
