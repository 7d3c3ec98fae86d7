"""The verdicts of a comparison for GitHub Actions: annotations of a run, and its job summary."""

from __future__ import annotations

from collections.abc import Sequence

from reports.markdown import markdown_table, markdown_text
from reports.regression import Comparison, Verdict

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings a step, and drops the rest silently."""

_LEVELS: dict[Verdict, str] = {
    "worse": "error",
    "failed": "error",
    "missing": "warning",
    "ambiguous": "warning",
    "better": "notice",
}


def workflow_commands(results: Sequence[Comparison]) -> list[str]:
    """Annotations, one a line: the worst first, and a last one that counts what is left out."""
    lines: list[str] = []
    for level in ("error", "warning", "notice"):
        told = [result for result in results if _LEVELS.get(result.verdict) == level]
        kept = told if len(told) <= MOST_ANNOTATIONS else told[: MOST_ANNOTATIONS - 1]
        lines += [_command(level, f"bench check: {result.verdict}", result.sentence()) for result in kept]
        if len(kept) < len(told):
            lines.append(_command(level, "bench check", f"{len(told) - len(kept)} more, see the job summary"))
    return lines


def unusable(message: str) -> str:
    """The annotation of a check that could not compare anything."""
    return _command("error", "bench check", message)


def job_summary(results: Sequence[Comparison], counts: str, outcome: str) -> str:
    """Markdown: the outcome, the counts, and a table of every value that is not simply unchanged."""
    rows = [
        [
            result.verdict,
            str(result.row["method"]),
            f"{result.row['protocol']}, {result.row['dataset']}",
            f"{result.row['metric']} {result.row['condition']}".rstrip(),
            *(
                result.number(value)
                for value in (result.baseline, result.current, result.worse_by, result.error)
            ),
        ]
        for result in results
        if result.verdict in _LEVELS
    ]
    headings = ["verdict", "method", "on", "metric", "baseline", "now", "worse by", "error bars"]
    escaped = [[markdown_text(cell) for cell in row] for row in rows]
    table = f"\n{markdown_table(headings, escaped, numbers=range(4, 8))}\n" if rows else ""
    return f"## bench check: {outcome}\n\n{counts}\n{table}"


def _command(level: str, title: str, message: str) -> str:
    escaped = _escape(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
