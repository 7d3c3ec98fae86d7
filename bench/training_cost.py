"""What a training took: by which command, how long, on which device, from which sources; kept beside its weights.

It is not part of the weights: two trainings of the same job give the same file, however long they took.
"""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from bench import __version__
from bench.distributed import Place
from bench.errors import BenchError
from bench.files import write_atomically
from bench.provenance import device_name, git_state, sanitised, sources_sha256

if TYPE_CHECKING:
    from bench.pretraining import PretrainRequest

COST_FILE = "cost.json"


class Sitting(BaseModel):
    """From the start of a training, or of its continuation, to its end, an interruption or the last checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    started: datetime.datetime
    seconds: float
    device: str
    bench: str
    git: dict[str, Any] | None
    sources_sha256: str


class TrainingCost(BaseModel):
    """All sittings of one training, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    sittings: tuple[Sitting, ...]

    @property
    def seconds(self) -> float:
        return sum(sitting.seconds for sitting in self.sittings)

    @property
    def device(self) -> str:
        return " and ".join(dict.fromkeys(sitting.device for sitting in self.sittings))

    @property
    def commit(self) -> str | None:
        """The git commit whose sources all sittings ran; None: they were not committed, or it is not known.

        Where a sitting did not know, as without a repository, today's commit is that one if its sources are the same.
        """
        told = {s.git["commit"] if s.git and s.git["dirty"] is False else None for s in self.sittings}
        if len(told) == 1 and None not in told:
            return told.pop()
        now = git_state()
        same = {s.sources_sha256 for s in self.sittings} == {sources_sha256()}
        return str(now["commit"]) if same and now and now["dirty"] is False else None


class CostMeter:
    """Measures one sitting, which begins now, and adds it to those before it when it ends, however it ends.

    Of several processes the first one writes it down.
    """

    def __init__(
        self, output: Path, command: Sequence[str], device: torch.device, place: Place | None = None
    ) -> None:
        self._place = place or Place()
        self._path = output / COST_FILE
        self._before = read_cost(output).sittings if self._path.exists() else ()
        self._command = shlex.join(sanitised(command))
        count = self._place.size
        self._device = device_name(device) if count == 1 else f"{count} processes on {device_name(device)}"
        self._git, self._sources = git_state(), sources_sha256()
        self._date, self._started = datetime.datetime.now(datetime.UTC), time.monotonic()

    def __enter__(self) -> CostMeter:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def write(self) -> None:
        if not self._place.is_main:
            return
        sitting = Sitting(
            started=self._date.replace(microsecond=0),
            seconds=round(time.monotonic() - self._started, 3),
            device=self._device,
            bench=__version__,
            git=self._git,
            sources_sha256=self._sources,
        )
        cost = TrainingCost(command=self._command, sittings=(*self._before, sitting))
        write_atomically(self._path, cost.model_dump_json(indent=2) + "\n")


def read_cost(output: Path) -> TrainingCost:
    """What the training in a folder took so far.

    Raises:
        BenchError: where that is not told, or not readable.
    """
    path = output / COST_FILE
    try:
        return TrainingCost.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BenchError(
            f"{path} is missing, which tells how the weights beside it were trained",
            hint="bench pretrain writes it: train again, into another folder.",
        ) from error
    except (OSError, ValidationError) as error:
        raise BenchError(
            f"{path} is damaged: it does not tell what the training took",
            hint="Train again, into another folder.",
        ) from error


def repeating_command(request: PretrainRequest, precision: str) -> list[str]:
    """The words of the command that trains the same weights, wherever they are written and on whatever device."""
    named: dict[str, Any] = {"method": request.method, "preset": request.preset, "variant": request.variant}
    named |= {"init": request.initial, "dataset": request.dataset.spec}
    words = [word for key, value in named.items() if value for word in (f"--{key}", str(value))]
    several = {"-D": request.dataset.options, "-M": request.method_options, "-R": request.recipe_options}
    several |= {"--split": request.splits or ()}
    words += [word for flag, values in several.items() for value in values for word in (flag, value)]
    if request.share != 1:
        words += ["--share", f"{request.share:g}"]
    if request.accumulate != 1:
        words += ["--accumulate", str(request.accumulate)]
    return ["bench", "pretrain", *words, "--seed", str(request.seed), "--precision", precision]
