"""One live view of a sweep's cells in a terminal; plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli.sweep_tables import duration
from bench.progress import Progress
from bench.sweep import SweepState, View

_SHOWN = 12
_LINE_EVERY_S = 20.0


@contextmanager
def open_view(progress: Progress) -> Iterator[View]:
    """What suits where ``progress`` goes."""
    if progress.quiet:
        yield View()
    elif progress.console.is_terminal:
        with Live(console=progress.console, refresh_per_second=4, transient=True) as live:
            yield _LiveView(live)
    else:
        yield _PlainView(progress.console)


def summary(state: SweepState) -> str:
    """How far, in a line."""
    left = state.seconds_left
    parts = [f"{state.finished} of {state.total}", f"{len(state.running)} running"]
    if state.failures:
        parts.append(f"{len(state.failures)} failed")
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


class _LiveView(View):
    def __init__(self, live: Live) -> None:
        self._live = live
        self._shown = 0.0

    def changed(self, state: SweepState, news: str = "") -> None:
        if news:
            self._live.console.print(Text(news, "red"), highlight=False)
        self.tick(state)

    def tick(self, state: SweepState) -> None:
        now = time.monotonic()
        if now - self._shown > 0.2:  # drawing costs more than a trivial cell
            self._shown = now
            self._live.update(_drawn(state))


class _PlainView(View):
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()

    def changed(self, state: SweepState, news: str = "") -> None:
        del state
        if news:
            self._print(news)

    def tick(self, state: SweepState) -> None:
        if time.monotonic() - self._said > _LINE_EVERY_S:
            self._said = time.monotonic()
            self._print(summary(state))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), highlight=False, soft_wrap=True)


def _drawn(state: SweepState) -> Group:
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    now = time.time()
    for label, where, since in list(state.running.values())[:_SHOWN]:
        table.add_row(where, escape(label), duration(now - since))
    more = len(state.running) - _SHOWN
    rows = [table] if more <= 0 else [table, Text(f"and {more} more")]
    head = Table.grid(padding=(0, 1))  # a bar alone does not end its line
    head.add_row(ProgressBar(total=max(1, state.total), completed=state.finished, width=20), summary(state))
    return Group(head, *rows)
