"""Boards as Markdown, LaTeX and HTML: marks, gaps, printed rows, and text that wants to be code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.record import RunRecord
from bench.registry import load
from bench.report import Runs
from reports.leaderboard import LeaderboardOptions, LeaderboardReport, format_of
from reports.markdown import markdown_text
from reports.markup import latex_text
from tests.records import metric, record

THREE = (
    record(metric(1.0, low=0.8, high=1.2), method="first"),
    record(metric(1.1, low=0.9, high=1.3), method="second"),
    record(metric(2.0, low=1.9, high=2.1), method="third"),
)
HOSTILE = "<script>alert(1)</script> | \\input{x} $&%#_^~ [a](javascript:b) `c`"


def written(suffix: str, *records: RunRecord, **options: Any) -> str:
    path = Path(f"board{suffix}")
    chosen = LeaderboardOptions.model_validate({"outputs": (path,), **options})
    return str(LeaderboardReport().render(Runs(records), chosen).files[path])


def costs(value: float = 11.242176) -> RunRecord:
    method, protocol = load("methods", "contrast"), load("protocols", "memory")
    options = method.Options(backbone="resnet18", width=64, features="hypercolumn")
    found = record(
        metric(value, "params_m", unit="10^6"),
        method="contrast",
        options=method().describe(options),
        protocol="memory",
        version=protocol.version,
        protocol_options=protocol.Options(peak_device="none").model_dump(mode="json"),
    )
    return found.model_copy(update={"dataset": None})


def test_markdown_marks_the_best_and_the_second_and_open_ranks() -> None:
    text = written(".md", *THREE)
    rows = {
        line.split("|")[1].strip(): line.split("|")[4].strip()
        for line in text.splitlines()
        if line.count("|") == 5
    }
    assert rows["first"] == "**1.000 [0.800, 1.200]** (1-2)"
    assert rows["second"] == "<ins>1.100 [0.900, 1.300]</ins> (1-2)"
    assert rows["third"] == "2.000 [1.900, 2.100]"
    assert "- nme_interocular: % of inter-ocular distance, lower is better" in text
    assert "3 of 3 cells measured" in text
    assert "procedural data, not photographs" in text


def test_a_single_value_is_not_called_the_best() -> None:
    assert "**" not in written(".md", record(metric(1.0)))
    assert "textbf" not in written(".tex", record(metric(1.0)))


@pytest.mark.parametrize("suffix", [".md", ".tex", ".html"])
def test_where_all_values_are_equal_none_is_the_best(suffix: str) -> None:
    equal = [record(metric(1.0), method=name) for name in ("first", "second")]
    text = written(suffix, *equal)
    assert "1.0" in text
    for mark in ("**", "textbf", "<b>", "(1-2)</", "(1-2) |", "superscript{(1-2)}"):
        assert mark not in text


def test_a_key_that_all_columns_share_is_named_once() -> None:
    counts = [metric(1.0 / count, condition={"annotations": count}) for count in (5, 10)]
    tex, page = (written(suffix, record(*counts)) for suffix in (".tex", ".html"))
    assert r"\multicolumn{2}{c}{nme\_interocular $\downarrow$ (annotations)} \\" in tex
    assert r"& 5 & 10 \\" in tex
    assert '<th colspan="2">nme_interocular ↓ (annotations)</th>' in page
    both = [metric(2.0), *counts]
    assert r"& annotations=5 & annotations=10 \\" in written(".tex", record(*both))


def test_latex_is_booktabs_and_balanced() -> None:
    text = written(".tex", *THREE, record(metric(3.0, std=0.25), method="fourth_one"))
    assert r"\textbf{1.000 [0.800, 1.200]} \textsuperscript{(1-2)} \\" in text
    assert r"\underline{1.100 [0.900, 1.300]}" in text
    assert r"3.000 $\pm$ 0.250 \\" in text
    assert r"fourth\_one" in text
    assert r"nme\_interocular $\downarrow$" in text
    assert r"\% of inter-ocular distance" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {3}
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(tmp_path: Path) -> None:
    records = (
        *THREE,
        record(metric(3.0), label=HOSTILE),
        record(metric(2.0), label="a_b % & # $ ^ ~ {} ± ↓ ×²"),
    )
    (tmp_path / "board.tex").write_text(written(".tex", *records))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{array,booktabs}"
        r"\begin{document}\input{board}\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 0


def test_html_is_well_formed_and_marks_ranks() -> None:
    text = written(".html", *THREE)
    checker = _Balanced()
    checker.feed(text)
    assert checker.open == []
    assert re.sub(r"\s+", " ", text).count("<b>1.000 [0.800, 1.200]</b> (1-2)") == 1
    assert "<u>1.100" in text
    assert "src=" not in text


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_a_record_says_is_never_code() -> None:
    hostile = record(metric(1.0), label=HOSTILE)
    page = written(".html", hostile)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    table = written(".md", hostile)
    assert "<script>" not in table
    assert "](" not in table.replace("\\](", "")
    (row,) = [line for line in table.splitlines() if "lead" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    tex = written(".tex", hostile)
    assert r"\input" not in tex
    assert r"\textbackslash{}input\{x\}" in tex


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("nme_interocular", "nme_interocular"),
        ("_a_", r"\_a\_"),
        ("a|b", r"a\|b"),
        ("**a**", r"\*\*a\*\*"),
        ("<b>&", "&lt;b&gt;&amp;"),
    ],
)
def test_markdown_text(plain: str, escaped: str) -> None:
    assert markdown_text(plain) == escaped


def test_latex_text() -> None:
    assert latex_text("bench run --baselines, a-b") == "bench run -{}-baselines, a-b"
    assert latex_text(r"50% of a_b & {c} \d ~ ^ #1 $x$") == (
        r"50\% of a\_b \& \{c\} \textbackslash{}d \textasciitilde{} \textasciicircum{} \#1 \$x\$"
    )


def test_json_has_the_rows_and_csv_is_what_it_was() -> None:
    data = json.loads(written(".json", *THREE))
    assert [row["method"] for row in data["rows"]] == ["first", "second", "third"]
    assert written(".csv", *THREE).splitlines()[0].endswith("record,rank,rank_low,rank_high")


def test_the_format_is_that_of_the_suffix_unless_given() -> None:
    assert format_of(Path("a.TEX"), None) == "latex"
    assert format_of(Path("a.txt"), "markdown") == "markdown"
    with pytest.raises(BenchError, match="no suffix of a known format") as error:
        format_of(Path("board.htlm"), None)
    assert ".html" in str(error.value)


@pytest.mark.parametrize("suffix", [".md", ".tex", ".html", ".json"])
def test_the_order_of_the_records_does_not_matter(suffix: str) -> None:
    assert written(suffix, *THREE) == written(suffix, *reversed(THREE))


# --- printed rows ----------------------------------------------------------------------------------


def test_printed_rows_stand_apart_with_where_they_are_printed() -> None:
    text = written(".md", costs(), published=True)
    ours, printed = text.split("Printed in papers; not ranked with ours:")
    assert "11.24" in ours
    (row,) = [line for line in printed.splitlines() if line.startswith("| CL, ResNet18 ")]
    assert [part.strip() for part in row.split("|")[1:-1]] == [
        "CL, ResNet18",
        "Cheng et al., ICCV 2021, supplement, Table 2",
        "11.24",
    ]
    assert "11.24 here, 11.24 printed for CL, ResNet18" in printed
    assert "reproduced" in printed
    assert "12.61" in printed  # DVE's, which nobody ran here
    assert "**" not in printed


def test_printed_rows_only_on_request() -> None:
    assert "Printed in papers" not in written(".md", costs())


@pytest.mark.parametrize("suffix", [".md", ".tex", ".html"])
def test_nothing_is_printed_beside_procedural_data(suffix: str) -> None:
    faces = record(metric(3.0), protocol="regression", dataset="mafl")  # procedural, whatever its name
    assert "Printed in papers" not in written(suffix, faces, published=True)


def test_programs_get_the_verdicts() -> None:
    (match,) = json.loads(written(".json", costs(12.0), published=True))["published"]
    assert (match["printed"], match["verdict"]["kind"], match["record"]) == ("11.24", "off", costs(12.0).id)
