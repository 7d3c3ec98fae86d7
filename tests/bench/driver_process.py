"""``bench sweep`` in a process of its own, on a grid of eight cells, to be killed."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

GRID = """
methods = ["trivial"]
protocols = [{{ name = "draw", options = {{ seconds = {seconds} }} }}]
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
"""


def started(folder: Path, seconds: float, *words: str) -> subprocess.Popen[str]:
    """A sweep below a folder, each of whose cells takes so many seconds."""
    (folder / "grid.toml").write_text(GRID.format(seconds=seconds))
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "sweep", "grid.toml", "--device", "cpu", "--runs", "runs", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_records(runs: Path, count: int) -> None:
    ends = time.monotonic() + 300
    while len(list(runs.glob("[!.]*.json"))) < count:
        assert time.monotonic() < ends
        time.sleep(0.05)


def measured_cells(said: str) -> int:
    """How many cells a driver says that it measured itself."""
    found = re.search(r"(\d+) cells done(?: \((\d+) by another sweep)?", said)
    assert found, said
    return int(found[1]) - int(found[2] or 0)
