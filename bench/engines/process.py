"""A worker process, from its master's side: started, watched, and killed where a cell exceeds its limits."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from bench.engines import Limits, Outcome
from bench.errors import BenchError
from bench.run_request import RunRequest

_LOOK_AT_MEMORY_S = 0.2
_SHOWN_OF_LOG = 2000


class WorkerProcess:
    """Runs one cell at a time.

    Args:
        environment: Variables of the process, all of them.
        log: File for what it prints.
        command: That started all this, for the records.
        folder: In which relative paths begin; None: this one.
    """

    def __init__(
        self,
        limits: Limits,
        environment: Mapping[str, str],
        log: Path,
        command: Sequence[str],
        folder: Path | None = None,
    ) -> None:
        self._limits, self._log = limits, log
        log.parent.mkdir(parents=True, exist_ok=True)
        safe = ["-P"] if sys.flags.safe_path else []
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *safe, "-m", "bench.engines.worker", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for the master, who ends it
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._heard = b""
        self._ready = False
        self._busy_since: float | None = None
        self._looked = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        return self._busy_since is not None

    def fileno(self) -> int:
        """Of what it says, for ``select``."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def start(self, request: RunRequest) -> None:
        """Give it a cell; what becomes of it is told by :meth:`poll`, even if it is dead by now."""
        assert self._process.stdin is not None
        self._busy_since = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request.to_json().encode() + b"\n")
            self._process.stdin.flush()

    def poll(self) -> Outcome | None:
        """What became of the cell; None: nothing yet. After a loss or an exceeded limit the process is gone.

        Raises:
            BenchError: where the process died before it could do anything.
        """
        ended = self._read()
        while b"\n" in self._heard:
            line, _, self._heard = self._heard.partition(b"\n")
            said = json.loads(line)
            if said.pop("ready", False):
                self._ready = True
                if self._busy_since is not None:
                    self._busy_since = time.monotonic()  # its imports are not the cell's time
                continue
            self._busy_since = None
            return Outcome(**said)
        if ended:
            return self._lost()
        return self._exceeded()

    def wait(self) -> Outcome:
        """What becomes of the cell."""
        while True:
            select.select([self.fileno()], [], [], 0.1)
            outcome = self.poll()
            if outcome is not None:
                return outcome

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it and what it started, at once; a cell that it is at keeps its finished parts."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self) -> bool:
        """Take in what it said; whether that was all it will ever say."""
        while True:
            try:
                said = os.read(self.fileno(), 1 << 16)
            except BlockingIOError:
                return False
            if not said:
                return True
            self._heard += said

    def _lost(self) -> Outcome:
        status = self._process.wait()
        self.stop()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if not self._ready and status >= 0:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_OF_LOG:].strip()
            raise BenchError(f"a worker process {how} before it could run anything", hint=said or None)
        return Outcome("lost", f"its process {how}")

    def _exceeded(self) -> Outcome | None:
        if self._busy_since is None or not self._ready:
            return None
        now = time.monotonic()
        limits, took = self._limits, now - self._busy_since
        reason = None
        if limits.seconds is not None and took > limits.seconds:
            reason = f"took longer than its limit of {limits.seconds:g} s"
        elif limits.memory is not None and now - self._looked > _LOOK_AT_MEMORY_S:
            self._looked = now
            if _resident(self.pid) > limits.memory:
                reason = f"out of memory: took more than its limit of {limits.memory / 1e9:g} GB"
        if reason is None:
            return None
        self.stop()
        return Outcome("failed", reason, seconds=took)


def _resident(pid: int) -> int:
    """Bytes of main memory of a process and of those that it started."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total
