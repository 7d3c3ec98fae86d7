"""Markdown text and tables that what a record says cannot break."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tabulate import tabulate

_SPECIAL = re.compile(r"([\\`*\[\]|~#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, within a table too."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int] = ()
) -> str:
    """A table of Markdown texts.

    Args:
        numbers: The columns whose cells are aligned at the right.
    """
    sides = ["right" if column in numbers else "left" for column in range(len(headings))] if rows else None
    table: str = tabulate(rows, headings, tablefmt="pipe", colalign=sides, disable_numparse=True)
    return table
