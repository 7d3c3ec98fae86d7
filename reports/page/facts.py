"""Parts of a record as names and texts that a page can show, whatever size they have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.frame import one_line

MAX_TEXT = 2_000
MAX_FACTS = 200
"""Of one part of a record. A record may be megabytes large; what a page shows of it is not."""

_NESTED = 3

Fact = list[str]
"""A name and its value, as text: JavaScript would round large whole numbers."""


def facts(mapping: Mapping[str, Any]) -> list[Fact]:
    """A mapping as names and texts; the names of nested ones are joined by points."""
    found: list[Fact] = []
    _collect(mapping, "", _NESTED, found)
    if len(found) > MAX_FACTS:
        found = [*found[:MAX_FACTS], ["…", f"{len(found) - MAX_FACTS} more in the record"]]
    return found


def _collect(mapping: Mapping[str, Any], prefix: str, depth: int, found: list[Fact]) -> None:
    for name, value in mapping.items():
        path = f"{prefix}{cut(one_line(str(name)))}"
        if isinstance(value, dict) and depth:
            _collect(value, f"{path}.", depth - 1, found)
        else:
            found.append([path, _text(value)])


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def cut(text: str) -> str:
    """A text of bounded length, which says how much is missing."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"
