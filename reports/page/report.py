"""``bench report``: everything that the records say, as one page to look at, to mail and to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field
from rich.text import Text

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import Report, ReportOutput, Runs
from reports.frame import NO_DATA, Selection, frame_of, one_line
from reports.page.content import page_data
from reports.page.document import document
from reports.page.gallery import Gallery, gallery
from reports.page.published import MAX_ROWS, published
from reports.page.questions import distinctions
from reports.page.values import Headline, headlines, seed_means, with_texts
from reports.ranking import with_ranks

NOTHING_TO_SHOW = 2

KINDS = (".html", ".htm", ".md")

MAX_LISTED = 200
"""Headlines, failed runs and broken files beyond this many are counted, not listed."""


class PageOptions(Selection):
    """What is shown, and where it is written: a page, or Markdown where the file's name ends in ``.md``.

    Attributes:
        figures: At most so many of each kind; they take most of the time and of the room.
    """

    output: Path = Path("report.html")
    title: str = "Landmark benchmark"
    figures: Annotated[int, Field(ge=0)] = 12


class PageReport(Report):
    """One self-contained HTML file: summary, leaderboard, figures, published values, provenance of every number.

    It needs no server and no network, and nothing in a record can run in it.
    """

    name: ClassVar[str] = "report"
    summary: ClassVar[str] = "one self-contained HTML page (or Markdown): leaderboard, figures, provenance"
    Options: ClassVar[type[PageOptions]] = PageOptions

    def render(self, runs: Runs, options: PageOptions) -> ReportOutput:
        """Render the page; exit code 2 and no file where there are no records.

        Raises:
            BenchError: where the file's name says of no known kind, or the selection matches nothing.
        """
        _require_known_kind(options.output)
        if not runs.records:
            message = "No runs to report. Measure one with: bench run --method NAME --protocol NAME"
            return ReportOutput(Text(message), {"counts": {"records": 0}}, exit_code=NOTHING_TO_SHOW)
        selection = Selection.model_validate(options.model_dump(include=set(Selection.model_fields)))
        ranked = with_ranks(selection.apply(frame_of(runs.records)))
        records = _selected(runs.records, ranked, selection)
        chosen = Runs(list(records.values()), runs.problems, runs.store)
        if options.output.suffix.lower() == ".md":
            from reports.benchmarks import markdown_document  # noqa: PLC0415 - brings what no page needs

            text = markdown_document(chosen)
            return ReportOutput(
                Text(f"{len(records)} runs"), {"counts": {"records": len(records)}}, {options.output: text}
            )
        values = with_texts(ranked)
        means = seed_means(values)
        drawn = gallery(chosen, selection, options.figures)
        told_apart = distinctions(values, records)
        leading = headlines(values, means, records, told_apart)
        content = _content(chosen, values, leading, drawn, options.title)
        page = document(content, page_data(values, means, records, told_apart))
        data = {
            "counts": content["counts"],
            "figures": [figure.name for figure in drawn.figures],
            "figures_failed": [{"figure": name, "reason": reason} for name, reason in drawn.failures],
            "figures_left_out": drawn.left_out,
        }
        return ReportOutput(_spoken(content["counts"], drawn), data, {options.output: page})


def _require_known_kind(output: Path) -> None:
    if output.suffix.lower() not in KINDS:
        raise BenchError(
            f"a report cannot be written to {str(output)!r}: expected a name that ends in {' or '.join(KINDS)}",
            hint="For single figures as SVG, PNG or PDF: bench plot. For CSV or LaTeX: bench leaderboard.",
        )


def _selected(records: Any, ranked: pd.DataFrame, selection: Selection) -> dict[str, RunRecord]:
    """The records that the rows are of, by id, in the order of the rows; of the selected metrics alone."""
    by_id = {record.id: record for record in records}
    found = {identity: by_id[identity] for identity in ranked["record"].drop_duplicates()}
    if not selection.metrics:
        return found
    return {
        identity: record.model_copy(
            update={"metrics": [m for m in record.metrics if one_line(m.metric) in selection.metrics]}
        )
        for identity, record in found.items()
    }


def _content(
    runs: Runs, values: pd.DataFrame, leading: list[Headline], drawn: Gallery, title: str
) -> dict[str, Any]:
    """Variables of the page's template."""
    failed = [record for record in runs.records if record.status == "failed"]
    return {
        "title": one_line(title) or "Landmark benchmark",
        "counts": _counts(runs, values),
        "commits": _commits(runs),
        "headlines": _by_tier(leading[:MAX_LISTED]),
        "headlines_left_out": max(len(leading) - MAX_LISTED, 0),
        "several_seeds": values["seed"].nunique() > 1,
        "failed": failed[:MAX_LISTED],
        "problems": runs.problems[:MAX_LISTED],
        "listed": MAX_LISTED,
        "gallery": drawn,
        "names": {record.id: _label(record) for record in runs.records},
        "published": published(runs),
        "published_rows": MAX_ROWS,
    }


def _counts(runs: Runs, values: pd.DataFrame) -> dict[str, int]:
    tiers = Counter(NO_DATA if record.dataset is None else record.dataset.tier for record in runs.records)
    return {
        "records": len(runs.records),
        "values": int(values["value"].notna().sum()),
        "methods": values["method"].nunique(),
        "datasets": values.loc[values["dataset"] != NO_DATA, "dataset"].nunique(),
        "protocols": values["protocol"].nunique(),
        "seeds": values["seed"].nunique(),
        "failed": sum(record.status == "failed" for record in runs.records),
        "broken": len(runs.problems),
        **{f"on_{tier}": tiers[tier] for tier in ("published", "own", "procedural", NO_DATA)},
    }


def _by_tier(leading: list[Headline]) -> list[tuple[str, list[Headline]]]:
    grouped: dict[str, list[Headline]] = {}
    for headline in leading:
        grouped.setdefault(str(headline.row["tier"]), []).append(headline)
    return list(grouped.items())


def _commits(runs: Runs) -> list[tuple[str, int]]:
    """Which sources measured how many of the runs; those of an installation have no commit."""
    found: Counter[str] = Counter()
    for record in runs.records:
        git = record.provenance.get("git")
        if isinstance(git, dict) and isinstance(git.get("commit"), str):
            found[one_line(git["commit"])[:12] + (" with changes" if git.get("dirty") else "")] += 1
        else:
            found["no commit recorded"] += 1
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _label(record: RunRecord) -> str:
    data = "" if record.dataset is None else f", {one_line(record.dataset.name)}"
    return f"{one_line(record.method.name)}, {one_line(record.protocol.name)}{data}"


def _spoken(counts: Mapping[str, int], drawn: Gallery) -> Text:
    lines = [
        f"{counts['records']} runs of {counts['methods']} methods, {counts['values']} values, "
        f"{len(drawn.figures)} figures"
    ]
    if counts["failed"]:
        lines.append(f"{counts['failed']} runs failed; the page says why")
    lines += [f"not drawn: {title}: {reason}" for title, reason in drawn.failures]
    if drawn.left_out:
        lines.append(f"{drawn.left_out} figures found no room in the page")
    return Text("\n".join(lines))
