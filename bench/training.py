"""The training loop that all methods share: batches, schedule, log, checkpoints, resumption.

A training consists of stages. A stage is deterministic: the order of the images is drawn per epoch and every
random choice of a step is seeded by the step, so a run that was killed and started again gives the weights of an
undisturbed one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.checkpoint import load_state, save_state
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.files import write_atomically
from bench.method import Annotations, PretrainJob
from bench.seeds import derive_seed, seeded_initialisation, torch_generator
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
    """A stage's ``export``: writes the network with what produced it."""

    def export(path: Path, step: int) -> None:
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

    Raises:
        BenchError: where the loss is no longer finite.
    """
    path = job.output / f"{stage.name}.state.safetensors"
    found = load_state(path, stage.modules, stage.optimiser)
    step = int(found["step"]) if found else 0
    log = _Log(job, stage.name, kept_steps=step)
    if step == 0 and job.snapshot_every:
        stage.export(_snapshot(job, stage, 0), 0)
    last_saved = time.monotonic()
    order = _Order(job, stage)
    with (
        _interrupts_between_steps() as interrupted,
        job.progress.task(stage.name, stage.steps, done=step) as task,
    ):
        while step < stage.steps:
            values = _one_step(job, stage, order.batch(step), step)
            step += 1
            stage.after_step(step)
            log.add(step, values)
            task.advance(status=f"loss {values['loss']:.4f}")
            if job.snapshot_every and step % job.snapshot_every == 0:
                stage.export(_snapshot(job, stage, step), step)
            due = time.monotonic() - last_saved > job.checkpoint_seconds
            if step == stage.steps or due or interrupted():
                _save(path, stage, step, log)
                job.on_checkpoint()
                last_saved = time.monotonic()
            if interrupted():
                raise KeyboardInterrupt


def _one_step(job: PretrainJob, stage: Stage, indices: Tensor, step: int) -> dict[str, float]:
    rate = stage.learning_rate(step)
    for group in stage.optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    batch = _batch(job, indices)
    generator = torch_generator(job.seed, stage.name, "step", step)
    with _precision(job):
        losses = stage.losses(batch, generator)
    value = losses["loss"]
    if not torch.isfinite(value):
        raise BenchError(
            f"stage {stage.name!r} diverged: the loss is {value.item()} at step {step + 1}",
            hint="Lower the learning rate, or look at log.csv in the output folder.",
        )
    stage.optimiser.zero_grad(set_to_none=True)
    value.backward()
    stage.optimiser.step()
    return {"learning_rate": rate, **{name: loss.item() for name, loss in losses.items()}}


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


def _precision(job: PretrainJob) -> contextlib.AbstractContextManager[object]:
    if job.precision == "bfloat16":
        return torch.autocast(job.device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


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


class _Log:
    """log.csv, one row per step, and TensorBoard events where asked.

    What was logged after the last checkpoint is dropped when a run is resumed.
    """

    def __init__(self, job: PretrainJob, stage: str, kept_steps: int) -> None:
        self._path, self._stage = job.output / "log.csv", stage
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(newline="") as stream:
                rows = list(csv.DictReader(stream))
        self._rows = [r for r in rows if r["stage"] != stage or int(r["step"]) <= kept_steps]
        self._events = None
        if job.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional, and slow to import

            folder = job.output / "tensorboard" / stage
            self._events = SummaryWriter(str(folder), purge_step=kept_steps + 1)

    def add(self, step: int, values: dict[str, float]) -> None:
        self._rows.append(
            {"stage": self._stage, "step": str(step), **{k: repr(v) for k, v in values.items()}}
        )
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self._path, buffer.getvalue())
        if self._events is not None:
            self._events.flush()


def _save(path: Path, stage: Stage, step: int, log: _Log) -> None:
    # The log goes first: rows beyond the checkpoint are dropped at resumption, missing ones could not be made.
    log.write()
    save_state(path, stage.modules, stage.optimiser, {"step": step})


def _snapshot(job: PretrainJob, stage: Stage, step: int) -> Path:
    return job.output / "snapshots" / f"{stage.name}-{step:06d}.safetensors"
