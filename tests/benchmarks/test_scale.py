"""The arithmetic behind the page on what all tables cost, by hand."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.scale_time import Job, Rates, longest_chains, spread
from tests.benchmarks.scale_work import Work, reading, run_work, runs, training_work

RATES = Rates(
    network=1.0,
    training={"": 10.0},
    head=1.0,
    soft_argmax=1.0,
    steps=2.0,
    bytes_read=4.0,
    seconds_per_job=1.0,
)
"""A training of 40 takes 4 + 1 seconds."""

TRAINED = Job("a", "pre-training", "lead", Work(training=40))
JOBS = [
    TRAINED,
    Job("b", "features", "lead", Work(network=1), ("a",)),
    Job("c", "regression", "lead", Work(head=2), ("b",)),
    *(Job(f"d{number}", "matching", "lead", Work(network=2)) for number in range(3)),
]


def test_a_job_takes_its_work_or_its_steps_and_what_it_reads() -> None:
    assert RATES.seconds(TRAINED) == 5
    assert RATES.seconds(Job("x", "", "", Work(head=1, soft_argmax=2, steps=4, bytes_read=8))) == 3 + 2 + 1
    assert RATES.seconds(Job("x", "", "", Work(head=1, steps=8))) == 4 + 1


def test_jobs_wait_for_what_they_need() -> None:
    seconds = {job.name: RATES.seconds(job) for job in JOBS}
    assert longest_chains(JOBS, seconds) == {"a": 10, "b": 5, "c": 3, "d0": 3, "d1": 3, "d2": 3}
    # 19 seconds of work. On two: a, b and c in a row beside d0, d1 and d2.
    assert [spread(JOBS, RATES, places) for places in (1, 2, 3, 64)] == [19, 10, 10, 10]


def test_a_network_is_counted_as_it_is_known() -> None:
    """ResNet-50 at 96 pixels: 0.75 G multiply-accumulates; its hypercolumn has 276,480 numbers."""
    found = reading("contrast", "{}", 96)
    assert found.flops == pytest.approx(1.5e9, rel=0.01)
    assert (found.numbers, found.dim, found.cells) == (276_480, 3840, 48 * 48)


def test_every_run_and_every_training_has_its_work() -> None:
    found = runs()
    assert len({repr(run.request) for run in found}) == len(found) > 300
    regressions = [run for run in found if run.request.protocol == "regression" and run.dataset == "300w"]
    work, features = run_work(regressions[0])
    assert work.head > 0
    assert features > 0
    recipe = type(
        "Recipe", (), {"image_size": 80, "margin": 0, "epochs": 2, "final_epochs": 1, "batch_size": 8}
    )
    options = json.dumps({"landmarks": 30})
    trained = training_work("thewlis", options, recipe, 100)
    assert trained.training == 6 * 3 * 100 * reading("thewlis", options, 80).flops
    assert trained.steps == 100 * 3 / 8
