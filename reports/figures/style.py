"""How every figure looks: sizes, fonts, and one colour and marker per method.

Colours are those of Okabe and Ito, which people with any colour vision tell apart, on white and on dark pages; no
figure relies on them alone. A figure is drawn and written within :func:`paper_style`, which changes matplotlib's
settings for that long only and does not depend on the user's own.

Reference: Okabe and Ito, Color Universal Design, 2008.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLUMN = 3.3
"""Width in inches of a figure in one of two columns."""
PAGE = 6.9
"""Width in inches of a figure across both."""

INK = "#1b1b1b"
"""Text and axes, and nothing else: a page may exchange it for its own colour of text."""
GREY = "#808080"
"""Baselines; told from white and from black alike."""

SMALL = 6.5
"""Points: the smallest text."""

BASELINES = ("random", "mean-shape")
"""Methods that have learned nothing."""

Dashes = str | tuple[float, tuple[float, ...]]

_OWN = {
    "lead": ("#0072b2", "o"),
    "contrast": ("#d55e00", "s"),
    "dve": ("#009e73", "^"),
    "thewlis": ("#cc79a7", "D"),
    "rahaman": ("#e69f00", "v"),
    "imagenet": ("#56b4e9", "P"),
    "supervised": (INK, "X"),
}
_SPARE_COLOURS = ("#999933", "#aa4499", "#6a7fdb", "#b5651d", "#44aa99", "#dc5b7c")
_SPARE_MARKERS = ("p", "h", "<", ">", "*", "d", "8")
_BASELINE_MARKERS = {"random": "x", "mean-shape": "+"}
_DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_BASELINE_DASHES: dict[str, tuple[Dashes, ...]] = {
    "random": (
        (0, (4, 2)),
        (0, (6, 1.5, 1, 1.5)),
        (0, (2, 1)),
        (0, (8, 3)),
        (0, (6, 1.5, 1, 1.5, 1, 1.5)),
        (0, (3, 4)),
    ),
    "mean-shape": ((0, (1, 1.5)), (0, (1, 3))),
}

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 7.0,
    "axes.labelsize": 7.0,
    "axes.titlesize": 7.0,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.columnspacing": 1.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.8,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a dollar in a method's name is a dollar
    "pdf.fonttype": 42,  # publishers refuse type 3 fonts
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Look:
    """Of the lines and marks of one method.

    Attributes:
        kinds: The dashes of its runs, where a figure has several.
        number: Which of them this is.
    """

    colour: str
    marker: str
    kinds: tuple[Dashes, ...] = ("-",)
    number: int = 0
    baseline: bool = False

    def of_line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot``."""
        shape = {"color": self.colour, "linestyle": self.kinds[self.number % len(self.kinds)]}
        return shape | ({"linewidth": 0.9} if self.baseline else self._mark())

    def of_mark(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for marks without a line."""
        return {"color": self.colour, "linestyle": "none", "markersize": 5.0} | self._mark()

    def variant(self, number: int) -> Look:
        """The look of the ``number``-th run of the same method in one figure: other dashes, hollow marks."""
        return replace(self, number=number)

    def _mark(self) -> dict[str, Any]:
        face = "none" if self.number % 2 else self.colour
        return {"marker": self.marker, "markerfacecolor": face, "markeredgewidth": 0.8}


def looks(methods: Iterable[str]) -> Mapping[str, Look]:
    """Name -> look. Methods that are not the package's own share the spare colours, in the order of their names."""
    found: dict[str, Look] = {}
    others = 0
    for name in sorted(set(methods)):
        if name in BASELINES:
            found[name] = Look(GREY, _BASELINE_MARKERS[name], _BASELINE_DASHES[name], baseline=True)
        elif name in _OWN:
            found[name] = Look(*_OWN[name], _DASHES)
        else:
            colour = _SPARE_COLOURS[others % len(_SPARE_COLOURS)]
            found[name] = Look(colour, _SPARE_MARKERS[others % len(_SPARE_MARKERS)], _DASHES)
            others += 1
    return found


@contextmanager
def paper_style() -> Iterator[None]:
    """Within it figures are made and written."""
    with matplotlib.style.context(_SETTINGS, after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which arranges its axes by itself."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg]
    return figure


def plain_logarithms(axis: Axis) -> None:
    """Numbers as they are, instead of powers of ten, along a logarithmic axis."""
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axis.set_minor_formatter(NullFormatter())


def light_grid(axes: Axes) -> None:
    """Lines across, hardly seen, behind everything."""
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    axes.set_axisbelow(True)
