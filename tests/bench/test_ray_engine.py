"""Sweeps over a Ray cluster of two nodes on this machine: the same records, whatever is killed or removed."""

from __future__ import annotations

import builtins
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.engines import Limits
from bench.engines.ray_cluster import RayEngine
from bench.errors import BenchError
from bench.identity import Identities
from bench.progress import Progress
from bench.run_request import RunRequest
from bench.runner import run
from bench.sweep import SweepState, run_sweep
from bench.sweep_plan import plan_sweep
from tests.bench.driver_process import measured_cells, started, wait_for_records
from tests.bench.trivial_cells import check_equal_records, records, trivial_request

QUIET = Progress.silent()


def test_without_ray_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(BenchError, match="not installed") as caught:
        RayEngine("auto", Limits())
    assert "landmark-bench[ray]" in str(caught.value)


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    return trivial_request(tmp_path, monkeypatch)


@pytest.fixture
def cluster(trivial: RunRequest) -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install landmark-bench[ray]")
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    nodes: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    nodes.connect()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def swept(requests: list[RunRequest], limits: Limits | None = None) -> SweepState:
    identities = Identities(QUIET, elsewhere=True)
    engine = RayEngine("auto", limits or Limits())
    return run_sweep(plan_sweep(requests, identities), engine, identities)


@pytest.mark.slow
def test_two_nodes_give_what_one_after_the_other_gives(
    cluster: Any, trivial: RunRequest, tmp_path: Path
) -> None:
    requests = [
        replace(trivial, seed=seed, method_options=(f"scale={scale}",))
        for scale in (1, 2, 3)
        for seed in range(20)
    ]
    state = swept(requests)
    assert (state.done, state.failures) == (60, [])
    for request in requests:
        run(replace(request, runs=tmp_path / "serial"), QUIET)
    check_equal_records(trivial.runs, tmp_path / "serial", 60)
    assert not list((tmp_path / "cache" / "cells").glob("*"))


@pytest.mark.slow
def test_faults_on_a_cluster(cluster: Any, trivial: RunRequest, tmp_path: Path) -> None:
    faults = ("raise", "hang", "kill", "memory")
    requests = [replace(trivial, protocol_options=(f"fault={fault}",)) for fault in faults]
    once = replace(trivial, protocol_options=("fault=kill once", f"mark={tmp_path / 'mark'}"))
    state = swept([*requests, once, trivial], Limits(seconds=20, memory=1_200_000_000))
    assert state.done == 2
    reasons = " | ".join(sorted(reason for _, reason in state.failures))
    for words in (
        "two apples",
        "longer than its limit",
        "killed by signal 9",
        "more than its limit of 1.2 GB",
    ):
        assert words in reasons
    found = records(trivial.runs).values()
    assert sorted(record.status for record in found) == ["failed"] * 4 + ["ok"] * 2


@pytest.mark.slow
def test_a_node_that_is_removed_loses_no_cell(cluster: Any, trivial: RunRequest) -> None:
    requests = [replace(trivial, seed=seed, protocol_options=("seconds=0.5",)) for seed in range(24)]

    def remove() -> None:
        ends = time.monotonic() + 120
        while len(list(trivial.runs.glob("[!.]*.json"))) < 4 and time.monotonic() < ends:
            time.sleep(0.1)
        cluster.remove_node(cluster.second, allow_graceful=False)

    remover = threading.Thread(target=remove)
    remover.start()
    state = swept(requests)
    remover.join()
    assert (state.done, state.failures) == (24, [])
    assert sorted(record.seed for record in records(trivial.runs).values()) == list(range(24))


@pytest.mark.slow
def test_a_driver_that_is_killed_and_started_again(cluster: Any, trivial: RunRequest, tmp_path: Path) -> None:
    words = ("--engine", "ray", "--address", cluster.address)
    driver = started(tmp_path, 0.5, *words)
    wait_for_records(trivial.runs, 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    written = {file: file.stat().st_mtime_ns for file in trivial.runs.glob("[!.]*.json")}
    assert 2 <= len(written) < 8
    again = started(tmp_path, 0.5, *words)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert f"{8 - len(written)} cells done" in errors
    found = records(trivial.runs).values()
    assert sorted(record.seed for record in found) == list(range(8))
    assert {record.status for record in found} == {"ok"}
    assert all(file.stat().st_mtime_ns == moment for file, moment in written.items())
    assert not list((tmp_path / "cache" / "cells").glob("*"))


@pytest.mark.slow
def test_two_drivers_share_a_cluster_and_the_work(cluster: Any, trivial: RunRequest, tmp_path: Path) -> None:
    drivers = [started(tmp_path, 0.5, "--engine", "ray", "--address", cluster.address) for _ in range(2)]
    said = [driver.communicate(timeout=300)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    assert sum(map(measured_cells, said)) == 8
    found = records(trivial.runs).values()
    assert sorted(record.seed for record in found) == list(range(8))
    assert {record.status for record in found} == {"ok"}
