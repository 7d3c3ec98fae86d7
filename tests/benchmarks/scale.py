"""Writes the page on what the tables of all papers cost on many GPUs.

pytest tests/benchmarks/test_sweep_overhead.py --benchmark-enable --benchmark-json=sweep.json
python -m tests.benchmarks.scale sweep.json > docs/scale.md
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.tables import Table, all_tables
from tests.benchmarks.scale_time import (
    GPU,
    Job,
    Rates,
    jobs,
    longest_chains,
    measured_rates,
    measured_trainings,
    spread,
)
from tests.benchmarks.scale_work import PRETRAINING_IMAGES, Run, network_of, runs

GPUS = (1, 8, 64)
SEEDS = (1, 3)

_INTRODUCTION = """\
# What the tables of all papers cost

Made by `python -m tests.benchmarks.scale`; not edited by hand. **On paper: no GPU was measured.** What there is to
compute is counted, unit costs on a processor are measured, and those of a GPU are assumed and stated. Change the
assumptions in `tests/benchmarks/scale_time.py` and run it again.

The grid is that of `bench list tables`: every number of the five papers that a method of ours gives, on all their sets,
with weights trained as the papers say. Draws of annotated images (3 to 10) are inside a run. "Seeds" are root seeds:
each repeats all runs, on the same weights and features.
"""

_COUNTED = """\
Forward passes are counted operator by operator (`torch.utils.flop_counter`), a backward pass as two forward ones.
BYOL is 8 forward passes an image, MoCo 4, LEAD's second stage 4, DVE and Thewlis 6. Regressors are counted as they
run here: products at native resolution, forward and gradient, and the soft-argmax of 50 maps a landmark. Losses other
than DVE's, warps, image decoding and checkpoints are not counted. Images for pre-training: {images}.
"""

_MEASURED = """\
Evaluation, on one core of an AMD EPYC: networks at 72 GFLOP/s (48 images of 96 pixels a second through ResNet-50), and
from docs/performance.md products of regressors at 62 ps (4 FLOP), 3.4 ns a cell of a soft-argmax. Pre-training, from
the times of the weights that ship (bfloat16, 2 cores that other work shared):
"""

_ASSUMED = """\
A GPU is assumed to reach 60 TFLOP/s in bfloat16 training (one that trains ResNet-50 at 224 pixels on 2,400 images a
second), 8 TFLOP/s in the networks and 4 TFLOP/s in the regressors of an evaluation (float32: TF32 is off), 25 cells of
a soft-argmax a nanosecond (limited by its memory), no more than 300 optimiser steps a second, features read at 1 GB/s,
and 10 s for each job to start. Every job is on one GPU.
"""


def main() -> None:
    found = runs()
    per_seed = {seeds: jobs(found, seeds) for seeds in SEEDS}
    images = ", ".join(f"{name} {count:,}" for name, count in PRETRAINING_IMAGES.items())
    print(_INTRODUCTION)
    print("## What there is\n")
    print(table(papers(found)) + "\n")
    print(filled(_COUNTED.format(images=images)))
    print("## Unit costs\n")
    print(_MEASURED)
    print(table([shipped_row(one) for one in measured_trainings()]) + "\n")
    print(_ASSUMED)
    print("## Work\n")
    print(table(by_kind(per_seed[1])) + "\n")
    print("## On 1, 8 and 64 GPUs\n")
    print(table([scaled(seeds, per_seed[seeds]) for seeds in SEEDS]) + "\n")
    print(filled(saturation(per_seed)))
    print("## If the assumptions are wrong\n")
    print(f"Hours for {SEEDS[-1]} seeds, with one rate at a time at half of what is assumed.\n")
    print(table(halved(per_seed[SEEDS[-1]])) + "\n")
    print("## Features\n")
    print(filled(features(found)))
    if len(sys.argv) > 1:
        print("## The sweep itself\n")
        print(filled(overhead(json.loads(Path(sys.argv[1]).read_text()))))


def table(rows: Sequence[dict[str, Any]]) -> str:
    return str(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))


def filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"


def papers(found: Sequence[Run]) -> list[dict[str, str]]:
    rows, every = [], list(all_tables())
    for paper in dict.fromkeys(one.name.partition(":")[0] for one in every):
        own = [one for one in every if one.name.startswith(f"{paper}:")]
        part = [run for run in found if paper in run.papers]
        rows.append(_row(paper, own, part))
    return [*rows, _row("all, shared ones once", every, found)]


def _row(name: str, tables: Sequence[Table], part: Sequence[Run]) -> dict[str, str]:
    trained = {one.name for run in part if run.weights for one in run.weights.chain}
    cells = [cell for one in tables for cell in one.cells]
    counts = {
        "tables": len(tables),
        "numbers": len(cells),
        "of our methods": sum(cell.run is not None for cell in cells),
        "different runs": len(part),
        "trainings": len(trained),
    }
    return {"paper": name} | {key: str(count) for key, count in counts.items()}


def shipped_row(one: Any) -> dict[str, str]:
    return {
        "training": f"{one.method}, {one.preset}",
        "PFLOP": f"{one.flops / 1e15:.2f}",
        "s": f"{one.seconds:.0f}",
        "GFLOP/s": f"{one.rate / 1e9:.0f}",
    }


def by_kind(found: Sequence[Job]) -> list[dict[str, str]]:
    machine = measured_rates()
    rows = []
    for kind, count in Counter(job.kind for job in found).items():
        rows.append(_work(kind, count, [job for job in found if job.kind == kind], machine))
    return [*rows, _work("all", len(found), found, machine)]


def _work(kind: str, count: int, part: Sequence[Job], machine: Rates) -> dict[str, str]:
    flops = sum(job.work.network + job.work.training + job.work.head for job in part)
    return {
        "what": kind,
        "jobs": str(count),
        "PFLOP": f"{flops / 1e15:,.1f}",
        "hours here": hours(sum(map(machine.seconds, part))),
        "GPU hours": hours(sum(map(GPU.seconds, part))),
        "longest, GPU hours": hours(max(map(GPU.seconds, part))),
    }


def scaled(seeds: int, found: Sequence[Job]) -> dict[str, str]:
    whole = sum(map(GPU.seconds, found))
    row = {"seeds": str(seeds), "jobs": f"{len(found):,}", "GPU hours": hours(whole)}
    for count in GPUS:
        wall = spread(found, GPU, count)
        row[f"{count} GPU{'s' if count > 1 else ''}, hours"] = (
            f"{hours(wall)} ({whole / wall / count:.0%} busy)"
        )
    return row


def saturation(per_seed: dict[int, list[Job]]) -> str:
    row = longest_row(per_seed[SEEDS[-1]])
    steps = ", ".join(
        f"{job.kind}{f' (`{job.name}`)' if job.kind == 'pre-training' else ''} {hours(GPU.seconds(job))} h"
        for job in row
    )
    whole = sum(map(GPU.seconds, row))
    ends = ", ".join(
        f"{sum(map(GPU.seconds, found)) / whole:.0f} GPUs for {seeds} seed{'s' if seeds > 1 else ''}"
        for seeds, found in per_seed.items()
    )
    return (
        f"No number of GPUs makes it shorter than {hours(whole)} hours, the longest row of jobs that wait for one "
        f"another: {steps}. So it saturates at about {ends}. More seeds use more GPUs; to be done sooner, a training "
        "has to be spread over several GPUs, and a few-shot run cut into one for each count of annotations.\n"
    )


def longest_row(found: Sequence[Job]) -> list[Job]:
    """Jobs that wait for one another, and take longest together."""
    chains = longest_chains(found, {job.name: GPU.seconds(job) for job in found})
    row = [max(found, key=lambda job: chains[job.name])]
    while after := [job for job in found if row[-1].name in job.after]:
        row.append(max(after, key=lambda job: chains[job.name]))
    return row


def halved(found: Sequence[Job]) -> list[dict[str, str]]:
    changes = {
        "as assumed": GPU,
        "bfloat16 training": replace(GPU, training={key: rate / 2 for key, rate in GPU.training.items()}),
        "float32 networks": replace(GPU, network=GPU.network / 2),
        "regressors": replace(GPU, head=GPU.head / 2, soft_argmax=GPU.soft_argmax / 2),
        "steps a second": replace(GPU, steps=GPU.steps / 2),
        "reading of features": replace(GPU, bytes_read=GPU.bytes_read / 2),
    }
    return [
        {"half of": name, "GPU hours": hours(sum(map(rates.seconds, found)))}
        | {f"{count} GPU{'s' if count > 1 else ''}": hours(spread(found, rates, count)) for count in GPUS}
        for name, rates in changes.items()
    ]


def features(found: Sequence[Run]) -> str:
    every = jobs(found, 1)
    reads = [job for job in every if job.work.bytes_read]
    kept = {job.after: job.work.bytes_read for job in reads}
    three = jobs(found, SEEDS[-1])
    read = sum(job.work.bytes_read for job in three)
    rate = read / spread(three, GPU, GPUS[-1])
    largest = max(network_of(run).numbers for run in found if run.dataset)
    return (
        f"{len(kept)} sets of features are kept, {sum(kept.values()) / 1e12:.2f} TB in all; the largest network gives "
        f"{4 * largest / 1e6:.1f} MB an image, and the largest set takes {max(kept.values()) / 1e9:.0f} GB. So raise "
        "`BENCH_FEATURE_CACHE_LIMIT` (20GB unless set) on a cluster, or sets push one another out and are extracted "
        f"again. {SEEDS[-1]} seeds read {read / 1e12:.1f} TB, each set at least once a run: on {GPUS[-1]} GPUs "
        f"{rate / 1e9:.2f} GB/s from the shared folder, averaged over the whole. Epochs after the first read it again "
        "where a set does not fit into main memory.\n"
    )


def overhead(measured: dict[str, Any]) -> str:
    said = {one["name"]: one for one in measured["benchmarks"]}
    planned = said["test_a_plan_of_cells_of_which_most_are_done"]
    ran = said["test_many_cells_that_do_nothing"]
    info, cells = planned["extra_info"], ran["extra_info"]
    return (
        f"Measured on {measured['machine_info']['cpu']['brand_raw']}, 2 cores that other work shared. A plan of "
        f"{info['cells']:,} cells, 99 % of which are done, takes {planned['stats']['median']:.1f} s, and "
        f"{info['seconds without an index']:.0f} s the first time, when every record is read. A cell that does nothing "
        f"takes {cells['milliseconds']:.1f} ms of a local sweep with one worker, and {cells['milliseconds alone']:.1f} "
        "ms one after the other in one process: the engine adds no more than the noise of the machine. So plans and "
        "records are nowhere near where this saturates: one driver could feed thousands of GPUs with jobs of minutes.\n"
    )


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f}" if seconds < 360_000 else f"{seconds / 3600:,.0f}"


if __name__ == "__main__":
    main()
