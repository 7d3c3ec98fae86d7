"""Single figures as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.errors import BenchError, did_you_mean
from bench.report import Report, ReportOutput, Runs
from reports.figures import FIGURES, Drawing, FigureKind, to_file
from reports.figures.output import FORMATS
from reports.frame import Selection

ALL = "all"

Format = Literal["svg", "png", "pdf"]

_OTHER_PICTURES = (".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".gif", ".bmp", ".webp")
_MOST_NAMED = 12


class PlotOptions(Selection):
    """Which figures, and where they are written.

    A name is a kind of figure, ``all``, or the name of one figure. The output is a file that ends in .svg, .png or
    .pdf, for one figure, or a folder. No name: the kinds are listed and nothing is written.
    """

    names: tuple[str, ...] = ()
    output: Path = Path("figures")
    format: Format | None = None


class PlotReport(Report):
    """Figures for a paper, each with a caption that says what it shows and on which data."""

    name: ClassVar[str] = "plot"
    summary: ClassVar[str] = "figures as SVG, PNG or PDF"
    Options: ClassVar[type[PlotOptions]] = PlotOptions

    def render(self, runs: Runs, options: PlotOptions) -> ReportOutput:
        """Draw what is asked for.

        Raises:
            BenchError: for an unknown name, an unknown format, a file that should hold several figures, and where the
                records hold nothing to draw.
        """
        if not options.names:
            return _listing()
        kinds = _kinds(options.names)
        ending = _ending(options)
        drawings = [drawing for kind, wanted in kinds for drawing in _drawn(kind, wanted, runs, options)]
        if not drawings:
            raise _nothing(kinds, options)
        if options.output.suffix.lower() in FORMATS:
            paths = [_single(options.output, drawings)]
        else:
            paths = [options.output / f"{drawing.name}{ending}" for drawing in drawings]
        files = {path: to_file(drawing, path) for path, drawing in zip(paths, drawings, strict=True)}
        listed = [
            {
                "name": drawing.name,
                "kind": drawing.kind,
                "title": drawing.title,
                "caption": drawing.caption,
                "records": list(drawing.records),
                "file": str(path),
            }
            for path, drawing in zip(paths, drawings, strict=True)
        ]
        return ReportOutput(Group(*map(_described, drawings)), {"figures": listed}, files)


def _listing() -> ReportOutput:
    table = Table("figure", "shows", "from runs of")
    for kind in FIGURES.values():
        table.add_row(kind.name, kind.summary, ", ".join(kind.protocols))
    listed = [
        {"name": kind.name, "summary": kind.summary, "protocols": list(kind.protocols)}
        for kind in FIGURES.values()
    ]
    return ReportOutput(table, {"kinds": listed})


def _kinds(names: tuple[str, ...]) -> list[tuple[FigureKind, str | None]]:
    """Kinds, each with the name of the one figure that is wanted of it, or None for all of them."""
    if ALL in names:
        return [(kind, None) for kind in FIGURES.values()]
    found: list[tuple[FigureKind, str | None]] = []
    for name in dict.fromkeys(names):
        if name in FIGURES:
            found.append((FIGURES[name], None))
            continue
        kind = FIGURES.get(name.partition("-")[0])
        if kind is None:
            raise BenchError(f"no figure is called {name!r}", hint=did_you_mean(name, [*FIGURES, ALL]))
        found.append((kind, name))
    return found


def _drawn(kind: FigureKind, wanted: str | None, runs: Runs, options: PlotOptions) -> Iterator[Drawing]:
    names = []
    for drawing in kind.each(runs, options):
        if wanted in (None, drawing.name):
            yield drawing
        names.append(drawing.name)
    if wanted is not None and names and wanted not in names:
        raise BenchError(f"no figure is called {wanted!r}", hint=did_you_mean(wanted, names))


def _nothing(kinds: list[tuple[FigureKind, str | None]], options: PlotOptions) -> BenchError:
    filters = any((options.methods, options.datasets, options.protocols, options.metrics))
    protocols = list(dict.fromkeys(name for kind, _ in kinds for name in kind.protocols))
    what = "any figure" if len(kinds) > 1 else f"figure {kinds[0][1] or kinds[0][0].name!r}"
    hint = (
        f"Run one of these protocols first: {', '.join(protocols)}; e.g. bench run --protocol {protocols[0]}."
    )
    kind = kinds[0][0]
    if len(kinds) == 1 and kind.needs:
        hint = f"{kind.needs} {hint}"
    return BenchError(
        f"the records{' that the filters leave' if filters else ''} hold nothing for {what}", hint=hint
    )


def _ending(options: PlotOptions) -> str:
    suffix = options.output.suffix.lower()
    if suffix in _OTHER_PICTURES and not options.output.is_dir():
        raise BenchError(
            f"figures are not written as {suffix}", hint=f"Choose a name that ends in {', '.join(FORMATS)}."
        )
    if suffix in FORMATS and options.format is not None and suffix != f".{options.format}":
        raise BenchError(f"--format {options.format} and --output {options.output} do not agree")
    return f".{options.format or 'svg'}"


def _single(path: Path, drawings: list[Drawing]) -> Path:
    if len(drawings) > 1:
        names = [drawing.name for drawing in drawings[:_MOST_NAMED]]
        more = f" and {len(drawings) - _MOST_NAMED} more" if len(drawings) > _MOST_NAMED else ""
        raise BenchError(
            f"{path} holds one figure, and there are {len(drawings)}",
            hint=f"Name one of {', '.join(names)}{more}; choose with --dataset and --method; or give a folder.",
        )
    return path


def _described(drawing: Drawing) -> RenderableType:
    return Text.assemble((drawing.name, "bold"), ": ", drawing.caption)
