"""A training that loses nothing when it is killed: its loop, its file, and the order of its images."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Protocol

import torch
from pydantic import BaseModel
from torch import Tensor

from bench.context import RunContext
from bench.errors import BenchError
from bench.record import content_hash
from bench.seeds import torch_generator


class Training(Protocol):
    """What :func:`run_to_end` takes from step to step.

    Attributes:
        total: Number of steps.
        losses: Of the steps that were taken; their number says where the training stands.
    """

    total: int
    losses: list[float]

    def advance(self) -> float:
        """Take a step; returns its loss, which is then the last of ``losses``."""
        ...

    def save(self, path: Path) -> None: ...

    def restore(self, path: Path) -> None:
        """Continue from the file, where it is there and whole."""
        ...


def run_to_end(
    training: Training, settings: BaseModel, *, seed: int, run: RunContext, key: str, save_seconds: float
) -> None:
    """Where ``run.partial`` is set, the state is written there about every ``save_seconds`` until all is done.

    Args:
        settings, seed: All that the training depends on besides the run's identity; they name the file.
        key: Names this training within the run.

    Raises:
        BenchError: where the loss is no longer finite.
    """
    path = None if run.partial is None else _state_path(run.partial, key, settings, seed)
    if path is not None:
        training.restore(path)
    saved = time.monotonic()
    done = len(training.losses)
    with run.phase("head"), run.progress.task(f"fitting {key}", training.total, done=done) as task:
        while len(training.losses) < training.total:
            loss = training.advance()
            if not math.isfinite(loss):
                raise BenchError(
                    f"{key}: the loss is {loss} after {len(training.losses)} of {training.total} steps",
                    hint="Check that the features are finite, or lower the learning rate.",
                )
            if path is not None and time.monotonic() - saved >= save_seconds:
                training.save(path)
                saved = time.monotonic()
            task.advance(status=f"loss {loss:.4f}")
    if path is not None:
        path.unlink(missing_ok=True)


class Batches:
    """Every image once an epoch, shuffled anew; an incomplete last batch is dropped unless it is the only one."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.size = min(batch_size, count)
        self.per_epoch = count // self.size
        self._order: tuple[int, Tensor] | None = None

    def at(self, step: int) -> Tensor:
        """Indices (size,) of the images of a step."""
        epoch, batch = divmod(step, self.per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = torch_generator(self.seed, "shuffle", epoch)
            self._order = (epoch, torch.randperm(self.count, generator=generator))
        return self._order[1][batch * self.size : (batch + 1) * self.size]


def _state_path(folder: Path, key: str, settings: BaseModel, seed: int) -> Path:
    stem = re.sub(r"[^\w=.-]+", "_", key)
    return folder / f"{stem}.{content_hash([settings.model_dump(mode='json'), seed])}.training.safetensors"
