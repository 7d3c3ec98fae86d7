"""The one exception a user of ``bench`` has to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A problem that the user can mend: what was got, what was expected, what to do next.

    The command line prints it without a traceback and exits with a non-zero status.

    Args:
        message: What was got and what was expected.
        hint: What to do next; printed on a line of its own.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names what is close to ``name``, then everything that is known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listing = ", ".join(names) if names else "none"
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}? Known: {listing}."
    return f"Known: {listing}."


class ToldElsewhereError(BenchError):
    """This process stops because another one of the same training has, which tells the user why."""

    def __init__(self) -> None:
        super().__init__("another process of this training has stopped, and said why")
