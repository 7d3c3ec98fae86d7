"""From records to tables, files and verdicts: the interface of every report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bench.record import RunRecord

if TYPE_CHECKING:
    from rich.console import RenderableType


class ReportOptions(BaseModel):
    """Base of every report's options: unknown names are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class ReportOutput:
    """What a report hands back; the caller prints it and writes it, the report itself touches nothing.

    Attributes:
        renderable: For people; None where there is nothing to show.
        data: The same for programs; strict JSON (no NaN).
        files: Content by path, to be written atomically.
        exit_code: Of the command that asked for the report.
    """

    renderable: RenderableType | None
    data: dict[str, Any]
    files: dict[Path, str] = field(default_factory=dict)
    exit_code: int = 0


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
    def render(self, records: Sequence[RunRecord], options: Any) -> ReportOutput:
        """Render; equal records in any order give equal output.

        Raises:
            BenchError: where the options do not fit the records.
        """
