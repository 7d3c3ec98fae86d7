"""What a figure is: its drawing, its caption, and the records that it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench.report import Runs
from reports.frame import Selection


@dataclass(frozen=True, eq=False)
class Drawing:
    """One figure, ready to be written or shown.

    Attributes:
        name: Unique among the drawings of a folder of records; letters, digits and ``-``.
        kind: Name of the :class:`FigureKind` that drew it.
        title: One line.
        caption: What is shown, on which data (procedural data is called so), and what the bands are.
        records: Ids of the records that it shows.
        figure: None where it is a stored picture.
        picture: PNG file that was stored with a record.
    """

    name: str
    kind: str
    title: str
    caption: str
    records: tuple[str, ...]
    figure: Figure | None
    picture: Path | None = None


@dataclass(frozen=True)
class FigureKind:
    """One kind of figure, for any records.

    Attributes:
        name: As on the command line.
        summary: One line.
        protocols: Whose records it shows; any of them is enough.
        each: Draws one after the other, so that whoever wants few waits for few only.
        needs: What the runs must have besides, in a sentence.
    """

    name: str
    summary: str
    protocols: tuple[str, ...]
    each: Callable[[Runs, Selection], Iterator[Drawing]]
    needs: str = ""

    def draw(self, runs: Runs, selection: Selection) -> list[Drawing]:
        """All of its drawings; none where the records hold nothing for it.

        Raises:
            BenchError: where a name in the selection matches no record.
        """
        return list(self.each(runs, selection))
