"""``bench sweep``: many cells, on this machine or on a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import Device, Json, Quiet, Runs, continuable
from bench.cli.engine_options import (
    Address,
    Cpus,
    EngineName,
    Gpus,
    Jobs,
    MaxFailures,
    Memory,
    ShardOption,
    TimeLimit,
    limits_of,
    open_engine,
)
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.engines import Engine
    from bench.identity import Identities
    from bench.progress import Progress
    from bench.sweep import SweepState
    from bench.sweep_plan import SweepPlan


def sweep(
    grid: Annotated[
        Path | None, typer.Argument(metavar="GRID.TOML", help="Which cells; see the example below.")
    ] = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    engine: Annotated[
        EngineName, typer.Option(help="local: processes of this machine; ray: a Ray cluster.")
    ] = EngineName.LOCAL,
    jobs: Jobs = None,
    address: Address = "auto",
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    memory: Memory = None,
    time_limit: TimeLimit = None,
    shard: ShardOption = None,
    max_failures: MaxFailures = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also run cells that failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say how far the sweeps on --runs are; runs nothing.")
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every cell of a grid: methods x weights x data sets x protocols x seeds.

    Prints a plan and runs it; cells whose records are there are not run again.
    A cell that fails, hangs past --time-limit or takes too much memory becomes
    a failed record, and the others go on. The same command continues after
    whatever stopped it.

    Exit code 1 where a cell failed.

    A grid:

      protocols = ["matching", { name = "fewshot", options = { draws = 5 } }]

      seeds = [0, 1, 2]

      datasets = [{ name = "coco:faces", options = { landmarks = 68 } }]

      methods = ["lead", { name = "dve", weights = ["a.safetensors"] }]

      exclude = [{ method = "dve", seed = [1, 2] }]

    Weights are files, "default", { shipped = "PRESET" }, or { like = "FILE" }:
    the network of a file without its weights. docs/cluster.md has more.

    Examples:

      bench sweep grid.toml --dry-run

      bench sweep grid.toml --jobs 2 --time-limit 3600

      bench sweep grid.toml --shard 3/8

      bench sweep grid.toml --engine ray --gpus 1

      bench sweep grid.toml --status
    """
    from bench.progress import Progress

    progress = Progress(quiet=quiet)
    if status:
        _print_status(grid, runs, device, json_output)
        return
    if grid is None:
        raise BenchError("no grid was given", hint="For example: bench sweep grid.toml --dry-run.")
    from bench.cli.sweep_tables import plan_content, print_plan
    from bench.grid import read_grid
    from bench.identity import Identities
    from bench.shard import Shard
    from bench.sweep_plan import plan_sweep

    requests = [cell.request for cell in read_grid(grid, runs=runs, device=device)]
    identities = Identities(progress, elsewhere=engine is EngineName.RAY)
    part = Shard.parse(shard) if shard else None
    plan = plan_sweep(requests, identities, retry=retry, shard=part)
    places = jobs or 1
    if not json_output and not quiet:
        print_plan(plan, places)
    if dry_run:
        if json_output:
            print(json.dumps(plan_content(plan, places), indent=2))
        return
    with continuable():
        from bench.sweep import settle_weights

        if settle_weights(plan, identities, progress.say):
            plan = plan_sweep(requests, identities, retry=retry, shard=part)
        chosen = open_engine(engine, jobs, limits_of(memory, time_limit), runs, address, cpus, gpus)
        state = _run(plan, chosen, identities, max_failures, progress)
    if json_output:
        failures = [{"cell": label, "reason": reason} for label, reason in state.failures]
        content = {"done": state.done, "failed": failures, "plan": plan_content(plan, places)}
        print(json.dumps(content, indent=2))
    if state.failures:
        raise typer.Exit(1)


def _run(
    plan: SweepPlan,
    engine: Engine,
    identities: Identities,
    max_failures: int | None,
    progress: Progress,
) -> SweepState:
    from bench.cli.sweep_view import open_view
    from bench.sweep import run_sweep

    with open_view(progress) as view:
        state = run_sweep(plan, engine, identities, max_failures=max_failures, view=view)
    failed = f", [red]{len(state.failures)} failed[/red]" if state.failures else ""
    reused = f" ({state.reused} by another sweep meanwhile)" if state.reused else ""
    progress.say(f"{state.done} cells done{reused}{failed}")
    return state


def _print_status(grid: Path | None, runs: Path, device: str, json_output: bool) -> None:
    from bench.cli.sweep_tables import plan_content, print_plan, print_sweeps
    from bench.record_index import read_index
    from bench.sweep_notice import read_drivers

    plan = None
    if grid is not None:
        from bench.grid import read_grid
        from bench.identity import Identities
        from bench.progress import Progress
        from bench.sweep_plan import plan_sweep

        requests = [cell.request for cell in read_grid(grid, runs=runs, device=device)]
        plan = plan_sweep(requests, Identities(Progress.silent(), elsewhere=True))
    index = read_index(runs)
    failed = sum(entry.status == "failed" for entry in index.values())
    sweeps = read_drivers(runs)  # last: they go on while the plan is made
    if json_output:
        content = {
            "records": len(index) - failed,
            "failed": failed,
            "sweeps": sweeps,
            "plan": None if plan is None else plan_content(plan, 1),
        }
        print(json.dumps(content, indent=2))
        return
    print(f"{runs}: {len(index) - failed} records, {failed} failed")
    if plan is not None:
        print_plan(plan, 1)
    print_sweeps(sweeps)
