"""What a sweep costs besides its cells: planning many of which most are done, and running many that do nothing.

Run by hand, on an otherwise idle machine: ``pytest tests/benchmarks --benchmark-enable``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.engines import Cell, Limits, Outcome
from bench.engines.local import LocalEngine
from bench.grid import read_grid
from bench.identity import Identities
from bench.ingredients import Ingredients
from bench.progress import Progress
from bench.record_index import read_index
from bench.run_request import RunRequest
from bench.runner import run
from bench.sweep import run_sweep
from bench.sweep_plan import SweepPlan, plan_sweep
from tests.bench.trivial_cells import trivial_request

QUIET = Progress.silent()
PLANNED_S, CELL_MS = 10.0, 10.0


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    return trivial_request(tmp_path, monkeypatch)


def test_a_plan_of_cells_of_which_most_are_done(
    benchmark: BenchmarkFixture, trivial: RunRequest, tmp_path: Path
) -> None:
    """From the grid's file to the plan, by an index that is up to date; ``extra_info`` has a first plan without."""
    seeds = 10_000 if benchmark.enabled else 20
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'methods = ["trivial"]\nseeds = {list(range(seeds))}\n'
        'protocols = [{ name = "draw", options = '
        f"[{', '.join(f'{{ seconds = {number} }}' for number in range(10))}] }}]"
    )

    def plan() -> SweepPlan:
        requests = [cell.request for cell in read_grid(grid, runs=trivial.runs, device="cpu")]
        return plan_sweep(requests, Identities(QUIET))

    text = run(trivial, QUIET).path.read_text()
    planned = plan().cells
    for one in planned[: len(planned) * 99 // 100]:
        (trivial.runs / f"{one.cell.record}.json").write_text(text)
    (trivial.runs / ".sweep" / "index.json").unlink()
    started = time.perf_counter()
    plan()
    benchmark.extra_info["seconds without an index"] = round(time.perf_counter() - started, 2)
    found = benchmark.pedantic(plan, rounds=3)  # type: ignore[no-untyped-call]
    benchmark.extra_info["cells"] = len(found.cells)
    assert found.counts == {"done": len(planned) * 99 // 100, "to do": len(planned) // 100}
    started = time.process_time()
    plan()
    # Of the processor: what else runs on the machine does not count.
    benchmark.extra_info["processor seconds"] = round(time.process_time() - started, 2)
    if benchmark.enabled:
        assert benchmark.extra_info["processor seconds"] < PLANNED_S


def test_many_cells_that_do_nothing(benchmark: BenchmarkFixture, trivial: RunRequest, tmp_path: Path) -> None:
    """``extra_info`` has milliseconds a cell: in a sweep by one worker, and without an engine, which is the work."""
    count = 1000 if benchmark.enabled else 10
    requests = [replace(trivial, seed=seed) for seed in range(count)]
    identities, finished = Identities(QUIET), []

    def note(cell: Cell, outcome: Outcome) -> None:
        finished.append(time.perf_counter())

    plan = plan_sweep(requests, identities)
    engine = LocalEngine(1, Limits(), tmp_path / "logs")
    swept_once = (plan, engine, identities)
    benchmark.pedantic(run_sweep, swept_once, {"on_finished": note}, rounds=1)  # type: ignore[no-untyped-call]
    ingredients = Ingredients()
    alone = [replace(request, runs=tmp_path / "alone") for request in requests]
    run(alone[0], QUIET, ingredients)
    started = time.perf_counter()
    for request in alone[1:]:
        run(request, QUIET, ingredients)
    serial = 1e3 * (time.perf_counter() - started) / (count - 1)
    # From the first to the last: the worker's own start is paid once, however many cells there are.
    swept = 1e3 * (finished[-1] - finished[0]) / (count - 1)
    benchmark.extra_info |= {"milliseconds": round(swept, 2), "milliseconds alone": round(serial, 2)}
    assert len(read_index(trivial.runs)) == count
    if benchmark.enabled:
        assert swept - serial < CELL_MS
