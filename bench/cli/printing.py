"""Text from records and files on its way to a terminal: printed as it is, obeyed never."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bench.store import Problem

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: object) -> str:
    """With every control character, which could rewrite the terminal, as its escape sequence."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", str(text))


def plain(text: object) -> str:
    """As :func:`visible`, and with nothing that rich takes for markup."""
    from rich.markup import escape

    return escape(visible(text))


def console() -> Console:
    """Of the terminal's width; where the output is a file or a pipe, no line is broken."""
    from rich.console import Console

    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = 10_000
    return made


def warn_of(problems: Iterable[Problem]) -> None:
    """One line on standard error for each file that cannot be used."""
    for problem in problems:
        print(f"warning: not a usable record: {visible(problem)}", file=sys.stderr)
