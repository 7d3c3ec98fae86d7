"""A headless Chromium for tests of pages: the DevTools protocol over a pipe, which needs no library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "Escape": ("", 27), " ": (" ", 32)}


def found() -> str | None:
    """The browser's program; None where there is none."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """One browser with one page.

    Attributes:
        complaints: What the page's console and the browser's log said, warnings and errors alone: errors of scripts,
            violations of the page's policy, requests that were refused.
        requests: Addresses that the page asked for.
    """

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        here, its = os.pipe(), os.pipe()
        # away from 3 and 4, which are its ends of the pipes
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (here[0], its[1]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(read), str(write), *_command(self._profile.name)],
            pass_fds=(read, write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (here[0], its[1], read, write):
            os.close(end)
        self._write, self._read = here[1], its[0]
        target = self._call("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file; returns when its own script has marked it as ready."""
        self.call("Page.navigate", {"url": page.resolve().as_uri() + fragment})
        self.wait("document.readyState === 'complete' && 'ready' in document.documentElement.dataset")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        options = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", options)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 90) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"still false after {seconds} s: {expression}; {self.complaints}")
            time.sleep(0.03)

    def press(self, key: str) -> None:
        """One key, as if typed."""
        text, code = _KEYS[key]
        event = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", "text": text, **event})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def write(self, text: str) -> None:
        """Type text into what has the focus."""
        self.call("Input.insertText", {"text": text})

    def screenshot(self, full: bool = False) -> bytes:
        """PNG of what is seen, or of all of the page."""
        answer = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": full})
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        answer = self.call("Page.printToPDF", {"printBackground": False, "preferCSSPageSize": True})
        return base64.b64decode(answer["data"])

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> Any:
        """A command of the DevTools protocol to the page."""
        return self._call(method, parameters or {}, self._session)

    def _call(self, method: str, parameters: dict[str, Any], session: str | None) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        content = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while content:
            content = content[os.write(self._write, content) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _next(self, seconds: float = 120) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], seconds)
            part = os.read(self._read, 2**20) if ready else b""
            if not part:
                raise RuntimeError("the browser ended" if ready else f"no answer in {seconds} s")
            self._buffer += part
        content, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        details = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(details["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if details["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(details["args"]))
            case "Log.entryAdded" if details["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(details["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])


def _command(profile: str) -> list[str]:
    program = found()
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")
    options = (
        "headless=new",
        "remote-debugging-pipe",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "disable-component-update",
        "disable-extensions",
        "no-first-run",
        "hide-scrollbars",
        f"user-data-dir={profile}",
        # its sandbox refuses to run as root, as tests in containers do
        *(["no-sandbox"] if os.geteuid() == 0 else []),
    )
    return [program, *(f"--{option}" for option in options)]
