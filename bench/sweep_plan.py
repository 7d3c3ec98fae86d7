"""Which of many cells are done, which are to do, which cannot be run and why, and how long the rest may take."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.allocator import no_garbage_collection
from bench.engines import Cell
from bench.errors import BenchError
from bench.identity import Identities
from bench.record_index import Entry, read_index
from bench.run_request import RunRequest
from bench.shard import Shard

State = Literal["done", "to do", "failed", "cannot run", "repeated"]


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell before a sweep.

    Attributes:
        state: ``failed``: its record says so, and it is not asked for again; ``repeated``: another cell of the
            sweep leads to the same record.
        reason: Why it failed, or cannot be run.
        seconds: What earlier records say that it takes; None: there are none like it.
    """

    cell: Cell
    state: State
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class SweepPlan:
    """All cells of a sweep."""

    cells: tuple[PlannedCell, ...]

    @property
    def counts(self) -> dict[State, int]:
        return dict(Counter(planned.state for planned in self.cells))

    @property
    def to_do(self) -> tuple[PlannedCell, ...]:
        return tuple(planned for planned in self.cells if planned.state == "to do")

    @property
    def obstacles(self) -> dict[str, int]:
        """Why cells cannot be run -> how many."""
        return dict(Counter(one.reason for one in self.cells if one.state == "cannot run"))

    def seconds(self, places: int = 1) -> tuple[float, int]:
        """What the cells to do take together, on so many places, and for how many of them that is not known."""
        known = [one.seconds for one in self.to_do if one.seconds is not None]
        return sum(known) / max(1, places), len(self.to_do) - len(known)


@no_garbage_collection()
def plan_sweep(
    requests: Iterable[RunRequest],
    identities: Identities,
    *,
    retry: bool = False,
    shard: Shard | None = None,
) -> SweepPlan:
    """What is to be done for these cells.

    Args:
        retry: Cells that failed before are to do again.

    Raises:
        BenchError: where a folder of records is not one.
    """
    wanted = list(requests)
    records: dict[Path, dict[str, Entry]] = {
        runs: read_index(runs) for runs in {request.runs for request in wanted}
    }
    times = _Times([entry for found in records.values() for entry in found.values()])
    chosen = shard or Shard()
    seen: set[tuple[Path, str]] = set()
    planned: list[PlannedCell] = []
    for number, request in enumerate(wanted):
        # By its place in the grid: shards stay the same however much is done.
        if not chosen.holds(number):
            continue
        try:
            identity = identities.find(request)
        except BenchError as error:
            cell = Cell(number, request, label_of(request), None, "")
            planned.append(PlannedCell(cell, "cannot run", error.message))
            continue
        label = label_of(request, reads_images=identity.reads_images)
        cell = Cell(number, request, label, identity.record, identity.group)
        if identity.record is None:
            planned.append(PlannedCell(cell, "to do", seconds=times.of(request)))
            continue
        key = (request.runs, identity.record)
        found = records[request.runs].get(identity.record)
        if key in seen:
            planned.append(PlannedCell(cell, "repeated"))
        elif found is not None and found.status == "ok" and not request.force:
            planned.append(PlannedCell(cell, "done"))
        elif found is not None and found.status == "failed" and not retry:
            planned.append(PlannedCell(cell, "failed", found.reason))
        else:
            planned.append(PlannedCell(cell, "to do", seconds=times.of(request)))
        seen.add(key)
    return SweepPlan(tuple(planned))


def label_of(request: RunRequest, *, reads_images: bool = True) -> str:
    """A cell in a line."""
    weights = request.checkpoint or request.like
    parts = [
        request.method,
        request.weights or ("/".join(weights.parts[-2:]) if weights else ""),
        request.protocol,
        *request.protocol_options,
        _short(request.dataset.spec) if reads_images else "",
        f"seed {request.seed}",
    ]
    return " · ".join(part for part in parts if part)


def _short(spec: str) -> str:
    """A data set by its name and the last part of its folder."""
    name, colon, location = spec.partition(":")
    return f"{name}{colon}{Path(location).name}"


class _Times:
    """Seconds of earlier records: the median of the same method and protocol, else of the protocol."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        seconds: dict[tuple[str, ...], list[float]] = {}
        for entry in entries:
            if entry.status == "ok" and entry.seconds is not None:
                for key in ((entry.method, entry.protocol), (entry.protocol,)):
                    seconds.setdefault(key, []).append(entry.seconds)
        self._medians = {key: statistics.median(values) for key, values in seconds.items()}

    def of(self, request: RunRequest) -> float | None:
        exact = self._medians.get((request.method, request.protocol))
        return self._medians.get((request.protocol,)) if exact is None else exact
