"""Trainings at the same time: their results, their threads, their progress, and one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.context import Arrays, RunContext
from bench.errors import BenchError
from bench.progress import Progress, Task
from protocols.heads.side_by_side import side_by_side


@pytest.fixture(params=[1, 2, 4], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def squared(number: int, run: RunContext) -> Arrays:
    with run.progress.task(f"number {number}", 5) as task:
        for _ in range(5):
            task.advance(status="busy")
    result = {"square": np.array(number**2)}
    run.finish(f"square/{number}", result)
    return result


def test_results_come_in_order_and_are_kept(threads: int, tmp_path: Path) -> None:
    run = RunContext(partial=tmp_path)
    results = side_by_side([partial(squared, number) for number in range(7)], run, "squares")
    assert [int(result["square"]) for result in results] == [number**2 for number in range(7)]
    for number in range(7):
        kept = run.finished(f"square/{number}")
        assert kept is not None
        assert int(kept["square"]) == number**2
    assert run.finished("square/7") is None
    assert torch.get_num_threads() == threads


def test_trainings_are_under_way_together_and_share_the_cores(threads: int) -> None:
    together = threading.Barrier(min(threads, 2))

    def training(run: RunContext) -> int:
        del run
        together.wait(timeout=30)
        return torch.get_num_threads()

    assert side_by_side([training, training], RunContext(), "two") == [max(1, threads // min(threads, 2))] * 2
    assert torch.get_num_threads() == threads


def test_nothing_to_train(threads: int) -> None:
    assert side_by_side([], RunContext(), "nothing") == []


def test_the_first_failure_ends_the_others(threads: int) -> None:
    begun: list[int] = []

    def endless(number: int, run: RunContext) -> int:
        begun.append(number)
        with run.progress.task("endless", 10**9) as task:
            while time.monotonic() < give_up:
                task.advance()
        return number

    def fails(run: RunContext) -> int:
        raise BenchError("the loss is nan")

    trainings: list[Callable[[RunContext], int]] = [fails, *(partial(endless, i) for i in range(9))]
    give_up = time.monotonic() + 60
    with pytest.raises(BenchError, match="the loss is nan"):
        side_by_side(trainings, RunContext(), "some")
    assert time.monotonic() < give_up
    assert len(begun) < 9
    assert torch.get_num_threads() == threads


class _Counting(Task):
    def __init__(self) -> None:
        self.steps = 0

    def advance(self, steps: int = 1, status: str = "") -> None:
        assert status == "busy"
        self.steps += steps


def test_one_bar_shows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, _Counting]] = []

    @contextmanager
    def task(self: Progress, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        shown.append((description, total, _Counting()))
        yield shown[-1][2]

    monkeypatch.setattr(Progress, "task", task)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = RunContext()
        side_by_side([partial(squared, number) for number in range(3)], run, "squares")
    finally:
        torch.set_num_threads(before)
    ((description, total, counted),) = shown
    assert description == "fitting squares, percents of all"
    assert counted.steps == total == 300
    assert set(run.seconds) == {"head"}
