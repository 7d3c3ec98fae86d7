"""Parts of many cells, for the jobs of an array."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BenchError


@dataclass(frozen=True)
class Shard:
    """One of several parts: every ``count``-th cell, from ``index`` (1, 2, ...) on."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``i/n``.

        Raises:
            BenchError: where it is something else.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise BenchError(f"a shard is I/N, with I from 1 to N, got {text!r}", hint="For example 1/4.")
        return cls(int(index), int(count))

    def holds(self, number: int) -> bool:
        """Whether the cell at this place, from 0, is in the part."""
        return number % self.count == self.index - 1
