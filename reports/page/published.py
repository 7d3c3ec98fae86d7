"""Our values beside those that papers print, for the page: what is comparable apart from what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report import Runs
from bench.verdict import Ours, decimals
from reports.frame import one_line
from reports.published_values import PublishedMatch, published_matches

MAX_ROWS = 500
"""Of either table."""

_COMPARABLE = ("reproduced", "off")


@dataclass(frozen=True)
class Comparison:
    """One printed value and ours, as texts; ``difference`` is empty where it would say nothing."""

    record: str
    method: str
    place: str
    cell: str
    metric: str
    printed: str
    ours: str
    unit: str
    difference: str
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """Values with a verdict, values without one, and where the printed ones are from."""

    comparable: tuple[Comparison, ...] = ()
    others: tuple[Comparison, ...] = ()
    citations: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.comparable or self.others)

    @property
    def reproduced(self) -> int:
        return sum(one.verdict == "reproduced" for one in self.comparable)


def published(runs: Runs) -> Published:
    """Every printed value that one of the runs answers to."""
    return compared(published_matches(runs))


def compared(matches: Iterable[PublishedMatch]) -> Published:
    """Matches of ``reports.published_values`` as rows of two tables."""
    rows = [(match, _comparison(match)) for match in matches]
    return Published(
        comparable=tuple(row for _, row in rows if row.verdict in _COMPARABLE),
        others=tuple(row for _, row in rows if row.verdict not in _COMPARABLE),
        citations=tuple(dict.fromkeys(one_line(match.citation) for match, _ in rows)),
    )


def _comparison(match: PublishedMatch) -> Comparison:
    digits = decimals(match.printed) + 1
    judged = match.verdict.kind in _COMPARABLE and match.verdict.difference is not None
    return Comparison(
        record=match.record,
        method=one_line(match.method),
        place=one_line(match.table),
        cell=one_line(f"{match.row}, {match.column}"),
        metric=one_line(f"{match.metric} {match.condition}"),
        printed=match.printed + (f" ± {match.printed_std}" if match.printed_std else ""),
        ours=_ours(match.ours, digits),
        unit=one_line(match.unit),
        difference=f"{match.verdict.difference:+.{digits}f}" if judged else "",
        verdict=match.verdict.kind,
        reasons=tuple(one_line(reason) for reason in match.verdict.reasons),
    )


def _ours(ours: Ours, digits: int) -> str:
    text = f"{ours.value:.{digits}f}"
    if ours.std is not None:
        return f"{text} ± {ours.std:.{digits}f}"
    if ours.low is not None and ours.high is not None:
        return f"{text} [{ours.low:.{digits}f}, {ours.high:.{digits}f}]"
    return text
