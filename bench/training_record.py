"""What stays of a training: its log, checkpoints and snapshots. Of several processes the first one keeps them."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING

from torch.amp.grad_scaler import GradScaler

from bench.checkpoint import load_state, save_state
from bench.distributed import process_rank
from bench.files import write_atomically

if TYPE_CHECKING:
    from bench.method import PretrainJob
    from bench.training import Stage

_SCALER = "gradient_scaler"


class Keeper:
    """Restores a stage, and keeps what it does.

    Attributes:
        first_step: Number of finished steps of the last checkpoint.
    """

    def __init__(self, job: PretrainJob, stage: Stage, scaler: GradScaler) -> None:
        self._job, self._stage, self._scaler = job, stage, scaler
        self._path = job.output / f"{stage.name}.state.safetensors"
        found = load_state(self._path, stage.modules, stage.optimiser)
        self.first_step = int(found["step"]) if found else 0
        if found and _SCALER in found:
            scaler.load_state_dict(found[_SCALER])
        self._keeps = process_rank() == 0
        self._log = TrainingLog(job, stage.name, self.first_step) if self._keeps else None
        self._last_saved = time.monotonic()
        if self.first_step == 0:
            self._snapshot(0)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Of a finished step."""
        if self._log is not None:
            self._log.add(step, values)
        self._snapshot(step)

    def save_if_due(self, step: int) -> None:
        if time.monotonic() - self._last_saved > self._job.checkpoint_seconds:
            self.save(step)

    def save(self, step: int) -> None:
        if self._log is None:
            return
        # The log goes first: rows beyond the checkpoint are dropped at resumption, missing ones could not be made.
        self._log.write()
        numbers: dict[str, object] = {"step": step}
        if self._scaler.is_enabled():
            numbers[_SCALER] = self._scaler.state_dict()
        save_state(self._path, self._stage.modules, self._stage.optimiser, numbers)
        self._job.on_checkpoint()
        self._last_saved = time.monotonic()

    def _snapshot(self, step: int) -> None:
        every = self._job.snapshot_every
        if self._keeps and every and step % every == 0:
            self._stage.export(
                self._job.output / "snapshots" / f"{self._stage.name}-{step:06d}.safetensors", step
            )


class TrainingLog:
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
