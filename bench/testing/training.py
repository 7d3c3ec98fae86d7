"""Checks of pre-training: what it leaves behind, and what seeds, interruptions and given weights do to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.seeds import seeded_initialisation
from bench.testing.rehearsal import PROVENANCE, SEED, Rehearsal, Rehearsed
from bench.testing.subject import Subject, require
from bench.weights import Weights, load_into, read_weights, save_weights

_COLUMNS = ("stage", "step", "loss")


def training_writes_weights(subject: Subject) -> None:
    """``pretrain`` returns weights.safetensors in its folder, which loads into the network and says its origin."""
    trained = _rehearsed(subject)
    require(
        trained.path == Path("weights.safetensors"),
        got=f"weights at {trained.path}",
        expected="weights.safetensors in job.output, where a finished training is looked for",
        remedy="write them there, with bench.weights.save_weights, and return that path",
    )
    weights = trained.weights
    asked = subject.options.model_dump(mode="json")
    require(
        weights.method == subject.method.name and weights.options == asked,
        got=f"weights of method {weights.method!r} with options {weights.options}",
        expected=f"method {subject.method.name!r} with options {asked}",
        remedy="hand save_weights the method's name and job.options.model_dump(mode='json')",
    )
    lost = [key for key, value in PROVENANCE.items() if weights.provenance.get(key) != value]
    require(
        not lost,
        got=f"provenance {weights.provenance}",
        expected=f"all of job.provenance; missing or changed: {', '.join(lost)}",
        remedy="hand save_weights provenance={**job.provenance, ...}",
    )
    load_into(subject.build(), weights)


def training_keeps_a_log(subject: Subject) -> None:
    """log.csv holds the finite loss of every step of every stage, and steps are reported to ``job.progress``."""
    trained = _rehearsed(subject)
    require(
        bool(trained.log) and all(name in trained.log[0] for name in _COLUMNS),
        got=f"log.csv with columns {', '.join(trained.log[0])}"
        if trained.log
        else "no log.csv, or an empty one",
        expected=f"columns {', '.join(_COLUMNS)} and whatever else is worth a curve",
        remedy="train with bench.training.run_stage, which writes it, or write it in job.output",
    )
    losses = [float(row["loss"]) for row in trained.log]
    require(
        all(map(math.isfinite, losses)),
        got=f"losses {losses[:3]} ...",
        expected="finite losses",
        remedy="stop with a BenchError where a loss is not finite; here the recipe may be too wild",
    )
    logged: dict[str, list[int]] = {}
    for row in trained.log:
        logged.setdefault(row["stage"], []).append(int(row["step"]))
    require(
        all(steps == list(range(1, len(steps) + 1)) for steps in logged.values()),
        got=f"steps {logged}",
        expected="1, 2, 3, ... in every stage",
        remedy="log every step once, the first as 1",
    )
    require(
        sum(trained.steps.values()) >= len(trained.log),
        got=f"{sum(trained.steps.values())} steps reported, {len(trained.log)} logged",
        expected="every step reported: people wait for it",
        remedy="call advance() of job.progress.task(...) once a step",
    )


def training_changes_the_network(subject: Subject) -> None:
    """Training moves parameters of the network away from the initial weights of the job's seed."""
    trained = _rehearsed(subject).weights
    with seeded_initialisation(SEED, "initial weights"):
        initial = subject.method().build(subject.options)
    moved = [
        name
        for name, value in initial.named_parameters()
        if name in trained.tensors and not torch.equal(value.cpu(), trained.tensors[name])
    ]
    require(
        bool(moved),
        got="the parameters of the initial network",
        expected="at least one that training has moved",
        remedy="hand the parameters of the network that is saved to the optimiser",
    )


def training_is_deterministic(subject: Subject) -> None:
    """The seed decides the weights to the bit, whatever torch's global generator does, and another gives others."""
    first = _rehearsed(subject)
    again, other = _run(subject, global_seed=1), _run(subject, seed=SEED + 1)
    changed = _different(first.weights.tensors, again.weights.tensors)
    require(
        not changed and _curve(first) == _curve(again),
        got=f"a second training of the same job differs in {', '.join(changed[:3]) or 'its losses'}",
        expected="equal weights and losses",
        remedy="draw from the generator of the step and build modules under bench.seeds.seeded_initialisation",
    )
    require(
        bool(_different(first.weights.tensors, other.weights.tensors)),
        got=f"equal weights for the seeds {SEED} and {SEED + 1}",
        expected="other weights: error bars come from other seeds",
        remedy="derive initial weights and draws from job.seed",
    )


def training_resumes(subject: Subject) -> None:
    """A training that is killed within each stage and started again continues, and ends as the undisturbed one."""
    undisturbed = _rehearsed(subject)
    # Two steps in, a checkpoint of the first one is there; the second step is lost and done again.
    stops = [(task, math.ceil(steps / 2) + 1) for task, steps in undisturbed.steps.items() if steps > 2]
    require(
        bool(stops),
        got=f"trainings of {undisturbed.steps or 'no'} steps",
        expected="a stage of at least 3 steps that are reported to job.progress",
        remedy="give the checks a longer recipe, and call advance() of job.progress.task(...) once a step",
    )
    rehearsal, done = _rehearsal(subject), 0
    with TemporaryDirectory() as folder:
        for stop in stops:
            steps = rehearsal.run_until(Path(folder), stop, checkpoint_seconds=-1.0)
            if steps is None:
                break
            done += sum(steps.values())
        resumed = rehearsal.run(Path(folder), global_seed=1, checkpoint_seconds=-1.0)
    done += sum(resumed.steps.values())
    again = done - sum(undisturbed.steps.values())
    require(
        again <= len(stops),
        got=f"{again} steps done a second time after {len(stops)} interruptions",
        expected="one at most for each: with checkpoint_seconds < 0 a checkpoint follows every step",
        remedy="save after a step once job.checkpoint_seconds have passed since the last time, and load at the start",
    )
    changed = _different(undisturbed.weights.tensors, resumed.weights.tensors)
    require(
        not changed,
        got=f"other weights than of an undisturbed training: {', '.join(changed[:3])}",
        expected="the same to the bit",
        remedy="keep all that a step changes (queues, averages, heads, moments) in the checkpoint, and seed the draws "
        "of a step by its number",
    )
    require(
        _curve(undisturbed) == _curve(resumed),
        got=f"a log of {len(resumed.log)} rows that differs from the undisturbed one of {len(undisturbed.log)}",
        expected="the same rows",
        remedy="drop rows after the checkpoint when a training continues",
    )


def training_starts_from_given_weights(subject: Subject) -> None:
    """``job.initial`` is where the training starts, or is refused with a BenchError; it is never ignored."""
    _require_trainable(subject)
    given = _given_weights(subject)
    try:
        with TemporaryDirectory() as folder:
            tuned = _rehearsal(subject).run(Path(folder), initial=given).weights
    except BenchError:
        return
    require(
        bool(_different(_rehearsed(subject).weights.tensors, tuned.tensors)),
        got="the same weights with and without job.initial",
        expected="a training that starts from the weights it is given",
        remedy="build the network by bench.training.initial_network, or load job.initial with load_into",
    )


def training_needs_images(subject: Subject) -> None:
    """A single image is answered with a BenchError."""
    _require_trainable(subject)
    rehearsal = _rehearsal(subject)
    with TemporaryDirectory() as folder:
        whole = rehearsal.job(Path(folder))
        try:
            rehearsal.run(Path(folder), images=whole.images[:1])
        except BenchError:
            return
    require(
        False,
        got="weights trained on one image",
        expected="a BenchError",
        remedy="refuse fewer than 2 images, or those that a step of the recipe needs",
    )


def training_is_refused(subject: Subject) -> None:
    """A method without presets answers ``pretrain`` with a BenchError."""
    if subject.method.presets:
        raise SkipTest("the method trains")
    with TemporaryDirectory() as folder:
        try:
            subject.method().pretrain(_rehearsal(subject).job(Path(folder)))
        except BenchError:
            return
    require(
        False,
        got="a training of a method that has no presets",
        expected="a BenchError, or presets",
        remedy="declare the presets of the training, or leave pretrain as Method has it",
    )


CHECKS = (
    training_writes_weights,
    training_keeps_a_log,
    training_changes_the_network,
    training_is_deterministic,
    training_resumes,
    training_starts_from_given_weights,
    training_needs_images,
    training_is_refused,
)


def _require_trainable(subject: Subject) -> None:
    if not subject.method.presets:
        raise SkipTest("the method is not trained")
    if subject.given_recipe is None:
        raise SkipTest("no recipe was given to train with")


def _rehearsal(subject: Subject) -> Rehearsal:
    return Rehearsal(subject.method, subject.options, subject.recipe)


def _run(subject: Subject, **changes: int) -> Rehearsed:
    with TemporaryDirectory() as folder:
        return _rehearsal(subject).run(Path(folder), **changes)


def _rehearsed(subject: Subject) -> Rehearsed:
    """The undisturbed training, which is run once for all checks."""
    _require_trainable(subject)
    if subject.rehearsed is None:
        subject.rehearsed = _run(subject)
    return subject.rehearsed


def _given_weights(subject: Subject) -> Weights:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        options = subject.options.model_dump(mode="json")
        save_weights(path, subject.build(seed=1), method=subject.name, options=options, provenance={})
        return read_weights(path)


def _curve(trained: Rehearsed) -> list[tuple[str | None, ...]]:
    return [tuple(row.get(name) for name in _COLUMNS) for row in trained.log]


def _different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same to the bit."""
    names = sorted(one.keys() | other.keys())
    return [
        name
        for name in names
        if name not in one or name not in other or not torch.equal(one[name], other[name])
    ]
