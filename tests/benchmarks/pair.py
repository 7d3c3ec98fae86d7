"""Two ways to the same numbers, ours and the straightforward one, measured side by side.

A claim about speed is a ratio: both ways run in turn in one process on one thread, where freed memory is kept (that is
kind to the straightforward way, which frees more), and their medians are compared. The memory of each is measured
in a fresh process of its own. What is found lands in ``extra_info`` of pytest-benchmark's JSON, from which
``python -m tests.benchmarks.document`` writes ``docs/performance.md``.

Run by hand, on an otherwise idle machine: ``pytest tests/benchmarks --benchmark-enable``. In the ordinary test run
benchmarks are disabled: the code below then runs once, in small, and only the equality of both ways is tested.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.allocator import retain_heap, return_heap
from tests.benchmarks.machine import copy_rate, matrix_rate

Way = Literal["ours", "twin"]
_RESET_PEAK = Path("/proc/self/clear_refs"), "5"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Ways:
    """What a case prepares: both ways on the same inputs, and how far apart their results are.

    Attributes:
        ours, twin: Do the work once, whole; whatever they return is dropped.
        deviations: Names and sizes of the differences between the results of both.
        forget: Drops what a first run leaves behind and the first of all makes (an optimiser's state): it counts as
            memory that a run adds.
    """

    ours: Callable[[], object]
    twin: Callable[[], object]
    deviations: Callable[[], dict[str, float]] = dict
    forget: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Claim:
    """What is claimed of a case, and what the document says beside it.

    Attributes:
        topic: Heading under which it is listed.
        case: What is computed, with its sizes.
        twin: What the straightforward way does.
        ratio: Times of the twin over ours, at least.
        megabytes: That ours may add to the memory of its inputs, at most.
        deviations: How large each of the deviations may be.
        gflop: Floating-point operations of ours (a multiplication and an addition are two), where they are known.
        gigabytes: That ours has to read and write, where copying is what limits it.
        per: How many things (images, pairs) one call handles; times are given for one.
    """

    topic: str
    case: str
    twin: str
    ratio: float | None = None
    megabytes: float | None = None
    deviations: dict[str, float] = field(default_factory=dict)
    gflop: float | None = None
    gigabytes: float | None = None
    per: int = 1


def compare(
    benchmark: BenchmarkFixture,
    claim: Claim,
    prepare: Callable[..., Ways],
    *sizes: Any,
    rounds: int = 5,
    twin_memory: bool = True,
) -> list[str]:
    """Measure, and store what was found in the benchmark's ``extra_info``.

    Returns:
        A sentence for each deviation that is larger than claimed, for the test to assert that there is none. Times
        and memory are only reported.

    Args:
        prepare: A function at the top of a module (a fresh process imports it); its arguments are ``sizes``.
        rounds: How often both ways are run in turn, after one run of each that does not count.
        twin_memory: Whether the memory of the straightforward way is measured too.
    """
    with single_thread():
        ways = prepare(*sizes)
        deviations = ways.deviations()
        too_far = [
            f"{claim.case}: {name} is {deviations[name]:.2g}, more than {most:g}"
            for name, most in claim.deviations.items()
            if not deviations[name] <= most  # nor is what is not a number
        ]
        if not benchmark.enabled:
            benchmark(ways.ours)
            return too_far
        times = _times_in_turn(benchmark, ways, rounds)
        seconds = {way: median(found) / claim.per for way, found in times.items()}
        found = {
            "claim": asdict(claim),
            "seconds": seconds,
            "ratio": seconds["twin"] / seconds["ours"],
            "rounds": rounds,
            "deviations": deviations,
            "matrix_gflops": matrix_rate() / 1e9,
            "copy_gbs": copy_rate() / 1e9,
        }
    measured: tuple[Way, ...] = ("ours", "twin") if twin_memory else ("ours",)
    found["megabytes"] = {way: added_memory(prepare, sizes, way) / 1e6 for way in measured}
    benchmark.extra_info["pair"] = found
    return too_far


def _times_in_turn(benchmark: BenchmarkFixture, ways: Ways, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"ours": [], "twin": []}

    def one_round() -> None:
        for name, way in (("ours", ways.ours), ("twin", ways.twin)):
            started = perf_counter()
            way()
            times[name].append(perf_counter() - started)

    benchmark.pedantic(one_round, rounds=rounds, iterations=1, warmup_rounds=1)  # type: ignore[no-untyped-call]
    return {name: found[1:] for name, found in times.items()}


def added_memory(prepare: Callable[..., Ways], sizes: tuple[Any, ...], way: Way) -> int:
    """Bytes that one way adds to the resident memory of a fresh process that has prepared the inputs (Linux)."""
    context = multiprocessing.get_context("spawn")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, prepare, sizes, way), daemon=True)
    process.start()
    sender.close()
    found: int = answer.recv()
    process.join()
    return found


def _measure(sender: Connection, prepare: Callable[..., Ways], sizes: tuple[Any, ...], way: Way) -> None:
    torch.set_num_threads(1)
    return_heap()
    ways = prepare(*sizes)
    run = ways.ours if way == "ours" else ways.twin
    run()  # loads the kernels
    ways.forget()
    before = reset_peak()
    run()
    sender.send(peak_since(before))


def reset_peak() -> int:
    """The kernel forgets this process's peak; returns the resident memory, in bytes (Linux)."""
    path, peak = _RESET_PEAK
    path.write_text(peak)
    return _status("VmRSS")


def peak_since(resident: int) -> int:
    """Bytes by which the peak since then is above that resident memory."""
    return _status("VmHWM") - resident


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread, and freed memory is kept."""
    before = torch.get_num_threads()
    retain_heap()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
