"""A training that is killed after a given step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.progress import Progress, Task


class KilledError(Exception):
    """Stands for SIGKILL: nothing gets a chance to clean up."""


class Killer(Progress):
    """Ends the training when a stage has reported so many steps."""

    def __init__(self, stage: str, after: int) -> None:
        super().__init__(quiet=True)
        self.stage, self.after = stage, after

    def hit(self) -> None:
        raise KilledError

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        killer = self

        class Counting(Task):
            steps = 0

            def advance(self, steps: int = 1, status: str = "") -> None:
                self.steps += steps
                if description == killer.stage and self.steps == killer.after:
                    killer.hit()

        yield Counting()
