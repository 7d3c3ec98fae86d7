"""Sweeps by real worker processes: the same as one after the other, whatever is killed, hangs, raises or is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.engines import Limits
from bench.engines.local import LocalEngine, visible_gpus, worker_environment
from bench.files import UnwritableError
from bench.identity import Identities
from bench.progress import Progress
from bench.record import RunRecord
from bench.run_request import RunRequest
from bench.runner import run
from bench.store import RunStore
from bench.sweep import SweepState, TooManyFailuresError, run_sweep, sweep_keyed
from bench.sweep_notice import read_drivers
from bench.sweep_plan import SweepPlan, plan_sweep
from tests.bench.trivial_cells import install

QUIET = Progress.silent()


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    paths = [str(tmp_path / "site"), str(Path(__file__).resolve().parents[2])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return RunRequest("trivial", "draw", runs=tmp_path / "runs", device="cpu")


def swept(
    requests: list[RunRequest], limits: Limits | None = None, jobs: int = 1, **changes: Any
) -> SweepState:
    identities = Identities(QUIET)
    engine = LocalEngine(jobs, limits or Limits(), requests[0].runs.parent / "logs")
    return run_sweep(plan_sweep(requests, identities), engine, identities, **changes)


def records(runs: Path) -> dict[str, RunRecord]:
    found, problems = RunStore(runs).load_all()
    assert not problems
    return {record.id: record for record in found}


def with_fault(
    request: RunRequest, fault: str, *more: str, seed: int = 1, count: int = 3
) -> list[RunRequest]:
    """Cells of which one goes wrong."""
    options = (f"fault={fault}", f"at_seed={seed}", *more)
    return [replace(request, seed=number, protocol_options=options) for number in range(count)]


def check_one_failed(state: SweepState, runs: Path, words: str, seed: int = 1) -> None:
    assert (state.done, len(state.failures)) == (2, 1)
    found = records(runs).values()
    assert sorted(record.seed for record in found) == [0, 1, 2]
    (failed,) = (record for record in found if record.status == "failed")
    assert failed.seed == seed
    assert words in (failed.reason or "")


def test_two_workers_give_what_one_after_the_other_gives(trivial: RunRequest, tmp_path: Path) -> None:
    scales = [("scale=1",), ("scale=2",), ("scale=3",)]
    requests = [
        replace(trivial, seed=seed, method_options=options) for options in scales for seed in range(21)
    ]
    state = swept(requests, jobs=2)
    assert (state.done, state.failures) == (63, [])
    serial = tmp_path / "serial"
    for request in requests:
        run(replace(request, runs=serial), QUIET)
    ours, theirs = records(trivial.runs), records(serial)
    assert len(ours) == 63
    assert {name: record.metrics for name, record in ours.items()} == {
        name: record.metrics for name, record in theirs.items()
    }
    for name in ours:
        numbers, expected = (RunStore(runs).per_sample(name)["numbers"] for runs in (trivial.runs, serial))
        assert numbers.tobytes() == expected.tobytes()
    assert swept(requests).total == 0
    assert read_drivers(trivial.runs) == []


def test_a_worker_that_is_killed_is_replaced_and_its_cell_run_again(
    trivial: RunRequest, tmp_path: Path
) -> None:
    state = swept(with_fault(trivial, "kill once", f"mark={tmp_path / 'mark'}"))
    assert (state.done, state.lost, state.failures) == (3, 1, [])
    assert [record.status for record in records(trivial.runs).values()] == ["ok"] * 3


def test_a_cell_that_kills_each_of_its_workers_fails(trivial: RunRequest) -> None:
    state = swept(with_fault(trivial, "kill"))
    assert state.lost == 2
    check_one_failed(state, trivial.runs, "killed by signal 9")


def test_a_cell_that_raises(trivial: RunRequest) -> None:
    check_one_failed(swept(with_fault(trivial, "raise")), trivial.runs, "ValueError: two apples")


def test_a_cell_that_hangs(trivial: RunRequest) -> None:
    state = swept(with_fault(trivial, "hang"), Limits(seconds=2))
    check_one_failed(state, trivial.runs, "longer than its limit of 2 s")


def test_a_cell_that_takes_too_much_memory(trivial: RunRequest) -> None:
    state = swept(with_fault(trivial, "memory"), Limits(memory=1_200_000_000))
    check_one_failed(state, trivial.runs, "more than its limit of 1.2 GB")


def test_a_cell_that_asks_for_memory_that_is_not_there(trivial: RunRequest) -> None:
    check_one_failed(swept(with_fault(trivial, "memory error")), trivial.runs, "out of memory")


def test_a_full_disk_stops_the_sweep_and_loses_nothing(
    trivial: RunRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Files of the workers may grow to 600 bytes: a record meets what it would on a full disk."""
    small = [replace(trivial, seed=seed) for seed in range(2)]
    swept(small)
    plugin = tmp_path / "site" / "trivial_cells_plugin.py"
    plugin.write_text(
        plugin.read_text()
        + "\nimport resource, sys\nif 'bench.engines.worker' in sys.orig_argv:\n"
        + "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        + "    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
    )
    with pytest.raises(UnwritableError, match="cannot be written") as caught:
        swept([*small, *(replace(trivial, seed=seed) for seed in range(2, 5))])
    assert "continues where it stopped" in str(caught.value)
    assert sorted(record.seed for record in records(trivial.runs).values()) == [0, 1]
    install_again = plugin.read_text().partition("\nimport resource")[0]
    plugin.write_text(install_again)
    swept([replace(trivial, seed=seed) for seed in range(5)])
    assert sorted(record.seed for record in records(trivial.runs).values()) == [0, 1, 2, 3, 4]


def test_too_many_failures_stop_a_sweep(trivial: RunRequest) -> None:
    requests = [replace(trivial, seed=seed, protocol_options=("fault=raise",)) for seed in range(9)]
    with pytest.raises(TooManyFailuresError, match="2 cells failed"):
        swept(requests, max_failures=1)
    assert len(records(trivial.runs)) == 2


def test_requests_with_keys_give_records_or_reasons(trivial: RunRequest) -> None:
    """What ``bench reproduce`` asks an engine for."""
    again = replace(trivial, seed=0)
    wanted = {
        "ok": trivial,
        "equal": again,
        "raises": replace(trivial, protocol_options=("fault=raise",)),
        "impossible": replace(trivial, protocol_options=("falt=raise",)),
    }
    identities = Identities(QUIET)
    engine = LocalEngine(1, Limits(), trivial.runs.parent / "logs")
    plans: list[SweepPlan] = []
    found = sweep_keyed(dict(wanted), engine, identities, plans.append)
    assert plans[0].counts == {"to do": 2, "repeated": 1, "cannot run": 1}
    assert isinstance(found["ok"], RunRecord)
    assert found["equal"] == found["ok"]
    assert "two apples" in str(found["raises"])
    assert "no option 'falt'" in str(found["impossible"])
    assert found["ok"].metrics == run(replace(trivial, runs=trivial.runs / "serial"), QUIET).record.metrics


GRID = """
methods = ["trivial"]
protocols = [{{ name = "draw", options = {{ seconds = {seconds} }} }}]
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
"""


def started(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    (tmp_path / "grid.toml").write_text(GRID.format(seconds=seconds))
    words = ["sweep", "grid.toml", "--device", "cpu", "--runs", "runs"]
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_records(runs: Path, count: int) -> None:
    ends = time.monotonic() + 300
    while len(list(runs.glob("[!.]*.json"))) < count:
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_driver_that_is_killed_and_started_again(trivial: RunRequest, tmp_path: Path) -> None:
    driver = started(tmp_path, 0.3)
    wait_for_records(trivial.runs, 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    time.sleep(1.0)  # by now its worker has noticed
    left = len(records(trivial.runs))
    time.sleep(1.0)
    assert 2 <= left == len(records(trivial.runs)) < 8
    written = {file: file.stat().st_mtime_ns for file in trivial.runs.glob("*.json")}
    output, errors = started(tmp_path, 0.3).communicate(timeout=300)
    assert f"{left}" in output
    assert f"{8 - left} cells done" in errors
    assert len(records(trivial.runs)) == 8
    assert all(file.stat().st_mtime_ns == moment for file, moment in written.items())


def test_two_drivers_share_one_store(trivial: RunRequest, tmp_path: Path) -> None:
    drivers = [started(tmp_path, 0.2) for _ in range(2)]
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
    found = records(trivial.runs)
    assert sorted(record.seed for record in found.values()) == list(range(8))
    assert {record.status for record in found.values()} == {"ok"}


def test_ctrl_c_ends_the_workers_and_says_that_the_work_continues(
    trivial: RunRequest, tmp_path: Path
) -> None:
    driver = started(tmp_path, 0.3)
    wait_for_records(trivial.runs, 1)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert read_drivers(trivial.runs) == []


def test_each_worker_has_a_gpu_and_its_share_of_the_cores() -> None:
    gpus = visible_gpus({"CUDA_VISIBLE_DEVICES": "4,6"}, 2)
    given = [worker_environment({}, number, 3, gpus, "auto") for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["4", "6", "4"]
    assert given[0]["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 3))
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment({}, 0, 1, gpus, "cuda:1")
    assert worker_environment({"OMP_NUM_THREADS": "7"}, 0, 2, [], "cpu")["OMP_NUM_THREADS"] == "7"
    assert visible_gpus({}, 2) == ["0", "1"]
