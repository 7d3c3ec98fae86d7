"""Figures for papers and pages, from records alone."""

from reports.figures.catalogue import FIGURES, draw_all
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.output import to_file, to_svg

__all__ = ["FIGURES", "Drawing", "FigureKind", "draw_all", "to_file", "to_svg"]
