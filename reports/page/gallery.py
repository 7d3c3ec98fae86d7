"""The figures of the page, each within it: drawings as SVG, pictures as data."""

from __future__ import annotations

import base64
import importlib
import itertools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.errors import BenchError
from bench.report import Runs
from reports.frame import Selection, one_line
from reports.page.svg import inlined

MAX_BYTES = 16 * 2**20
"""Of all figures together: mail servers refuse what is much larger."""

WIDE = 760
"""Pixels; what is wider has a row of the page for itself."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = 24  # bytes, up to and with width and height


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        anchor: Its place in the page.
        records: Ids of the records that it was made from.
        svg, image: The drawing, or the source of a picture; exactly one is there.
        size: Width and height in pixels; the latter is None where it follows from the drawing.
    """

    anchor: str
    name: str
    title: str
    caption: str
    records: tuple[str, ...]
    svg: Markup | None = None
    image: str | None = None
    size: tuple[int, int | None] = (0, None)

    @property
    def is_wide(self) -> bool:
        """Whether it would be hard to read beside another."""
        return self.size[0] > WIDE


@dataclass(frozen=True)
class Kind:
    """The figures of one kind.

    Attributes:
        has_more: Whether there may be more of them than the page was allowed to show.
    """

    name: str
    summary: str
    figures: tuple[Figure, ...]
    has_more: bool = False


@dataclass(frozen=True)
class Gallery:
    """All figures, what could not be drawn and why, and how many found no room."""

    kinds: tuple[Kind, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    @property
    def figures(self) -> list[Figure]:
        return [figure for kind in self.kinds for figure in kind.figures]

    def __bool__(self) -> bool:
        return bool(self.kinds or self.failures or self.left_out)


def gallery(runs: Runs, selection: Selection, most: int) -> Gallery:
    """Draw what ``reports.figures`` draws of the records.

    A figure that fails costs the page nothing but itself, and a kind that fails its further figures.

    Args:
        most: Figures of a kind; each takes about a tenth of a second.
    """
    if not most:
        return Gallery()
    try:
        module = importlib.import_module("reports.figures")
    except ImportError as error:
        return Gallery(failures=(("all figures", _reason(error)),))
    return collect(module.FIGURES.values(), runs, selection, most, module.to_svg)


def collect(
    drawn: Iterable[Any], runs: Runs, selection: Selection, most: int, to_svg: Callable[[Any], str]
) -> Gallery:
    """Bring drawings into the page, as many as there is room for.

    Args:
        drawn: Each a ``reports.figures.FigureKind``.
    """
    kinds: list[Kind] = []
    failures: list[tuple[str, str]] = []
    left_out = used = number = 0
    for kind in drawn:
        figures: list[Figure] = []
        drawings = _first(kind, runs, selection, most, failures)
        for drawing in drawings:
            number += 1
            try:
                figure = _figure(drawing, f"figure-{number}", to_svg)
            except Exception as error:  # whatever is wrong with one drawing, the others are wanted
                failures.append((one_line(drawing.title), _reason(error)))
                continue
            size = len(figure.svg or figure.image or "")
            if used + size > MAX_BYTES:
                left_out += 1
                continue
            used += size
            figures.append(figure)
        if figures:
            kinds.append(
                Kind(one_line(kind.name), one_line(kind.summary), tuple(figures), len(drawings) == most)
            )
    return Gallery(tuple(kinds), tuple(failures), left_out)


def _first(
    kind: Any, runs: Runs, selection: Selection, most: int, failures: list[tuple[str, str]]
) -> list[Any]:
    drawings: list[Any] = []
    try:
        drawings.extend(itertools.islice(kind.each(runs, selection), most))
    except Exception as error:  # the page is worth having without the figures that would have followed
        failures.append((f"further figures of the kind {one_line(kind.name)}", _reason(error)))
    return drawings


def _figure(drawing: Any, anchor: str, to_svg: Callable[[Any], str]) -> Figure:
    figure = Figure(
        anchor=anchor,
        name=one_line(drawing.name),
        title=one_line(drawing.title),
        caption=one_line(drawing.caption),
        records=tuple(drawing.records),
    )
    if drawing.figure is not None:
        svg, width = inlined(to_svg(drawing.figure), f"{anchor}-", figure.title)
        return replace(
            figure, size=(width, None), svg=Markup(svg)
        )  # made of known elements and attributes alone
    if drawing.picture is None:
        raise BenchError("the drawing is empty")
    source, size = _as_data(drawing.picture)
    return replace(figure, image=source, size=size)


def _as_data(picture: Path) -> tuple[str, tuple[int, int]]:
    """The source of an image, and its width and height."""
    try:
        content = picture.read_bytes()
    except OSError as error:
        raise BenchError(f"{picture.name} cannot be read: {error.strerror or error}") from error
    if not content.startswith(_PNG) or len(content) < _PNG_HEAD:
        raise BenchError(f"{picture.name} is not a PNG picture")
    width, height = struct.unpack_from(">II", content, 16)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}", (width, height)


def _reason(error: Exception) -> str:
    message = error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    return one_line(message)[:300]
