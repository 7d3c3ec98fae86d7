"""Reproduce a published table: run what can be run, and put ours beside what is printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.errors import BenchError
from bench.files import cache_folder, only_process, require_writable
from bench.opening import load_method
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.protocol import Scalar
from bench.record import MetricPart, RunRecord
from bench.run_request import RunRequest
from bench.runner import run
from bench.table_plan import PAPER, Plan, PlannedCell, PlannedTraining, ReproductionRequest
from bench.tables import Cell
from bench.verdict import Kind, Ours, Verdict, judge


@dataclass(frozen=True)
class Outcome:
    """A cell with our number, where there is one.

    Attributes:
        unit: Of our metric.
        record: Id of the record that the number is from.
        parts: The record's values that the number is made of.
    """

    cell: Cell
    verdict: Verdict
    ours: Ours | None = None
    unit: str = ""
    record: str | None = None
    parts: tuple[MetricPart, ...] = ()


Found = dict[object, RunRecord | BenchError]
"""Key of a planned cell -> its record, or why there is none."""

Runner = Callable[[Mapping[object, RunRequest]], Found]
"""Runs requests, each of which has a key."""


def reproduce(
    plan: Plan, request: ReproductionRequest, progress: Progress, runner: Runner | None = None
) -> tuple[Outcome, ...]:
    """Run what can be run, each run once, and judge every cell. One that fails leaves the others alone.

    Args:
        runner: Runs the cells when all weights are trained; None: one after the other, in this process.
    """
    trained = _Trainings(request, progress)
    wanted = {planned.key: planned for planned in plan.cells if planned.request is not None}
    found: Found = {}
    if runner is None:
        for number, (key, planned) in enumerate(wanted.items(), 1):
            progress.say(f"run {number} of {plan.runs}: {planned.cell.row}, {planned.cell.column}")
            try:
                found[key] = run(trained.completed(planned), progress).record
            except BenchError as error:
                progress.say(f"[red]failed[/red]: {error.message}")
                found[key] = error
    else:
        completed: dict[object, RunRequest] = {}
        for key, planned in wanted.items():
            try:
                completed[key] = trained.completed(planned)
            except BenchError as error:
                progress.say(f"[red]failed[/red]: {error.message}")
                found[key] = error
        found |= runner(completed)
    return tuple(_outcome(planned, found.get(planned.key)) for planned in plan.cells)


class _Trainings:
    """Weights that are trained for a table, each once; ``bench pretrain`` finds finished ones again."""

    def __init__(self, request: ReproductionRequest, progress: Progress) -> None:
        self._request = request
        self._progress = progress
        self._files = dict(request.checkpoints)

    def completed(self, planned: PlannedCell) -> RunRequest:
        """The run of a cell, with its weights."""
        assert planned.request is not None
        if not planned.trainings:
            return planned.request
        for one in planned.trainings:
            if one.training.name not in self._files:
                self._files[one.training.name] = self._train(one)
        return dataclasses.replace(
            planned.request, checkpoint=self._files[planned.trainings[-1].training.name]
        )

    def _train(self, planned: PlannedTraining) -> Path:
        training = planned.training
        preset = self._request.pretraining or load_method(training.method).default_preset or PAPER
        request = PretrainRequest(
            method=training.method,
            dataset=planned.images,
            preset=preset,
            variant=training.variant,
            initial=self._files[training.initial.name] if training.initial else None,
            method_options=training.method_options,
            recipe_options=training.recipe_options,
            share=training.share,
            seed=self._request.seed,
            device=self._request.device,
            workers=self._request.workers,
        )
        folder = cache_folder("pretrained")
        require_writable(folder)
        waiting = partial(self._progress.say, f"waiting for another process that trains {training.name}")
        with only_process(folder / f"{training.name}.lock", waiting):
            return pretrain(request, self._progress)


def _outcome(planned: PlannedCell, found: RunRecord | BenchError | None) -> Outcome:
    cell = planned.cell
    if isinstance(found, BenchError):
        return Outcome(cell, Verdict("failed", reasons=(found.message,)))
    if planned.missing:
        needs = tuple(f"{need.kind} {need.name}" for need in planned.missing)
        return Outcome(cell, Verdict("missing", reasons=needs))
    if found is None:
        return Outcome(cell, Verdict("not comparable", reasons=planned.barriers))
    return outcome_of(cell, found, planned.barriers)


def outcome_of(cell: Cell, found: RunRecord, barriers: Sequence[str]) -> Outcome:
    """The cell's number in a record, judged.

    Args:
        barriers: Why the two cannot be compared, as far as it is known.
    """
    if cell.run is None:
        return Outcome(cell, Verdict("not comparable", reasons=tuple(barriers)))
    parts = [_value(found, cell.run.metric, condition) for condition in (cell.run.condition, *cell.run.also)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        wanted = ", ".join(f"{key} {value}" for key, value in cell.run.condition.items())
        reason = f"the run reports no {cell.run.metric}" + (f" for {wanted}" if wanted else "")
        # With other data, another set of landmarks or too few images may be why.
        kind: Kind = "not comparable" if barriers else "failed"
        return Outcome(cell, Verdict(kind, reasons=(*barriers, reason)), record=found.id)
    ours = _ours(known, cell.run.scale)
    verdict = judge(cell.value, cell.std, ours, barriers)
    return Outcome(cell, verdict, ours, known[0].unit, found.id, tuple(known))


def _value(record: RunRecord, metric: str, condition: Mapping[str, Scalar]) -> MetricPart | None:
    """The one value of the metric whose condition has everything that is asked for."""
    fitting = [
        part
        for part in record.metrics
        if part.metric == metric and condition.items() <= part.condition.items()
    ]
    exact = [part for part in fitting if part.condition == condition]
    if exact:
        return exact[0]
    return fitting[0] if len(fitting) == 1 else None


def _ours(parts: Sequence[MetricPart], scale: float) -> Ours:
    """One value in the paper's unit, or the mean of several, of which no interval is known."""
    if len(parts) > 1:
        return Ours(scale * sum(part.value for part in parts) / len(parts))

    def scaled(value: float | None) -> float | None:
        return None if value is None else scale * value

    part = parts[0]
    return Ours(scale * part.value, scaled(part.low), scaled(part.high), scaled(part.std))
