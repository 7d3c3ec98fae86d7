"""In which order cells are started, and which wait for other processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from bench.claims import LockedClaims
from bench.engines import Cell, CellQueue, Outcome
from bench.run_request import RunRequest
from bench.store import RunStore


def cell(number: int, group: str = "a", runs: Path = Path("runs")) -> Cell:
    request = RunRequest("trivial", "draw", seed=number, runs=runs)
    return Cell(number, request, str(number), f"{number:016x}", group)


def numbers(queue: CellQueue, count: int) -> list[int | None]:
    taken = [queue.take() for _ in range(count)]
    return [None if one is None else one.number for one in taken]


def test_the_first_of_a_group_comes_before_the_others() -> None:
    queue = CellQueue([cell(0), cell(1), cell(2), cell(3, "b"), cell(4, "b")])
    assert numbers(queue, 2) == [0, 3]
    assert queue.settle(cell(0), Outcome("ok"))
    assert numbers(queue, 2) == [1, 2]
    assert numbers(queue, 1) == [4]  # better to wait for the features than to stand still
    assert not queue
    assert queue.take() is None


def test_a_lost_cell_is_tried_three_times() -> None:
    queue = CellQueue([cell(0)])
    for _ in range(2):
        assert numbers(queue, 1) == [0]
        assert not queue.settle(cell(0), Outcome("lost"))
    assert numbers(queue, 1) == [0]
    assert queue.settle(cell(0), Outcome("lost"))
    assert not queue


def test_cells_of_other_processes_wait_until_these_are_done(tmp_path: Path) -> None:
    cells = [cell(number, runs=tmp_path) for number in range(3)]
    ours, theirs = LockedClaims(), LockedClaims()
    assert theirs.take(cells[0])
    queue = CellQueue(cells, ours)
    assert numbers(queue, 3) == [1, 2, None]
    assert len(queue) == 1
    theirs.release(cells[0])
    assert numbers(queue, 2) == [0, None]
    assert not queue
    assert not theirs.take(cells[0])
    ours.release_all()
    assert theirs.take(cells[0])


def test_a_cell_that_a_single_run_is_at_waits_too(tmp_path: Path) -> None:
    one = cell(0, runs=tmp_path)
    file = RunStore(tmp_path).lock_file("0" * 16)
    file.parent.mkdir()
    claims = LockedClaims()
    with FileLock(file):
        assert not claims.take(one)
    assert claims.take(one)
    assert not LockedClaims().take(one)


def test_a_cell_whose_record_is_not_known_cannot_be_claimed(tmp_path: Path) -> None:
    one = replace(cell(0, runs=tmp_path), record=None)
    assert LockedClaims().take(one)
    assert LockedClaims().take(one)
    assert list(tmp_path.iterdir()) == []
