"""Options about where cells run, which ``bench sweep`` and ``bench reproduce`` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.engines import Engine, Limits


class EngineName(StrEnum):
    """Where cells run."""

    LOCAL = "local"
    RAY = "ray"


Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at once, local: one for each GPU unless given."),
]
Address = Annotated[str, typer.Option(help="Ray: auto, local, HOST:PORT or ray://HOST:PORT.")]
Cpus = Annotated[float, typer.Option(min=0.1, help="Ray: processor cores of a cell.")]
Gpus = Annotated[float, typer.Option(min=0.0, help="Ray: GPUs of a cell, e.g. 0.5.")]
Memory = Annotated[
    str | None, typer.Option(help="Main memory of a cell, e.g. 8GB; one that takes more fails.")
]
TimeLimit = Annotated[
    float | None, typer.Option(min=0.1, metavar="SECONDS", help="A cell that takes longer fails.")
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Every N-th cell, from the I-th: for job arrays.")
]
MaxFailures = Annotated[int | None, typer.Option(min=0, help="Stop when more cells than these have failed.")]


def limits_of(memory: str | None, seconds: float | None) -> Limits:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from bench.engines import Limits

    if memory is None:
        return Limits(seconds)
    try:
        size = int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError as error:
        raise BenchError(f"--memory is {memory!r}, which is no size", hint="For example 8GB.") from error
    if size <= 0:
        raise BenchError(f"--memory is {memory!r}, which holds nothing", hint="For example 8GB.")
    return Limits(seconds, size)


def open_engine(
    name: EngineName,
    jobs: int | None,
    limits: Limits,
    runs: Path,
    address: str,
    cpus: float,
    gpus: float,
) -> Engine:
    if name is EngineName.RAY:
        from bench.engines.ray_cluster import RayEngine

        return RayEngine(address, limits, cpus=cpus, gpus=gpus)
    from bench.engines.local import LocalEngine
    from bench.record_index import SWEEP_FOLDER

    return LocalEngine(jobs, limits, runs / SWEEP_FOLDER / "logs")
