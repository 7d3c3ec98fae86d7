"""The training loop that all methods share: batches, schedule, log, checkpoints, resumption.

A training consists of stages. A stage is deterministic: the order of the images is drawn per epoch and every
random choice of a step is seeded by the step, so a run that was killed and started again gives the weights of an
undisturbed one. Neither depends on the number of processes.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from bench.distributed import process_count, process_rank
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.method import Annotations, PretrainJob
from bench.precision import autocast, gradient_scaler
from bench.seeds import derive_seed, seeded_initialisation, torch_generator
from bench.sharing import add_gradients, copy_from_main, gathered_numbers, noticed_sharing
from bench.training_record import Keeper
from bench.weights import load_into, save_weights


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step sees, on the job's device.

    Shapes:
        images: (B, 3, S, S), float in [0, 1].
    """

    images: Tensor
    annotations: Annotations | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a recipe.

    Attributes:
        name: Unique within the job; names its files and seeds.
        modules: Everything whose state belongs to the stage (trained, averaged), by name.
        optimiser: Over the trained parameters.
        learning_rate: Of the step (0-based).
        losses: (batch, generator of the step) -> named scalars; the one called ``loss`` is minimised.
        after_step: Called with the number of finished steps, e.g. to update a moving average.
        export: Writes weights to a path; called at the end and for snapshots.
    """

    name: str
    modules: dict[str, nn.Module]
    optimiser: Optimizer
    steps: int
    batch_size: int
    learning_rate: Callable[[int], float]
    losses: Callable[[Batch, torch.Generator], Mapping[str, Tensor]]
    export: Callable[[Path, int], None]
    after_step: Callable[[int], None] = field(default=lambda _: None)


def initial_network(job: PretrainJob, build: Callable[[Any], FeatureExtractor]) -> Any:
    """The network at step 0: seeded initial weights, or those that the job starts from; on the job's device.

    ``random`` builds the same initial weights for the same seed.
    """
    with seeded_initialisation(job.seed, "initial weights"):
        network = build(job.options)
    if job.initial is not None:
        load_into(network, job.initial)
    return network.to(job.device)


def export_weights(
    job: PretrainJob, method: str, network: nn.Module, stage: str
) -> Callable[[Path, int], None]:
    """A stage's ``export``: writes the network with what produced it; of several processes, the first one does."""

    def export(path: Path, step: int) -> None:
        if process_rank() > 0:
            return
        provenance = {**job.provenance, "stage": stage, "step": step}
        save_weights(
            path, network, method=method, options=job.options.model_dump(mode="json"), provenance=provenance
        )

    return export


def steps_for(epochs: int, images: int, batch_size: int) -> int:
    """Whole batches only, as the papers' loaders drop the last incomplete one."""
    return epochs * max(1, images // batch_size)


def run_stage(job: PretrainJob, stage: Stage) -> None:
    """Run a stage to its end, from its last checkpoint where there is one.

    Several processes (``bench.distributed``) run it together; what a step computes does not depend on how many.

    Raises:
        BenchError: where the loss is no longer finite, or processes cannot share the work.
    """
    scaler = gradient_scaler(job.device, job.precision)
    keeper = Keeper(job, stage, scaler)
    step = keeper.first_step
    _start_together(job, stage, step)
    order = _Order(job, stage)
    with (
        _interrupts_between_steps() as interrupted,
        job.progress.task(stage.name, stage.steps, done=step) as task,
    ):
        while step < stage.steps:
            values, stopping = _one_step(job, stage, scaler, order.batch(step), step, interrupted)
            step += 1
            stage.after_step(step)
            keeper.add(step, values)
            task.advance(status=f"loss {values['loss']:.4f}")
            stopping = stopping or (process_count() == 1 and interrupted())
            if stopping or step == stage.steps:
                keeper.save(step)
            else:
                keeper.save_if_due(step)
            if stopping:
                # A launcher ends all processes once one is gone, so all wait for the file.
                gathered_numbers(step, job.device)
                raise KeyboardInterrupt


def _start_together(job: PretrainJob, stage: Stage, step: int) -> None:
    """Make sure that all processes start at the same step from the same weights."""
    if process_count() == 1:
        return
    steps = gathered_numbers(step, job.device)
    if len(set(steps)) > 1:
        raise BenchError(
            f"the processes found different checkpoints of stage {stage.name!r}: of steps {steps}",
            hint=f"{job.output} must be one folder that all hosts see.",
        )
    copy_from_main(stage.modules.values())


def _one_step(
    job: PretrainJob,
    stage: Stage,
    scaler: GradScaler,
    indices: Tensor,
    step: int,
    interrupted: Callable[[], bool],
) -> tuple[dict[str, float], bool]:
    """The values to be logged, and whether any of several processes was interrupted."""
    rate = stage.learning_rate(step)
    for group in stage.optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    stage.optimiser.zero_grad(set_to_none=True)
    values: dict[str, float] = {}
    parts = _parts(job, stage, indices)
    for number, part in enumerate(parts):
        purpose = ("step", step) if len(parts) == 1 else ("step", step, "part", number)
        generator = torch_generator(job.seed, stage.name, *purpose)
        with autocast(job.device, job.precision), noticed_sharing(f"stage {stage.name!r}"):
            losses = stage.losses(_batch(job, part), generator)
        value = losses["loss"]
        if not torch.isfinite(value):
            raise BenchError(
                f"stage {stage.name!r} diverged: the loss is {value.item()} at step {step + 1}",
                hint="Lower the learning rate, or look at log.csv in the output folder.",
            )
        weight = len(part) / len(indices)
        # Each process differentiates its share of the loss: see bench.sharing.
        scaler.scale(value * (weight / process_count())).backward()
        for name, loss in losses.items():
            values[name] = values.get(name, 0.0) + weight * loss.item()
    stopping = False
    if process_count() > 1:
        trained = [p for group in stage.optimiser.param_groups for p in group["params"]]
        stopping = add_gradients(trained, interrupted())
    scaler.step(stage.optimiser)
    scaler.update()
    return {"learning_rate": rate, **values}, stopping


def _parts(job: PretrainJob, stage: Stage, indices: Tensor) -> Sequence[Tensor]:
    """The batch, in as many parts as are computed one after another."""
    if job.accumulate == 1:
        return [indices]
    if len(indices) < 2 * job.accumulate:
        raise BenchError(
            f"a batch of {len(indices)} images of stage {stage.name!r} cannot be computed in {job.accumulate} parts: "
            "each needs 2 or more",
            hint="Lower --accumulate, or raise the batch size.",
        )
    return indices.tensor_split(job.accumulate)


def _batch(job: PretrainJob, indices: Tensor) -> Batch:
    images = job.images[indices].to(job.device).float().div_(255)
    if job.annotations is None:
        return Batch(images)
    points, visible = job.annotations.points[indices], job.annotations.visible[indices]
    return Batch(images, Annotations(points.to(job.device), visible.to(job.device)))


@contextlib.contextmanager
def _interrupts_between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of a step, so that what is saved is a whole number of steps; a second one does not."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)


class _Order:
    """Which images a step sees: every epoch is a new permutation, seeded by its number."""

    def __init__(self, job: PretrainJob, stage: Stage) -> None:
        count = len(job.images)
        if count < 2:
            raise BenchError(f"pre-training needs at least 2 images, got {count}")
        self._size = min(stage.batch_size, count)
        self._per_epoch = count // self._size
        self._seed = derive_seed(job.seed, stage.name, "order")
        self._count, self._epoch = count, -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def batch(self, step: int) -> Tensor:
        epoch, position = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            generator = torch_generator(self._seed, "epoch", epoch)
            self._permutation, self._epoch = torch.randperm(self._count, generator=generator), epoch
        return self._permutation[position * self._size : (position + 1) * self._size]
