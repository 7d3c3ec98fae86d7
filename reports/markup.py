"""Grids as Markdown, LaTeX and HTML: for a README, a paper, a page. What a record says is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby

from jinja2 import Environment

from reports.grid import Cell, Column, Entry, Grid
from reports.markdown import markdown_table, markdown_text
from reports.pivot import MISSING, notes_of

MARKS = (
    "Bold: best value; underlined: second.",
    "A range such as (1-2): equal values or overlapping error bars leave these ranks open.",
    "± is a standard deviation, over draws unless said otherwise; [ ] is a 95 % interval over images.",
)

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "—": "---",
    "×": r"$\times$",
    "²": r"$^2$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
}
_LATEX_LABELS = {"method": "l", "weights": r">{\raggedright\arraybackslash}p{0.22\linewidth}"}


def markdown(grids: Sequence[Grid], *, level: int = 2, baselines: Sequence[str] = ()) -> str:
    """A section for each grid.

    Args:
        level: Of the headings.
        baselines: Methods whose rows are marked as such.
    """
    return "\n".join(_markdown_section(grid, level, baselines) for grid in grids)


def latex(grids: Sequence[Grid]) -> str:
    """A ``table`` for each grid, with ``booktabs``."""
    head = "% \\usepackage[T1]{fontenc}, \\usepackage{array,booktabs}; a table that is too wide: --metric, --by\n"
    return head + "\n".join(map(_latex_table, grids))


def html(grids: Sequence[Grid]) -> str:
    """One page with a plain table for each grid: no script, no style but alignment."""
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    page.globals.update(mark=_html_mark, notes_of=notes_of, headings=_headings, missing=MISSING, marks=MARKS)
    return str(page.render(grids=grids))


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is, without ligatures such as the dash of ``--``."""
    return re.sub(
        r"([-,'`])(?=\1)|.",
        lambda found: found[1] + "{}" if found[1] else _LATEX.get(found[0], found[0]),
        text,
    )


def _markdown_section(grid: Grid, level: int, baselines: Sequence[str]) -> str:
    headings = [
        *grid.labels,
        *(f"{column.group} {column.name}".strip() for column in grid.columns),
    ]
    escaped = [markdown_text(text) for text in headings]
    texts = [place for place, name in enumerate(grid.labels) if name in ("method", "weights")]
    numbers = set(range(len(headings))) - set(texts)

    def labels(entry: Entry) -> list[str]:
        named = [markdown_text(text) for text in entry.labels]
        return [f"{named[0]} (baseline)", *named[1:]] if entry.method in baselines else named

    rows = [[*labels(entry), *_cells(grid, entry, _markdown_cell)] for entry in grid.entries]
    gaps = [MISSING] * (len(headings) - 2)
    mark = " (baseline)" if baselines else ""
    rows += [[markdown_text(name) + mark, "not measured", *gaps] for name in grid.absent]
    parts = [f"{'#' * level} {markdown_text(grid.title)}", ""]
    parts += [markdown_text(grid.details), ""] if grid.details else []
    parts += [markdown_table(escaped, rows, numbers), ""]
    if grid.published:
        printed = [
            [markdown_text(text) or MISSING for text in (entry.row, entry.citation, *entry.printed)]
            for entry in grid.published
        ]
        names = ["row of the paper", "where", *escaped[len(grid.labels) :]]
        table = markdown_table(names, printed, numbers=range(2, len(names)))
        parts += ["Printed in papers; not ranked with ours:", "", table, ""]
    parts += [f"- {markdown_text(line)}" for line in (*grid.units, *notes_of(grid))]
    return "\n".join(parts) + "\n"


def _latex_table(grid: Grid) -> str:
    labels, columns = len(grid.labels), len(grid.columns)
    left = "".join(_LATEX_LABELS.get(name, "r") for name in grid.labels)
    headings = _headings(grid.columns)
    groups = " & ".join(
        rf"\multicolumn{{{len(names)}}}{{c}}{{{latex_text(group)}}}" for group, names in headings
    )
    rules, start = [], labels + 1
    for _, names in headings:
        rules.append(rf"\cmidrule(lr){{{start}-{start + len(names) - 1}}}")
        start += len(names)
    names = [*grid.labels, *(name for _, names in headings for name in names)]
    body = [
        " & ".join([*map(latex_text, entry.labels), *_cells(grid, entry, _latex_cell)]) + r" \\"
        for entry in grid.entries
    ]
    body += [
        " & ".join([latex_text(name), "not measured", *["---"] * (labels + columns - 2)]) + r" \\"
        for name in grid.absent
    ]
    if grid.published:
        body.append(r"\midrule")
        body.append(rf"\multicolumn{{{labels + columns}}}{{l}}{{Printed in papers; not ranked with ours}} \\")
        for printed in grid.published:
            first = [latex_text(f"{printed.row} ({printed.citation})"), *[""] * (labels - 1)]
            body.append(
                " & ".join([*first, *(latex_text(text or MISSING) for text in printed.printed)]) + r" \\"
            )
    caption = ". ".join([grid.title, *grid.units, *notes_of(grid)])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(caption)}. {latex_text(' '.join(MARKS))}}}",
        rf"\begin{{tabular}}{{{left}{'r' * columns}}}",
        r"\toprule",
        *([" & " * labels + groups + r" \\", "".join(rules)] if columns else []),
        " & ".join(map(latex_text, names)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _headings(columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """Neighbouring columns of one group: its heading, and theirs. A key that all of them share is named once."""
    headings = []
    for group, members in groupby(columns, key=lambda column: column.group):
        names = [column.name for column in members]
        pairs = [name.partition("=") for name in names]
        if len({key for key, _, _ in pairs}) == 1 and all(
            value and "," not in value for _, _, value in pairs
        ):
            headings.append((f"{group} ({pairs[0][0]})", [value for _, _, value in pairs]))
        else:
            headings.append((group, names))
    return headings


def _cells(grid: Grid, entry: Entry, draw: Callable[[Cell, Column], str]) -> list[str]:
    return [
        MISSING if cell is None else draw(cell, column)
        for cell, column in zip(entry.cells, grid.columns, strict=True)
    ]


def _place(cell: Cell, column: Column) -> int | None:
    """1 for the best of several values, 2 for the second; ties share a place."""
    return cell.rank if column.compared and cell.rank in (1, 2) else None


def _markdown_cell(cell: Cell, column: Column) -> str:
    text = cell.text(column.digits)
    text = {1: f"**{text}**", 2: f"<ins>{text}</ins>"}.get(_place(cell, column) or 0, text)
    return f"{text} ({cell.open_rank})" if cell.open_rank and column.compared else text


def _latex_cell(cell: Cell, column: Column) -> str:
    text = latex_text(cell.text(column.digits))
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(_place(cell, column) or 0, text)
    return rf"{text} \textsuperscript{{({cell.open_rank})}}" if cell.open_rank and column.compared else text


def _html_mark(cell: Cell, column: Column) -> str:
    return {1: "b", 2: "u"}.get(_place(cell, column) or 0, "span")


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Leaderboard</title>
<style>
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.2em 0.6em; border-bottom: 1px solid #ccc; text-align: right; }
th.left, td.left { text-align: left; }
td:not(.left) { white-space: nowrap; }
</style>
</head>
<body>
<h1>Leaderboard</h1>
<ul>{% for line in marks %}<li>{{ line }}</li>{% endfor %}</ul>
{% for grid in grids %}
<section>
<h2>{{ grid.title }}</h2>
<p>{{ grid.details }}</p>
<table>
<thead>
<tr>{% for name in grid.labels %}<th class="left" rowspan="2">{{ name }}</th>{% endfor %}
{% for group, names in headings(grid.columns) %}<th colspan="{{ names|length }}">{{ group }}</th>{% endfor %}</tr>
<tr>{% for _, names in headings(grid.columns) %}{% for name in names %}<th>{{ name }}</th>{% endfor %}{% endfor %}</tr>
</thead>
<tbody>
{% for entry in grid.entries %}
<tr>{% for text in entry.labels %}<td class="left">{{ text }}</td>{% endfor %}
{% for cell in entry.cells %}
{% set column = grid.columns[loop.index0] %}
<td>{% if cell is none %}{{ missing }}{% else %}
{% set tag = mark(cell, column) %}
{% set ranks = cell.open_rank if column.compared %}
<{{ tag }}>{{ cell.text(column.digits) }}</{{ tag }}>{% if ranks %} ({{ ranks }}){% endif %}
{% endif %}</td>
{% endfor %}</tr>
{% endfor %}
{% for name in grid.absent %}
<tr><td class="left">{{ name }}</td><td colspan="{{ grid.labels|length + grid.columns|length - 1 }}" class="left">not \
measured</td></tr>
{% endfor %}
</tbody>
{% if grid.published %}
<tbody>
<tr><th colspan="{{ grid.labels|length + grid.columns|length }}" class="left">Printed in papers; not ranked with ours\
</th></tr>
{% for entry in grid.published %}
<tr><td colspan="{{ grid.labels|length }}" class="left">{{ entry.row }} ({{ entry.citation }})</td>
{% for text in entry.printed %}<td>{{ text or missing }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endif %}
</table>
<ul>
{% for line in grid.units %}<li>{{ line }}</li>{% endfor %}
{% for line in notes_of(grid) %}<li>{{ line }}</li>{% endfor %}
</ul>
</section>
{% endfor %}
</body>
</html>
"""
