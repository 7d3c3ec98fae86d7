"""Progress bars in a terminal, sparse plain lines elsewhere, silence where asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

T = TypeVar("T")

_PLAIN_INTERVAL_S = 20.0


@dataclass
class Progress:
    """Reports long work on standard error, so that standard output stays for results."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    quiet: bool = False

    @classmethod
    def silent(cls) -> Progress:
        return cls(quiet=True)

    def say(self, message: str) -> None:
        if not self.quiet:
            self.console.print(message, highlight=False)

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        with self.task(description, total) as task:
            for item in items:
                yield item
                task.advance()

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """A bar (terminal) or an occasional line (elsewhere) for ``total`` steps, of which ``done`` are done."""
        if self.quiet:
            yield Task()
        elif self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
            )
            with RichProgress(*columns, console=self.console, transient=True) as bar:
                handle = bar.add_task(description, total=total, completed=done, status="")
                yield _BarTask(bar, handle)
        else:
            yield _PlainTask(description, total, done)


class Task:
    """One piece of long work; this base reports nothing."""

    def advance(self, steps: int = 1, status: str = "") -> None:
        del steps, status


class _BarTask(Task):
    def __init__(self, bar: RichProgress, handle: object) -> None:
        self._bar, self._handle = bar, handle

    def advance(self, steps: int = 1, status: str = "") -> None:
        self._bar.update(self._handle, advance=steps, status=status)  # type: ignore[arg-type]


class _PlainTask(Task):
    def __init__(self, description: str, total: int, done: int) -> None:
        self._description, self._total, self._done, self._first = description, total, done, done
        self._started = self._printed = time.monotonic()

    def advance(self, steps: int = 1, status: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._printed >= _PLAIN_INTERVAL_S:
            self._printed = now
            rate = (self._done - self._first) / (now - self._started)
            left = (self._total - self._done) / rate if rate > 0 else float("inf")
            print(
                f"{self._description}: {self._done}/{self._total}, {left:.0f} s left {status}".rstrip(),
                file=sys.stderr,
                flush=True,
            )
