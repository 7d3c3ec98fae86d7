"""The white-space separated lists of the published sets, read with every fault named by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.file_kinds import misfit


def read_lines(path: Path, *, source: str) -> list[str]:
    """The lines that are not blank, stripped; CRLF, a byte-order mark and a missing last newline are no faults.

    Args:
        source: Where the file is had; part of the messages.

    Raises:
        BenchError: where the file is missing, empty, a web page or not text.
    """
    if not path.is_file():
        raise BenchError(f"{path} is missing", hint=f"It is had from {source}.")
    wrong = misfit(path)
    if wrong is not None:
        raise BenchError(f"{path} is {wrong}", hint=f"Get it again from {source}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not text: {error}", hint=f"Get it again from {source}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise BenchError(f"{path} holds nothing but blanks", hint=f"Get it again from {source}.")
    return lines


def split_rows(path: Path, lines: list[str], columns: int, *, first: int = 1) -> list[list[str]]:
    """Each line cut at white space into exactly ``columns`` fields.

    Args:
        first: Number of the file's line that ``lines`` begins with, for messages.

    Raises:
        BenchError: names the first line with another number of fields.
    """
    rows = [line.split() for line in lines]
    for number, row in enumerate(rows, first):
        if len(row) != columns:
            raise BenchError(
                f"{path}, line {number}: {len(row)} fields, expected {columns}: {lines[number - first][:80]!r}"
            )
    return rows


def numbers(path: Path, rows: list[list[str]], *, first: int = 1) -> np.ndarray:
    """The fields as float64, (rows, columns).

    Raises:
        BenchError: names the first line with a field that is no finite number.
    """
    try:
        values = np.array(rows, dtype=np.float64)
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    for number, row in enumerate(rows, first):
        for field in row:
            try:
                fine = bool(np.isfinite(float(field)))
            except ValueError:
                fine = False
            if not fine:
                raise BenchError(f"{path}, line {number}: {field[:40]!r} is not a number")
    raise BenchError(f"{path} holds what cannot be read as numbers")


def named_numbers(
    path: Path, lines: list[str], columns: int, *, first: int = 1
) -> tuple[list[str], np.ndarray]:
    """Lines of a name and ``columns`` numbers: the names, and (rows, columns) float64.

    Raises:
        BenchError: names the first line with another number of fields, or with a field that is no finite number.
    """
    if not lines:
        return [], np.zeros((0, columns))
    longest = max(len(line) for line in lines)
    row = np.dtype([("name", f"U{longest}"), ("values", np.float64, (columns,))])
    try:  # ten times faster than the careful way, and as strict
        table = np.loadtxt(lines, dtype=row, comments=None, ndmin=1)
        if np.isfinite(table["values"]).all():
            return table["name"].tolist(), table["values"]
    except ValueError:
        pass
    rows = split_rows(path, lines, columns + 1, first=first)
    return [fields[0] for fields in rows], numbers(path, [fields[1:] for fields in rows], first=first)


def no_twice(path: Path, names: list[str]) -> None:
    """Make sure that a list names nothing twice.

    Raises:
        BenchError: names what is there twice.
    """
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BenchError(
                f"{path} lists {name!r} twice", hint="Take the official list again: an image must count once."
            )
        seen.add(name)
