"""Runs the cells of a plan on an engine: every cell ends as a record, or is there to be run again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.claims import LockedClaims
from bench.engines import Cell, CellQueue, Claims, Engine, Outcome, Watcher
from bench.errors import BenchError
from bench.files import UnwritableError
from bench.identity import Identities
from bench.record import RunRecord
from bench.record_file import UnreadableError, decode
from bench.run_request import RunRequest
from bench.store import RunStore
from bench.sweep_notice import Notice
from bench.sweep_plan import SweepPlan, plan_sweep

K = TypeVar("K")

_TELL_EVERY_S = 1.0


class TooManyFailuresError(BenchError):
    """The sweep was stopped by --max-failures."""


@dataclass
class SweepState:
    """How far a sweep has come; what views show.

    Attributes:
        running: Cell's number -> (label, where, when it was started, in seconds since the epoch).
        failures: (label, reason), in the order in which they came.
    """

    total: int
    done: int = 0
    reused: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    running: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    @property
    def finished(self) -> int:
        return self.done + len(self.failures)

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None: nothing is finished."""
        if self.finished == 0:
            return None
        return (time.time() - self.started) / self.finished * (self.total - self.finished)


class View:
    """Is shown how far a sweep has come; this base shows nothing."""

    def changed(self, state: SweepState, news: str = "") -> None:
        """Something happened; ``news`` where it is worth a line."""

    def tick(self, state: SweepState) -> None:
        """Several times a second."""


def run_sweep(
    plan: SweepPlan,
    engine: Engine,
    identities: Identities,
    *,
    max_failures: int | None = None,
    view: View | None = None,
    on_finished: Callable[[Cell, Outcome], None] | None = None,
) -> SweepState:
    """Run what is to do.

    Raises:
        UnwritableError: where a record cannot be written; what is finished by then is safe.
        TooManyFailuresError: where more than ``max_failures`` cells failed.
        BenchError: where no cell can be run at all.
    """
    cells = [planned.cell for planned in plan.to_do]
    state = SweepState(len(cells))
    claims = LockedClaims()
    driver = _Driver(state, identities, claims, view or View(), max_failures, on_finished)
    if cells:
        try:
            engine.run(CellQueue(cells, claims), driver)
        finally:
            driver.publish(ended=True)
            claims.release_all()
    return state


class _Driver(Watcher):
    """Keeps what comes back, and counts."""

    def __init__(
        self,
        state: SweepState,
        identities: Identities,
        claims: Claims,
        view: View,
        max_failures: int | None,
        on_finished: Callable[[Cell, Outcome], None] | None,
    ) -> None:
        self._state, self._identities, self._claims, self._view = state, identities, claims, view
        self._max_failures, self._on_finished = max_failures, on_finished
        self._notice = Notice()
        self._folders: set[Path] = set()
        self._published = 0.0

    def found(self, cell: Cell) -> Outcome | None:
        record = RunStore(cell.request.runs).find(cell.record) if cell.record else None
        if record is None or record.status != "ok" or cell.request.force:
            return None
        return Outcome("ok", record=record.id, reused=True)

    def started(self, cell: Cell, where: str) -> None:
        self._folders.add(cell.request.runs)
        self._state.running[cell.number] = (cell.label, where, time.time())
        self._view.changed(self._state)

    def lost(self, cell: Cell, outcome: Outcome) -> None:
        self._state.lost += 1
        self._state.running.pop(cell.number, None)
        self._claims.release(cell)
        self._view.changed(self._state, f"{cell.label}: {outcome.reason}; it is started again")

    def finished(self, cell: Cell, outcome: Outcome) -> None:
        self._state.running.pop(cell.number, None)
        if outcome.status == "unwritable":
            raise UnwritableError(
                f"the record of {cell.label} cannot be written: {outcome.reason}",
                hint="What is finished is safe; the same command continues where it stopped.",
            )
        store = RunStore(cell.request.runs)
        if outcome.status == "ok":
            if outcome.files and outcome.record is not None:
                take_in(store, outcome.record, outcome.files)
            self._state.done += 1
            self._state.reused += outcome.reused
            self._view.changed(self._state)
        else:
            self._keep_failure(store, cell, outcome)
            self._state.failures.append((cell.label, outcome.reason))
            self._view.changed(self._state, f"failed: {cell.label}: {outcome.reason}")
        self._claims.release(cell)
        if self._on_finished is not None:
            self._on_finished(cell, outcome)
        if self._max_failures is not None and len(self._state.failures) > self._max_failures:
            raise TooManyFailuresError(
                f"stopped: {len(self._state.failures)} cells failed, and --max-failures is {self._max_failures}",
                hint="The last one: " + outcome.reason,
            )

    def tick(self) -> None:
        self._view.tick(self._state)
        if time.monotonic() - self._published > _TELL_EVERY_S:
            self.publish()

    def publish(self, *, ended: bool = False) -> None:
        """For ``bench sweep --status``, whoever asks."""
        self._published = time.monotonic()
        state = self._state
        for runs in self._folders:
            if ended:
                self._notice.remove(runs)
            else:
                self._notice.write(
                    runs,
                    started=state.started,
                    total=state.total,
                    done=state.done,
                    failed=len(state.failures),
                    running=list(state.running.values()),
                )

    def _keep_failure(self, store: RunStore, cell: Cell, outcome: Outcome) -> None:
        """The failed record of a cell that did not live to write it."""
        found = store.find(cell.record) if cell.record else None
        if found is not None and (found.status == "ok" or found.reason == outcome.reason):
            return
        with contextlib.suppress(_UnknownError):
            store.save(self._unmeasured(cell, outcome.reason))

    def _unmeasured(self, cell: Cell, reason: str) -> RunRecord:
        try:
            return self._identities.unmeasured(cell.request, reason)
        except BenchError as error:
            raise _UnknownError from error  # what it was cannot be said, and the reason has been told


class _UnknownError(Exception):
    """There is no telling what a record would be of."""


def take_in(store: RunStore, record_id: str, files: Mapping[str, bytes]) -> None:
    """Write a record that was measured elsewhere; one that is there and ok stays.

    Args:
        files: Suffix (``.json``, ``.npz``, ``.<name>.png``) -> content.

    Raises:
        UnwritableError: where there is no room.
        BenchError: where what came is not that record.
    """
    try:
        record = decode(files[".json"])
    except UnreadableError as error:
        raise BenchError(f"record {record_id} came back damaged: {error}") from error
    if record.id != record_id:
        raise BenchError(f"record {record.id} came back in the place of {record_id}")
    drawings = {
        suffix.removeprefix(".").removesuffix(".png"): content
        for suffix, content in files.items()
        if suffix.endswith(".png")
    }
    with store.exclusive():
        present = store.find(record_id)
        if present is None or present.status != "ok":
            store.put(record_id, files[".json"].decode(), files.get(".npz"), drawings)


def settle_weights(plan: SweepPlan, identities: Identities, say: Callable[[str], None]) -> bool:
    """Fetch or train, once, the weights on which cells wait; whether there were any.

    Where they cannot be had, the next plan says why.
    """
    waiting = [planned.cell for planned in plan.to_do if planned.cell.record is None]
    for cell in waiting:
        with contextlib.suppress(BenchError):
            identities.settle(cell.request, say)
    return bool(waiting)


def sweep_keyed(
    requests: Mapping[K, RunRequest],
    engine: Engine,
    identities: Identities,
    show: Callable[[SweepPlan], None],
    say: Callable[[str], None],
    *,
    max_failures: int | None = None,
    view: View | None = None,
) -> dict[K, RunRecord | BenchError]:
    """Run requests by their keys: the record of each, or why there is none. Failed ones are run again.

    Args:
        show: Is given the plan before anything runs.
        say: Is told where weights are fetched or trained first.
    """
    found: dict[K, RunRecord | BenchError] = {}
    keys = list(requests)

    def keep(cell: Cell, outcome: Outcome) -> None:
        record = RunStore(cell.request.runs).find(outcome.record) if outcome.record else None
        found[keys[cell.number]] = record or BenchError(outcome.reason)

    plan = plan_sweep(requests.values(), identities, retry=True)
    show(plan)
    if settle_weights(plan, identities, say):
        plan = plan_sweep(requests.values(), identities, retry=True)
    run_sweep(plan, engine, identities, max_failures=max_failures, view=view, on_finished=keep)
    for planned in plan.cells:
        key, cell = keys[planned.cell.number], planned.cell
        if planned.state == "cannot run":
            found[key] = BenchError(planned.reason)
        elif key not in found and cell.record is not None:
            record = RunStore(cell.request.runs).find(cell.record)
            ok = record is not None and record.status == "ok"
            found[key] = record if record and ok else BenchError((record and record.reason) or "was not run")
    return found
