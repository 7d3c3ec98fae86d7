"""Figures as bytes; equal figures give equal bytes."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.errors import BenchError
from reports.figures.drawing import Drawing
from reports.figures.style import INK, PAGE, paper_style

FORMATS = (".svg", ".png", ".pdf")

_WITHOUT_DATE = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_DOTS_PER_INCH = 180  # of a stored picture on paper, where that is not wider than a page
_FONTS = "'DejaVu Sans', Verdana, sans-serif"  # Verdana has the same widths
_SHARED_BY_ALL = re.compile(
    r"\s*<style\b.*?</style>|\s*<metadata>.*?</metadata>|\s*<defs>\s*</defs>", re.DOTALL
)
_TAG = re.compile(r"<[^>]+>")
_INK = re.compile(rf"((?:fill|stroke): ?){INK}")
_REFERENCE = re.compile(r"""((?<=\s)id="|url\(#|href="#)""")


def to_svg(figure: Figure) -> str:
    """An ``<svg>`` element to be put into a page.

    Text stays text. Text and axes have the page's colour of text, and the background is the page's: legible on light
    and dark pages. Ids are unique to the figure, and no style leaves it, so that a page can hold many.
    """
    with paper_style(), matplotlib.rc_context({"svg.fonttype": "none"}):
        _settle(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_WITHOUT_DATE["svg"])
    text = buffer.getvalue().decode()
    # Matplotlib's style sheet names every element, those of the page too.
    text = _SHARED_BY_ALL.sub("", text[text.index("<svg") :])
    own = f"f{hashlib.sha256(text.encode()).hexdigest()[:10]}-"
    text = _TAG.sub(lambda tag: _of_page(tag[0], own), text)
    return text.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)


def to_file(drawing: Drawing, path: Path) -> bytes:
    """The content of a file, in the format that the name ends with: ``.svg``, ``.png`` or ``.pdf``.

    A figure has a white background; letters are outlines in SVG and embedded in PDF.

    Raises:
        BenchError: for any other ending, and where a stored picture cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise BenchError(
            f"{path}: figures are not written as {suffix or 'a file without an ending'}",
            hint=f"Choose a name that ends in {', '.join(FORMATS)}.",
        )
    if drawing.figure is None and suffix == ".png":
        return _stored(drawing)[1]
    figure = drawing.figure or _figure_of(_stored(drawing)[0])
    with paper_style():
        _settle(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=_WITHOUT_DATE[suffix[1:]])
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Arrange the axes once: matplotlib would move them a little each time that the figure is written."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _of_page(tag: str, own: str) -> str:
    tag = _REFERENCE.sub(lambda found: found[1] + own, tag)
    return _INK.sub(r"\1currentColor", tag).replace("'DejaVu Sans'", _FONTS)


def _stored(drawing: Drawing) -> tuple[Image.Image, bytes]:
    if drawing.picture is None:
        raise BenchError(f"figure {drawing.name} has neither a drawing nor a stored picture")
    try:
        content = drawing.picture.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            return picture.convert("RGB"), content
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BenchError(
            f"cannot read the picture {drawing.picture}: {error}",
            hint="Delete the run's files; run it again.",
        ) from error


def _figure_of(picture: Image.Image) -> Figure:
    width = min(PAGE, picture.width / _DOTS_PER_INCH)
    with paper_style():
        figure = Figure(figsize=(width, width * picture.height / picture.width))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(np.asarray(picture), interpolation="none")
        axes.set_axis_off()
    return figure
