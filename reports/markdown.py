"""Markdown tables whose cells cannot break them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tabulate import tabulate

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int] = ()
) -> str:
    """A table in GitHub's Markdown; what the cells hold is shown as it is.

    Args:
        numbers: The columns whose cells are aligned at the right.
    """
    align = ["right" if column in numbers else "left" for column in range(len(headings))]
    cells = [[markdown_text(cell) for cell in row] for row in rows]
    table: str = tabulate(cells, [*headings], tablefmt="pipe", colalign=align, disable_numparse=True)
    return table


def markdown_text(text: str) -> str:
    """The text, with what Markdown or HTML would read as markup escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
