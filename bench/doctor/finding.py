"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import BenchError

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: ``environment``, ``weights``, ``caches``, ``data``, ``records`` or ``methods``.
        status: ``warning``: it works, and something will not be as expected; ``problem``: it does not work.
        remedy: What to do; empty where all is well.
    """

    area: str
    name: str
    status: Status
    found: str
    remedy: str = ""


def of_error(area: str, name: str, error: BenchError, remedy: str) -> Finding:
    """A problem; ``remedy`` is for errors that have no hint of their own."""
    return Finding(area, name, "problem", error.message, error.hint or remedy)
