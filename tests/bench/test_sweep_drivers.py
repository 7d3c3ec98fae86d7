"""What becomes of a sweep whose driver is killed or interrupted, or that is not the only one."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from bench.run_request import RunRequest
from bench.sweep_notice import read_drivers
from tests.bench.driver_process import measured_cells, started, wait_for_records
from tests.bench.trivial_cells import records, trivial_request


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    return trivial_request(tmp_path, monkeypatch)


@pytest.mark.slow
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
    _, errors = started(tmp_path, 0.3).communicate(timeout=300)
    assert f"{8 - left} cells done" in errors
    assert len(records(trivial.runs)) == 8
    assert all(file.stat().st_mtime_ns == moment for file, moment in written.items())


@pytest.mark.slow
def test_two_drivers_share_one_store_and_its_work(trivial: RunRequest, tmp_path: Path) -> None:
    drivers = [started(tmp_path, 0.5) for _ in range(2)]
    said = [driver.communicate(timeout=300)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    found = records(trivial.runs)
    assert sorted(record.seed for record in found.values()) == list(range(8))
    assert {record.status for record in found.values()} == {"ok"}
    assert sum(map(measured_cells, said)) == 8


@pytest.mark.slow
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
