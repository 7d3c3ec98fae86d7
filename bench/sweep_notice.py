"""What a running sweep tells others about itself: one file in the folder of records, while it runs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.files import UnwritableError, write_atomically
from bench.record_index import SWEEP_FOLDER


class Notice:
    """Of this process; it disappears with the sweep, and stays where the process is killed."""

    def __init__(self) -> None:
        self._name = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}.json"

    def write(
        self,
        runs: Path,
        *,
        started: float,
        total: int,
        done: int,
        failed: int,
        running: Sequence[tuple[str, str, float]],
    ) -> None:
        """Tell how far it is.

        Args:
            started: Seconds since the epoch.
            running: (label, where, when it was started) of each cell.
        """
        content = {
            "host": platform.node(),
            "pid": os.getpid(),
            "started": started,
            "updated": time.time(),
            "total": total,
            "done": done,
            "failed": failed,
            "running": running,
        }
        with contextlib.suppress(UnwritableError):  # a full disk is told by what needs it
            write_atomically(self._file(runs), json.dumps(content))

    def remove(self, runs: Path) -> None:
        with contextlib.suppress(OSError):
            self._file(runs).unlink(missing_ok=True)

    def _file(self, runs: Path) -> Path:
        return runs / SWEEP_FOLDER / "drivers" / self._name


def read_drivers(runs: Path) -> list[dict[str, Any]]:
    """What sweeps on a folder of records tell that have not ended, the latest last."""
    found = []
    for file in (runs / SWEEP_FOLDER / "drivers").glob("[!.]*.json"):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda one: float(one["updated"]))
