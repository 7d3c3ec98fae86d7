"""Sweeps by real worker processes: the same as one after the other, whatever is killed, hangs, raises or is full."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engines import CellQueue, Engine, Limits, Outcome, Watcher
from bench.engines.local import LocalEngine, visible_gpus, worker_environment
from bench.errors import BenchError
from bench.files import UnwritableError
from bench.identity import Identities
from bench.progress import Progress
from bench.record import RunRecord
from bench.run_request import RunRequest
from bench.runner import run
from bench.store import RunStore
from bench.sweep import SweepState, TooManyFailuresError, run_sweep, sweep_keyed, take_in
from bench.sweep_notice import read_drivers
from bench.sweep_plan import SweepPlan, plan_sweep
from tests.bench.trivial_cells import check_equal_records, records, trivial_request

QUIET = Progress.silent()


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    return trivial_request(tmp_path, monkeypatch)


def swept(requests: list[RunRequest], limits: Limits | None = None, jobs: int = 1) -> SweepState:
    identities = Identities(QUIET)
    engine = LocalEngine(jobs, limits or Limits(), requests[0].runs.parent / "logs")
    return run_sweep(plan_sweep(requests, identities), engine, identities)


class InlineEngine(Engine):
    """Runs cells in this process."""

    places = 1

    def run(self, cells: CellQueue, watcher: Watcher) -> None:
        while (cell := cells.take_unfinished(watcher)) is not None:
            watcher.started(cell, "here")
            try:
                result = run(cell.request, QUIET)
                outcome = Outcome("ok", record=result.record.id, reused=result.reused)
            except ValueError as error:
                outcome = Outcome("failed", str(error))
            assert cells.settle(cell, outcome)
            watcher.finished(cell, outcome)
            watcher.tick()


def with_fault(request: RunRequest, fault: str, *more: str) -> RunRequest:
    return replace(request, protocol_options=(f"fault={fault}", *more))


def check_failed(runs: Path, expected: dict[str, str]) -> None:
    """Each failed record, by its fault, has words in its reason; all others are ok, and none is missing."""
    failed = {
        str(one.protocol.options["fault"]): one.reason or ""
        for one in records(runs).values()
        if one.status == "failed"
    }
    assert failed.keys() == expected.keys()
    for fault, words in expected.items():
        assert words in failed[fault]


def test_two_workers_give_what_one_after_the_other_gives(trivial: RunRequest, tmp_path: Path) -> None:
    requests = [
        replace(trivial, seed=seed, method_options=(f"scale={scale}",))
        for scale in (1, 2, 3)
        for seed in range(21)
    ]
    state = swept(requests, jobs=2)
    assert (state.done, state.failures) == (63, [])
    for request in requests:
        run(replace(request, runs=tmp_path / "serial"), QUIET)
    check_equal_records(trivial.runs, tmp_path / "serial", 63)
    assert swept(requests).total == 0
    assert read_drivers(trivial.runs) == []


def test_cells_that_raise_or_kill_their_worker_leave_the_others_alone(
    trivial: RunRequest, tmp_path: Path
) -> None:
    state = swept(
        [
            with_fault(trivial, "raise"),
            with_fault(trivial, "memory error"),
            with_fault(trivial, "kill once", f"mark={tmp_path / 'mark'}"),
            trivial,
        ]
    )
    assert (state.done, state.lost) == (2, 1)
    check_failed(trivial.runs, {"raise": "ValueError: two apples", "memory error": "out of memory"})
    assert len(records(trivial.runs)) == 4


@pytest.mark.slow
def test_cells_beyond_their_limits_leave_the_others_alone(trivial: RunRequest) -> None:
    faults = [with_fault(trivial, fault) for fault in ("hang", "memory", "kill")]
    state = swept([*faults, trivial], Limits(seconds=3, memory=1_200_000_000), jobs=2)
    assert (state.done, state.lost) == (1, 2)
    check_failed(
        trivial.runs,
        {
            "hang": "longer than its limit of 3 s",
            "memory": "more than its limit of 1.2 GB",
            "kill": "killed by signal 9",
        },
    )
    assert len(records(trivial.runs)) == 4


def test_a_full_disk_stops_the_sweep_and_loses_nothing(trivial: RunRequest, tmp_path: Path) -> None:
    """Files of the workers may grow to 600 bytes: a record meets what it would on a full disk."""
    requests = [replace(trivial, seed=seed) for seed in range(5)]
    for request in requests[:2]:
        run(request, QUIET)
    plugin = tmp_path / "site" / "trivial_cells_plugin.py"
    source = plugin.read_text()
    plugin.write_text(
        source
        + "\nimport resource, sys\nif 'bench.engines.worker' in sys.orig_argv:\n"
        + "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        + "    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
    )
    with pytest.raises(UnwritableError, match="cannot be written") as caught:
        swept(requests)
    assert "continues where it stopped" in str(caught.value)
    assert sorted(record.seed for record in records(trivial.runs).values()) == [0, 1]
    plugin.write_text(source)
    assert swept(requests).done == 3
    assert sorted(record.seed for record in records(trivial.runs).values()) == [0, 1, 2, 3, 4]


def test_too_many_failures_stop_a_sweep(trivial: RunRequest) -> None:
    requests = [replace(with_fault(trivial, "raise"), seed=seed) for seed in range(9)]
    identities = Identities(QUIET)
    with pytest.raises(TooManyFailuresError, match="2 cells failed"):
        run_sweep(plan_sweep(requests, identities), InlineEngine(), identities, max_failures=1)
    assert len(records(trivial.runs)) == 2


def test_requests_with_keys_give_records_or_reasons(trivial: RunRequest) -> None:
    """What ``bench reproduce`` asks an engine for."""
    wanted = {
        "ok": trivial,
        "equal": replace(trivial, seed=0),
        "raises": with_fault(trivial, "raise"),
        "impossible": replace(trivial, protocol_options=("falt=raise",)),
    }
    plans: list[SweepPlan] = []
    found = sweep_keyed(dict(wanted), InlineEngine(), Identities(QUIET), plans.append, QUIET.say)
    assert plans[0].counts == {"to do": 2, "repeated": 1, "cannot run": 1}
    assert isinstance(found["ok"], RunRecord)
    assert found["equal"] == found["ok"]
    assert "two apples" in str(found["raises"])
    assert "no option 'falt'" in str(found["impossible"])
    assert found["ok"].metrics == run(replace(trivial, runs=trivial.runs / "serial"), QUIET).record.metrics


def test_what_comes_back_damaged_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="came back damaged"):
        take_in(RunStore(tmp_path), "0" * 16, {".json": b"{"})
    assert not list(tmp_path.glob("*.json"))


def test_each_worker_has_a_gpu_and_its_share_of_the_cores() -> None:
    gpus = visible_gpus({"CUDA_VISIBLE_DEVICES": "4,6"}, 2)
    given = [worker_environment({}, number, 3, gpus, "auto") for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["4", "6", "4"]
    assert given[0]["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 3))
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment({}, 0, 1, gpus, "cuda:1")
    assert worker_environment({"OMP_NUM_THREADS": "7"}, 0, 2, [], "cpu")["OMP_NUM_THREADS"] == "7"
    assert visible_gpus({}, 2) == ["0", "1"]
