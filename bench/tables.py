"""Published tables as recipes: each number that a paper prints, and the run of ours that measures the same.

A paper's tables are found by name like every other component: the entry-point group ``bench.tables`` names one class
per paper. ``lead2022:table5`` is the table ``table5`` of the paper ``lead2022``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench import registry
from bench.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.protocol import Scalar


@dataclass(frozen=True)
class Training:
    """Weights that a table needs, and the pre-training that gives them.

    Attributes:
        name: What ``--checkpoint NAME=PATH`` calls them; equal names mean equal trainings.
        dataset: Name of the data set whose images they are trained on.
        initial: Weights to start from.
        share: Part of the images, as of ``bench pretrain --share``.
        official: Released file that holds them, and whose it is; empty: none is known.
    """

    name: str
    method: str
    dataset: str
    variant: str | None = None
    method_options: tuple[str, ...] = ()
    recipe_options: tuple[str, ...] = ()
    initial: Training | None = None
    share: float = 1.0
    official: str = ""

    @property
    def chain(self) -> tuple[Training, ...]:
        """All trainings that lead to these weights, the first one first."""
        return (*(self.initial.chain if self.initial else ()), self)

    def command(self, preset: str = "paper") -> str:
        """The command that trains them; weights that it starts from are those of a command of their own."""
        words = ["bench pretrain -m", self.method, "--preset", preset]
        if self.variant:
            words += ["--variant", self.variant]
        words += [f"-M {option}" for option in self.method_options]
        words += [f"-R {option}" for option in self.recipe_options]
        if self.initial:
            words += ["--init", f"checkpoints/{self.initial.name}/weights.safetensors"]
        if self.share < 1:
            words += ["--share", f"{self.share:g}"]
        words += ["-d", f"{self.dataset}:FOLDER", "-o", f"checkpoints/{self.name}"]
        return " ".join(words)


@dataclass(frozen=True)
class CellRun:
    """What has to be run for one cell, and which of its numbers is the cell's.

    Attributes:
        dataset: Name of the data set; None where the protocol reads no images.
        paper_preset: The protocol's preset that is the paper's.
        protocol_options: What is asked, such as the numbers of annotations; with every preset.
        paper_options: How long is trained, and the like; with the paper's preset alone.
        dataset_options, train_split, test_split: With the paper's own data alone.
        preprocessing: Name of one; ``image_size`` and ``margin`` instead of its own.
        weights: None where the method needs none.
        condition: Of the metric's value; it may have further keys where only one value fits.
        also: Conditions of further values: the cell is the mean of all, e.g. of the left and the right wrist.
        scale: Printed number = scale times ours, e.g. 100 where the paper prints percent of a share.
        free_options: Of the protocol: those that leave this number as it is.
    """

    method: str
    protocol: str
    metric: str
    condition: Mapping[str, Scalar] = field(default_factory=dict)
    also: tuple[Mapping[str, Scalar], ...] = ()
    dataset: str | None = None
    dataset_options: tuple[str, ...] = ()
    train_split: str | None = None
    test_split: str | None = None
    preprocessing: str = "contrast-96"
    image_size: int | None = None
    margin: int | None = None
    method_options: tuple[str, ...] = ()
    paper_preset: str = "paper"
    protocol_options: tuple[str, ...] = ()
    paper_options: tuple[str, ...] = ()
    weights: Training | None = None
    scale: float = 1.0
    free_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        row: Whose number it is, as far as the table distinguishes it.
        column: Of what.
        method: As the paper prints it.
        value: As it is printed; empty where it is plotted only.
        std: As it is printed; empty where there is none.
        run: None where it is not a method of ours, or a measurement that we have not.
        barriers: Why ours cannot be compared with it, whatever data and weights are given.
        notes: What else there is to know of it.
    """

    row: str
    column: str
    method: str
    value: str
    std: str = ""
    run: CellRun | None = None
    barriers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table or a plotted figure.

    Attributes:
        name: Full name, such as ``lead2022:table5``.
        summary: What it shows.
        metrics: What the paper measures there, in its words.
        datasets: On what, in its words.
    """

    name: str
    summary: str
    cells: tuple[Cell, ...]
    metrics: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


class Paper(ABC):
    """What the entry-point group ``bench.tables`` names: the tables of one paper.

    Attributes:
        name: First author and year, as before the colon of a table's name.
        summary: One line.
        reference: Authors, title, where it appeared.
        cited_as: The same in short, as before a table's number; empty: the reference.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    cited_as: ClassVar[str] = ""

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """All of them, in the paper's order."""


def find_table(name: str) -> Table:
    """The table called ``PAPER:TABLE``.

    Raises:
        BenchError: where there is none of that name.
    """
    paper, colon, _ = name.partition(":")
    if not colon or paper not in registry.names("tables"):
        known = [table.name for table in all_tables()]
        raise BenchError(
            f"no table is called {name!r}: expected PAPER:TABLE",
            hint=_near(name, known) + " See: bench list tables.",
        )
    tables = {table.name: table for table in _tables_of(paper)}
    if name not in tables:
        raise BenchError(f"paper {paper!r} has no table {name!r}", hint=did_you_mean(name, tables))
    return tables[name]


def all_tables() -> Iterator[Table]:
    """The tables of all papers."""
    for paper in registry.names("tables"):
        yield from _tables_of(paper)


def citation(table: Table) -> str:
    """Paper and table in short, e.g. ``Karmali et al., WACV 2022, Table 5``."""
    paper, _, name = table.name.partition(":")
    found: type[Paper] = registry.load("tables", paper)
    return f"{found.cited_as or found.reference}, {_place(name)}"


def _place(name: str) -> str:
    """``supp-table4`` -> ``supplement, Table 4``."""
    supplement = "supplement, " if name.startswith("supp-") else ""
    kinds = {"table": "Table ", "fig": "Figure ", "sec": "Section "}
    rest = name.removeprefix("supp-")
    for kind, word in kinds.items():
        if rest.startswith(kind) and rest[len(kind) :][:1].isdigit():
            return supplement + word + rest.removeprefix(kind)
    return supplement + rest.replace("-", " ")


def _tables_of(paper: str) -> tuple[Table, ...]:
    found: Paper = registry.load("tables", paper)()
    return found.tables()


def _near(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint.split(" Known:")[0] if hint.startswith("Did you mean") else "For example lead2022:table5."
