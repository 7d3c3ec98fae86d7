"""Where the cells of a sweep run: what an engine is given, and what it tells.

A cell is run by a worker process, one after another, so that imports and data are paid once. Whatever happens to it,
one outcome comes back: an engine loses no cell, and tells of none twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.run_request import RunRequest

ATTEMPTS = 3
"""How often a cell is started whose worker disappears; one that fails by itself is not started again."""


@dataclass(frozen=True)
class Cell:
    """One cell to run.

    Attributes:
        label: For people, e.g. "lead · matching · coco:faces · seed 0".
        record: Id of its record, where it is known before.
        group: Equal for cells of the same weights and images, of which the first extracts the features.
    """

    number: int
    request: RunRequest
    label: str
    record: str | None
    group: str


@dataclass(frozen=True)
class Limits:
    """Of one cell; None: as long as it takes, and as much as there is.

    Attributes:
        seconds: Wall time.
        memory: Bytes of main memory of its process and of those that it starts.
    """

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        status: ``lost``: its worker disappeared; ``unwritable``: there is no room for its record.
        record: Id of the record.
        files: Suffix -> content of the record's files, where they were not written to the store.
    """

    status: Literal["ok", "failed", "lost", "unwritable"]
    reason: str = ""
    record: str | None = None
    reused: bool = False
    seconds: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)


class Watcher(ABC):
    """Who is told; any of these may raise, which stops the engine and its workers."""

    @abstractmethod
    def found(self, cell: Cell) -> Outcome | None:
        """What another process has made of a cell since it was planned."""

    @abstractmethod
    def started(self, cell: Cell, where: str) -> None: ...

    @abstractmethod
    def lost(self, cell: Cell, outcome: Outcome) -> None:
        """The worker disappeared, and the cell is started again."""

    @abstractmethod
    def finished(self, cell: Cell, outcome: Outcome) -> None: ...

    @abstractmethod
    def tick(self) -> None:
        """Several times a second."""


class Claims:
    """Keeps cells from being measured by two processes; this base knows of no other."""

    def take(self, cell: Cell) -> bool:
        """Whether no other process is at the cell."""
        del cell
        return True

    def release(self, cell: Cell) -> None:
        """What became of the cell is kept, or it is in the queue again."""

    def release_all(self) -> None:
        """The sweep is over."""


class Engine(ABC):
    """Runs cells, and tells what became of each."""

    @abstractmethod
    def run(self, cells: CellQueue, watcher: Watcher) -> None:
        """Returns when all are finished.

        Raises:
            BenchError: where no cell could be run at all.
        """

    @property
    @abstractmethod
    def places(self) -> int:
        """How many cells run at once, as far as it is known by now."""


class CellQueue:
    """Cells in the order in which they are best started.

    The first of a group extracts the features that the others read. While it runs, cells of other groups come first.

    Args:
        claims: Cells at which another process is wait for it, and keep no worker waiting.
    """

    def __init__(self, cells: Iterable[Cell], claims: Claims | None = None) -> None:
        self._groups: dict[str, deque[Cell]] = {}
        self._claims = claims or Claims()
        self._running: dict[str, int] = {}
        self._ready: set[str] = set()
        self._attempts: dict[int, int] = {}
        self._postponed: deque[Cell] = deque()
        for cell in cells:
            self._groups.setdefault(cell.group, deque()).append(cell)

    def __len__(self) -> int:
        return sum(map(len, self._groups.values())) + len(self._postponed)

    def __bool__(self) -> bool:
        return bool(self._groups) or bool(self._postponed)

    def take(self) -> Cell | None:
        """The next cell; None: there is none, or other processes are at all that are left."""
        while self._groups:
            cell = self._groups[self._next_group()].popleft()
            if not self._groups[cell.group]:
                del self._groups[cell.group]
            if self._claims.take(cell):
                return self._taken(cell)
            self._postponed.append(cell)
        for _ in range(len(self._postponed)):
            cell = self._postponed.popleft()
            if self._claims.take(cell):
                return self._taken(cell)
            self._postponed.append(cell)
        return None

    def take_unfinished(self, watcher: Watcher) -> Cell | None:
        """The next cell that still has to be run; the watcher is told of those that are not."""
        while (cell := self.take()) is not None:
            outcome = watcher.found(cell)
            if outcome is None:
                return cell
            self.settle(cell, outcome)
            watcher.finished(cell, outcome)
        return None

    def settle(self, cell: Cell, outcome: Outcome) -> bool:
        """Whether this is what became of the cell; otherwise it is in the queue again."""
        self._running[cell.group] -= 1
        if outcome.status == "lost" and self._attempts[cell.number] < ATTEMPTS:
            self._groups.setdefault(cell.group, deque()).appendleft(cell)
            return False
        self._ready.add(cell.group)
        return True

    def _taken(self, cell: Cell) -> Cell:
        self._running[cell.group] = self._running.get(cell.group, 0) + 1
        self._attempts[cell.number] = self._attempts.get(cell.number, 0) + 1
        return cell

    def _next_group(self) -> str:
        first = next(iter(self._groups))
        if self._starts_well(first):
            return first
        return next((group for group in self._groups if self._starts_well(group)), first)

    def _starts_well(self, group: str) -> bool:
        return group in self._ready or not self._running.get(group)
