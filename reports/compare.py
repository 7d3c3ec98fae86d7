"""Is one run better than another? Their difference on the same samples, with an interval and a corrected p-value."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.errors import BenchError
from bench.report import Report, ReportOptions, ReportOutput, Runs
from bench.run_reference import find_run
from reports.compare_runs import compare
from reports.compare_table import as_json, shown


class CompareOptions(ReportOptions):
    """Which two runs, and how thoroughly.

    Attributes:
        first, second: An id, the beginning of one, or the file of a record in any folder.
        metrics: Only these; the correction is then over these alone.
        landmarks: Also break the first metric down by landmark (or class), where it can be.
    """

    first: str = ""
    second: str = ""
    metrics: tuple[str, ...] = ()
    resamples: int = Field(10_000, ge=1_000, le=1_000_000)
    landmarks: bool = True


class CompareReport(Report):
    """Paired bootstrap over the samples that two runs share (images; in matching, pairs of images).

    Both runs must answer the same question: protocol, version, options, seed, data and preprocessing are equal, and
    what they have stored is of the same samples. Values are computed from what is stored, and must be those of the
    records.
    """

    name: ClassVar[str] = "compare"
    summary: ClassVar[str] = (
        "two runs on the same samples: difference, interval, corrected p-value, landmarks"
    )
    Options: ClassVar[type[CompareOptions]] = CompareOptions

    def render(self, runs: Runs, options: CompareOptions) -> ReportOutput:
        """Compare the two runs that the options name; ``runs`` says in which folder to look for them."""
        if runs.store is None or not options.first or not options.second:
            raise BenchError("two runs are compared: name both, by id or by file")
        folder = runs.store.folder
        found = compare(
            find_run(options.first, folder),
            find_run(options.second, folder),
            metrics=options.metrics,
            by_part=options.landmarks,
            resamples=options.resamples,
        )
        return ReportOutput(shown(found), as_json(found))
