"""``bench reproduce``: a published table, ours beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import DatasetOptions, Device, Json, Quiet, Runs, Seed, Workers, continuable
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
    from collections.abc import Mapping

    from bench.engines import Engine
    from bench.opening import DatasetRequest
    from bench.progress import Progress
    from bench.reproduction import Found, Outcome, Runner
    from bench.run_request import RunRequest
    from bench.sweep_plan import SweepPlan
    from bench.table_plan import Plan
    from bench.tables import Cell


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="E.g. lead2022:table5; see: bench list tables.")
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="NAME:FOLDER of a data set of the table; may be given several times. One that is none of the "
            "table's, e.g. synthetic-faces, stands in for those not given.",
        ),
    ] = None,
    dataset_options: DatasetOptions = None,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="NAME=PATH",
            help="Weights that the table needs, by their name there.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="METHOD", help="Only the rows of this method.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="paper, or quick: shorter, and no longer comparable.")
    ] = "paper",
    pretraining: Annotated[
        str | None,
        typer.Option(
            "--pretrain",
            metavar="PRESET",
            help="Train the weights that are not given: paper, small or tiny. On procedural data that is done "
            "anyway, by the method's default preset.",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    seed: Seed = 0,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once; does not change a result.")] = 64,
    workers: Workers = 0,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="local: processes of this machine; ray: a Ray cluster. Without it, --jobs and limits: one by one."
        ),
    ] = None,
    jobs: Jobs = None,
    address: Address = "auto",
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    memory: Memory = None,
    time_limit: TimeLimit = None,
    shard: ShardOption = None,
    max_failures: MaxFailures = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is missing and what would run.")
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce a published table: run what can be run, and print ours beside the paper's.

    First says which data and weights are missing, and where they are had. A number is
    reproduced where it equals the printed one at its precision, or within the printed
    deviation or our interval; else it is off, or not comparable, and why. Records that
    are there are used again; runs that failed are tried again. -D options are those of every --dataset.

    Exit code 1 where a run failed.

    Examples:

      bench reproduce cheng2021:table2

      bench reproduce lead2022:table5 --dry-run

      bench reproduce lead2022:table5 -d aflw-m:data/aflw -c lead-64=lead.safetensors --only LEAD

      bench reproduce lead2022:table5 --dataset synthetic-faces --preset quick

      bench reproduce lead2022:table5 -d aflw-m:data/aflw -c lead-64=lead.safetensors --jobs 2
    """
    from bench.progress import Progress
    from bench.reproduction import reproduce as run_cells
    from bench.table_plan import ReproductionRequest, plan

    progress = Progress(quiet=quiet)
    request = ReproductionRequest(
        table=table,
        datasets=_datasets(datasets, dataset_options),
        checkpoints=_named_paths(checkpoints or []),
        preset=preset,
        pretraining=pretraining,
        only=tuple(only or ()),
        runs=runs,
        seed=seed,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    planned = plan(request, progress)
    if shard is not None:
        from bench.shard import Shard

        planned = planned.part(Shard.parse(shard))
    if json_output and dry_run:
        _print_json(_plan_content(planned))
        return
    if not json_output:
        from bench.cli.reproduce_tables import print_missing, print_plan

        print_missing(planned)
        if dry_run:
            print_plan(planned)
            return
    with continuable():
        runner = None
        if any(given is not None for given in (engine, jobs, memory, time_limit, max_failures)):
            name = engine or EngineName.LOCAL
            chosen = open_engine(name, jobs, limits_of(memory, time_limit), runs, address, cpus, gpus)
            elsewhere, show = name is EngineName.RAY, not json_output and not quiet
            runner = _sweeping(chosen, max_failures, progress, elsewhere=elsewhere, show=show)
        outcomes = run_cells(planned, request, progress, runner)
    if json_output:
        _print_json({**_plan_content(planned), "cells": [_outcome_content(one) for one in outcomes]})
    else:
        from bench.cli.reproduce_tables import print_outcomes

        print_outcomes(planned.table, outcomes)
    if any(outcome.verdict.kind == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _sweeping(
    engine: Engine, max_failures: int | None, progress: Progress, *, elsewhere: bool, show: bool
) -> Runner:
    """Runs the table's cells on an engine."""
    from bench.cli.sweep_tables import print_plan
    from bench.cli.sweep_view import open_view
    from bench.identity import Identities
    from bench.sweep import sweep_keyed

    def run(requests: Mapping[object, RunRequest]) -> Found:
        def shown(plan: SweepPlan) -> None:
            if show:
                print_plan(plan, engine.places)

        identities = Identities(progress, elsewhere=elsewhere)
        with open_view(progress) as view:
            return sweep_keyed(
                requests, engine, identities, shown, progress.say, max_failures=max_failures, view=view
            )

    return run


def _datasets(specs: list[str] | None, options: list[str] | None) -> tuple[DatasetRequest, ...]:
    from bench.opening import DatasetRequest

    if options and not specs:
        raise BenchError("-D options were given, and no --dataset that they are of")
    return tuple(DatasetRequest(spec, tuple(options or ())) for spec in specs or ())


def _named_paths(items: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or not name.strip() or not path.strip():
            raise BenchError(
                f"--checkpoint {item!r} is not of the form NAME=PATH",
                hint="The names of the weights that a table needs: bench reproduce TABLE --dry-run.",
            )
        if name.strip() in found:
            raise BenchError(f"weights {name.strip()!r} are given twice")
        found[name.strip()] = Path(path.strip())
    return found


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2, allow_nan=False))


def _plan_content(planned: Plan) -> dict[str, Any]:
    return {
        "table": planned.table.name,
        "summary": planned.table.summary,
        "missing": [
            {"kind": need.kind, "name": need.name, "cells": count, "advice": list(need.advice)}
            for need, count in planned.missing.items()
        ],
        "runs": planned.runs,
        "trainings": [training.name for training in planned.trainings],
        "cells": [
            {
                **_cell_content(one.cell),
                "runs": one.request is not None,
                "missing": [f"{need.kind} {need.name}" for need in one.missing],
                "not_comparable": list(one.barriers),
            }
            for one in planned.cells
        ],
    }


def _outcome_content(outcome: Outcome) -> dict[str, Any]:
    ours = outcome.ours
    return {
        **_cell_content(outcome.cell),
        "ours": None
        if ours is None
        else {"value": ours.value, "low": ours.low, "high": ours.high, "std": ours.std},
        "verdict": outcome.verdict.kind,
        "difference": outcome.verdict.difference,
        "reasons": list(outcome.verdict.reasons),
        "record": outcome.record,
    }


def _cell_content(cell: Cell) -> dict[str, Any]:
    return {
        "row": cell.row,
        "column": cell.column,
        "method": cell.method,
        "published": cell.value or None,
        "published_std": cell.std or None,
        "notes": list(cell.notes),
    }
