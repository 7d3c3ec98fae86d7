"""Sweeps over a Ray cluster of two nodes on this machine: the same records, whatever is killed or removed."""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.engines import Cell, CellQueue, Limits, Outcome
from bench.engines.ray_cluster import RayEngine
from bench.errors import BenchError
from bench.identity import Identities
from bench.progress import Progress
from bench.record import RunRecord
from bench.run_request import RunRequest
from bench.runner import run
from bench.store import RunStore
from bench.sweep import SweepState, run_sweep, take_in
from bench.sweep_plan import plan_sweep
from tests.bench.trivial_cells import install

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


def cell(number: int, group: str) -> Cell:
    return Cell(number, RunRequest("trivial", "draw", seed=number), str(number), None, group)


def test_the_first_of_a_group_comes_before_the_others() -> None:
    queue = CellQueue([cell(0, "a"), cell(1, "a"), cell(2, "a"), cell(3, "b"), cell(4, "b")])
    first, second = queue.take(), queue.take()
    assert [first.number, second.number] == [0, 3]
    assert queue.settle(first, Outcome("ok"))
    assert [queue.take().number, queue.take().number] == [1, 2]
    assert queue.take().number == 4  # better to wait for the features than to stand still
    assert not queue


def test_a_lost_cell_is_tried_three_times() -> None:
    queue = CellQueue([cell(0, "a")])
    for _ in range(2):
        assert not queue.settle(queue.take(), Outcome("lost"))
    assert queue.settle(queue.take(), Outcome("lost"))
    assert not queue


def test_a_cell_of_another_process_comes_last() -> None:
    queue = CellQueue([cell(number, "a") for number in range(3)], is_busy=lambda one: one.number == 0)
    assert [queue.take().number for _ in range(3)] == [1, 2, 0]


def test_what_comes_back_damaged_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="came back damaged"):
        take_in(RunStore(tmp_path), "0" * 16, {".json": b"{"})
    assert not list(tmp_path.glob("*.json"))


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    paths = [str(tmp_path / "site"), str(Path(__file__).resolve().parents[2])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return RunRequest("trivial", "draw", runs=tmp_path / "runs", device="cpu")


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


def records(runs: Path) -> dict[str, RunRecord]:
    found, problems = RunStore(runs).load_all()
    assert not problems
    return {record.id: record for record in found}


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
    ours, theirs = records(trivial.runs), records(tmp_path / "serial")
    assert {name: record.metrics for name, record in ours.items()} == {
        name: record.metrics for name, record in theirs.items()
    }
    for name in ours:
        stores = (RunStore(trivial.runs), RunStore(tmp_path / "serial"))
        numbers, expected = (store.per_sample(name)["numbers"].tobytes() for store in stores)
        assert numbers == expected
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
