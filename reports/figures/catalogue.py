"""All kinds of figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from bench.report import Runs
from reports.figures.cost import COST
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.equivariance import EQUIVARIANCE
from reports.figures.errors import ERRORS
from reports.figures.fewshot import FEWSHOT
from reports.figures.landmark_maps import LANDMARKS
from reports.figures.published import PUBLISHED
from reports.figures.scale import SCALE
from reports.figures.stored import CASES, PAIRS, PARTS
from reports.frame import Selection

FIGURES: Mapping[str, FigureKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            FEWSHOT,
            EQUIVARIANCE,
            SCALE,
            COST,
            PUBLISHED,
            ERRORS,
            LANDMARKS,
            CASES,
            PAIRS,
            PARTS,
        )
    }
)
"""Name -> kind, in the order in which a page shows them."""


def draw_all(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    """Every figure that the records give, one after the other.

    Raises:
        BenchError: where a name in the selection matches no record.
    """
    for kind in FIGURES.values():
        yield from kind.each(runs, selection)
