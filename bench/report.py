"""From records to tables, files and verdicts: the interface of every report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError
from bench.record import RunRecord

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.store import Array, Problem, RunStore


class ReportOptions(BaseModel):
    """Base of every report's options: unknown names are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class Runs:
    """What a report reads.

    Attributes:
        records: Those that are readable.
        problems: Files among them that are not.
        store: Where their per-sample values and drawings lie; None: there is nothing but the records.
    """

    records: Sequence[RunRecord]
    problems: Sequence[Problem] = ()
    store: RunStore | None = None

    @classmethod
    def of(cls, store: RunStore) -> Runs:
        """Everything in a folder of records."""
        return cls(*store.load_all(), store)

    def per_sample(self, record_id: str) -> dict[str, Array]:
        """The per-sample values of a record.

        Raises:
            BenchError: where there are none, or they are broken.
        """
        return self._store(record_id).per_sample(record_id)

    def pictures(self, record_id: str) -> dict[str, Path]:
        """Name -> PNG file of the drawings of a record."""
        return {} if self.store is None else self.store.pictures(record_id)

    def _store(self, record_id: str) -> RunStore:
        if self.store is None:
            raise BenchError(f"run {record_id} was given without its per-sample values")
        return self.store


@dataclass(frozen=True, eq=False)
class ReportOutput:
    """What a report hands back; the caller prints it and writes it, the report itself touches nothing.

    Attributes:
        renderable: For people; None where there is nothing to show.
        told: What makes :attr:`data`, or the data.
        files: Content by path, to be written atomically.
        exit_code: Of the command that asked for the report.
        added: What is added at the end of files that others write, too.
    """

    renderable: RenderableType | None
    told: dict[str, Any] | Callable[[], dict[str, Any]]
    files: Mapping[Path, str | bytes] = field(default_factory=dict)
    exit_code: int = 0
    added: Mapping[Path, str] = field(default_factory=dict)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The same for programs; strict JSON (no NaN). Made when it is asked for: of many runs it is large."""
        return self.told() if callable(self.told) else self.told


class Report(ABC):
    """What the entry-point group ``bench.reports`` names.

    Attributes:
        name: As on the command line.
        summary: One line.
        Options: Typed options; every field has a default.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[ReportOptions]] = ReportOptions

    @abstractmethod
    def render(self, runs: Runs, options: Any) -> ReportOutput:
        """Render; equal records in any order give equal output.

        Raises:
            BenchError: where the options do not fit the records.
        """
