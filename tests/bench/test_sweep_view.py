"""What a running sweep shows: rows that fit a terminal of 80 columns; plain lines where there is none."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from bench.cli import sweep_view
from bench.cli.sweep_view import open_view
from bench.progress import Progress
from bench.sweep import SweepState


def state(running: int = 2) -> SweepState:
    cells = {
        number: (
            f"lead · regression · coco:{'faces' * 12} · seed {number}",
            f"worker {number}",
            time.time() - 95,
        )
        for number in range(1, running + 1)
    }
    failures = [("lead · matching · seed 9", "two [apples]")]
    return SweepState(40, done=9, failures=failures, running=cells, started=time.time() - 60)


def shown(terminal: bool, running: int = 2, news: str = "") -> str:
    progress = Progress()
    text = io.StringIO()
    progress.console = Console(file=text, width=80, force_terminal=terminal, color_system=None)
    with open_view(progress) as view:
        view.changed(state(running), news)
        view.tick(state(running))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n" if terminal else "", text.getvalue())


def test_each_cell_has_a_row_of_its_own_in_a_terminal() -> None:
    lines = [line.strip() for line in shown(terminal=True).splitlines()]
    assert any(
        line.startswith("━") and "10 of 40, 2 running, 1 failed, about 3 min left" in line for line in lines
    )
    for number in (1, 2):
        (row,) = {line for line in lines if line.startswith(f"worker {number}  lead · regression")}
        assert row.endswith("…  2 min")
        assert len(row) <= 80


def test_of_many_cells_the_first_are_shown() -> None:
    assert "and 8 more" in shown(terminal=True, running=20)


def test_failures_are_lines_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    news = "failed: lead · matching · seed 9: two [apples]"
    assert news in shown(terminal=True, news=news)
    assert shown(terminal=False, news=news) == news + "\n"
    monkeypatch.setattr(sweep_view, "_LINE_EVERY_S", -1.0)
    assert shown(terminal=False) == "10 of 40, 2 running, 1 failed, about 3 min left\n"


def test_quiet_is_quiet() -> None:
    progress = Progress(quiet=True)
    text = io.StringIO()
    progress.console = Console(file=text, force_terminal=True)
    with open_view(progress) as view:
        view.changed(state(), "failed")
        view.tick(state())
    assert text.getvalue() == ""
