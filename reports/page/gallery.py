"""The figures of the page, each within it: drawings as SVG, pictures as data."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Iterable, Iterator
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

MAX_FIGURES = 300
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        anchor: Its place in the page.
        content: SVG, or the source of an image; exactly one is there.
        records: Ids of the records that it was made from.
    """

    anchor: str
    name: str
    kind: str
    title: str
    caption: str
    records: tuple[str, ...]
    svg: Markup | None = None
    image: str | None = None


@dataclass(frozen=True)
class Gallery:
    """All figures, what could not be drawn and why, and how many found no room."""

    figures: tuple[Figure, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    @property
    def kinds(self) -> list[tuple[str, list[Figure]]]:
        """The figures of each kind, in the order in which they came."""
        grouped: dict[str, list[Figure]] = {}
        for figure in self.figures:
            grouped.setdefault(figure.kind, []).append(figure)
        return list(grouped.items())


def gallery(runs: Runs, selection: Selection) -> Gallery:
    """Draw everything that ``reports.figures`` draws of the records.

    A figure that fails costs the page nothing but itself.
    """
    module = importlib.import_module("reports.figures")
    return collect(module.draw_all(runs, selection), module.to_svg)


def collect(drawings: Iterable[Any], to_svg: Callable[[Any], str]) -> Gallery:
    """Bring drawings into the page, as many as there is room for.

    Args:
        drawings: ``reports.figures.Drawing``.
    """
    figures: list[Figure] = []
    failures: list[tuple[str, str]] = []
    left_out = used = 0
    for drawing in _until_failure(drawings, failures):
        if len(figures) == MAX_FIGURES:
            left_out += 1
            continue
        try:
            figure = _figure(drawing, f"figure-{len(figures) + 1}", to_svg)
        except Exception as error:  # whatever is wrong with one drawing, the others are wanted
            failures.append((one_line(drawing.title), _reason(error)))
            continue
        size = len(figure.svg or figure.image or "")
        if used + size > MAX_BYTES:
            left_out += 1
            continue
        used += size
        figures.append(figure)
    return Gallery(tuple(figures), tuple(failures), left_out)


def _until_failure(drawings: Iterable[Any], failures: list[tuple[str, str]]) -> Iterator[Any]:
    try:
        yield from drawings
    except Exception as error:  # the page is worth having without the figures that would have followed
        failures.append(("all further figures", _reason(error)))


def _figure(drawing: Any, anchor: str, to_svg: Callable[[Any], str]) -> Figure:
    figure = Figure(
        anchor=anchor,
        name=one_line(drawing.name),
        kind=one_line(drawing.kind),
        title=one_line(drawing.title),
        caption=one_line(drawing.caption),
        records=tuple(drawing.records),
    )
    if drawing.figure is not None:
        svg = inlined(to_svg(drawing.figure), f"{anchor}-", figure.title)
        return replace(figure, svg=Markup(svg))  # noqa: S704 (made of known elements and attributes alone)
    if drawing.picture is None:
        raise BenchError("the drawing is empty")
    return replace(figure, image=_as_data(drawing.picture))


def _as_data(picture: Path) -> str:
    try:
        content = picture.read_bytes()
    except OSError as error:
        raise BenchError(f"{picture.name} cannot be read: {error.strerror or error}") from error
    if not content.startswith(_PNG):
        raise BenchError(f"{picture.name} is not a PNG picture")
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _reason(error: Exception) -> str:
    message = error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    return one_line(message)[:300]
