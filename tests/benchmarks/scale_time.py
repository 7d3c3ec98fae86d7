"""From counted work to time: unit costs that are measured or assumed, and jobs spread over many places."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import methods
from bench.opening import load_method
from bench.shipped import read_manifest
from bench.tables import Training
from tests.benchmarks.scale_work import (
    PRETRAINING_IMAGES,
    Run,
    Work,
    run_work,
    training_job,
    training_work,
)


@dataclass(frozen=True)
class Rates:
    """Of one place where a job runs: FLOP, cells, steps and bytes per second.

    Attributes:
        training: By method; empty: of any.
    """

    network: float
    training: Mapping[str, float]
    head: float
    soft_argmax: float
    steps: float
    bytes_read: float
    seconds_per_job: float

    def seconds(self, job: Job) -> float:
        work = job.work
        training = self.training.get(job.method, self.training.get("", math.inf))
        busy = (
            work.network / self.network
            + work.training / training
            + work.head / self.head
            + work.soft_argmax / self.soft_argmax
        )
        return max(busy, work.steps / self.steps) + work.bytes_read / self.bytes_read + self.seconds_per_job


GPU = Rates(
    network=8e12,
    training={"": 60e12},
    head=4e12,
    soft_argmax=2.5e10,
    steps=300.0,
    bytes_read=1e9,
    seconds_per_job=10.0,
)
"""Assumed; the page says why."""


def measured_rates() -> Rates:
    """The unit costs of docs/performance.md, on one core; of trainings those of the weights that ship."""
    return Rates(
        network=72e9,  # 48 images a second through a ResNet-50 of 1.5 GFLOP
        training={one.method: one.rate for one in measured_trainings()},
        head=4 / 62e-12,
        soft_argmax=1 / 3.4e-9,
        steps=1e9,  # of an optimiser: in the above
        bytes_read=1.1e6 * 32 / 19e-3,  # 32 images of 1.1 MB in 19 ms
        seconds_per_job=6.0,
    )


@dataclass(frozen=True)
class Job:
    """What one place does at a time, when what it waits for is done."""

    name: str
    kind: str
    method: str
    work: Work
    after: tuple[str, ...] = ()


def jobs(found: Sequence[Run], seeds: int) -> list[Job]:
    """Trainings, features of whole splits, and runs; a run is done once for each seed."""
    done: dict[str, Job] = {}
    for run in found:
        before: tuple[str, ...] = ()
        for training in run.weights.chain if run.weights else ():
            done.setdefault(training.name, _training(training))
            before = (training.name,)
        work, features = run_work(run)
        if features:
            request = run.request
            network = (before, request.method, request.method_options, request.preprocessing)
            name = f"features {run.dataset} {network}"
            done.setdefault(name, Job(name, "features", request.method, Work(network=features), before))
            before = (name,)
        for seed in range(seeds):
            name = f"{run.request} seed {seed}"
            done[name] = Job(name, run.request.protocol, run.request.method, work, before)
    return list(done.values())


def _training(training: Training) -> Job:
    options, recipe = training_job(training)
    images = PRETRAINING_IMAGES[training.dataset] * training.share
    before = (training.initial.name,) if training.initial else ()
    work = training_work(training.method, options, recipe, images)
    return Job(training.name, "pre-training", training.method, work, before)


def spread(found: Sequence[Job], rates: Rates, places: int) -> float:
    """Seconds until all is done where each free place takes the job behind which most is waiting."""
    seconds = {job.name: rates.seconds(job) for job in found}
    chains = longest_chains(found, seconds)
    waiting = {job.name: len(job.after) for job in found}
    next_ones: dict[str, list[str]] = {}
    for job in found:
        for name in job.after:
            next_ones.setdefault(name, []).append(job.name)
    ready = [(-chains[name], name) for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < places:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[name], name))
        now, ended = heapq.heappop(running)
        for name in next_ones.get(ended, ()):
            waiting[name] -= 1
            if waiting[name] == 0:
                heapq.heappush(ready, (-chains[name], name))
    return now


def longest_chains(found: Sequence[Job], seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of each job and of the longest row of jobs that wait for one another after it."""
    chains = dict(seconds)
    # Jobs stand after what they wait for.
    for job in reversed(found):
        for name in job.after:
            chains[name] = max(chains[name], seconds[name] + chains[job.name])
    return chains


@dataclass(frozen=True)
class MeasuredTraining:
    """Of weights that ship."""

    method: str
    preset: str
    flops: float
    seconds: float

    @property
    def rate(self) -> float:
        return self.flops / self.seconds


def measured_trainings() -> list[MeasuredTraining]:
    found = []
    for entry in read_manifest(Path(methods.__file__).parent / "weights").weights:
        recipe, images = load_method(entry.method).Recipe(**entry.recipe), float(entry.images)
        work = training_work(entry.method, json.dumps(entry.options), recipe, images)
        found.append(MeasuredTraining(entry.method, entry.preset, work.training, entry.seconds))
    return found
