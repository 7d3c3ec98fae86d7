"""A progress display that a test listens to."""

from __future__ import annotations

import threading

from bench.progress import Progress


class Heard(Progress):
    """Lets the slow reader go on as soon as it is told that another waits."""

    def __init__(self, go_on: threading.Event) -> None:
        super().__init__(quiet=True)
        self.go_on, self.said = go_on, ""

    def say(self, message: str) -> None:
        self.said += message
        self.go_on.set()
