"""What ``bench check`` tells CI servers: JUnit XML, annotations, a job summary."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench.cli import app
from bench.store import RunStore
from reports.github import job_summary, workflow_commands
from reports.junit import junit_xml
from reports.markdown import markdown_table, markdown_text
from reports.regression import Comparison, judge
from tests.records import metric, record


def row(value: float, **changes: object) -> dict[str, object]:
    common = {
        "method": "lead",
        "weights_label": "shipped",
        "weights_sha256": "a",
        "protocol": "fewshot",
        "dataset": "synthetic-faces",
        "metric": "nme_interocular",
        "condition": "annotations=10",
        "seed": 0,
        "direction": "lower",
        "low": None,
        "high": None,
        "std": None,
    }
    return {**common, "value": value, **changes}


def worse(**changes: object) -> Comparison:
    return judge(row(9.2, **changes), row(8.0, **changes), 0.02)


def same() -> Comparison:
    return judge(row(8.0), row(8.0), 0.02)


def test_a_sentence_says_what_was_and_what_is() -> None:
    assert worse().sentence() == (
        "lead, fewshot on synthetic-faces, nme_interocular annotations=10: worse (was 8.000, is 9.200; "
        "worse by 1.200, +15.0 %; error bars 0.000)"
    )
    missing = Comparison("missing", row(8.0), baseline=8.0)
    assert missing.sentence().endswith("missing (was 8.000)")


def test_junit_counts_are_those_of_its_cases() -> None:
    results = [
        worse(),
        same(),
        Comparison("missing", row(8.0), baseline=8.0),
        Comparison("failed", row(8.0), baseline=8.0),
        Comparison("new", row(8.0), current=8.0),
    ]
    suite = ElementTree.fromstring(junit_xml(results))[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert [[child.tag for child in case] for case in suite] == [
        ["failure"],
        [],
        ["skipped"],
        ["error"],
        ["skipped"],
    ]
    assert suite[0].get("classname") == "fewshot.synthetic-faces.lead"
    required = ElementTree.fromstring(junit_xml(results, required=("missing", "failed")))[0]
    assert (required.get("failures"), required.get("errors")) == ("3", "0")


@given(st.text())
def test_no_name_breaks_the_xml(name: str) -> None:
    suite = ElementTree.fromstring(junit_xml([worse(method=name)]))[0]
    assert suite[0][0].get("type") == "worse"


def test_an_annotation_is_one_line_whatever_is_in_it() -> None:
    (line,) = workflow_commands([worse(method="a\nb%,::warning::c")])
    assert line.startswith("::error title=bench check%3A worse::a%0Ab%25,::warning::c, fewshot")
    assert "\n" not in line


def test_annotations_beyond_what_is_shown_are_counted() -> None:
    lines = workflow_commands([*[worse()] * 25, same()])
    assert len(lines) == 10
    assert lines[-1] == "::error title=bench check::16 more, see the job summary"
    assert workflow_commands([same()]) == []


def test_the_summary_shows_what_changed_and_escapes_it() -> None:
    text = job_summary([worse(method="le|ad<b>"), same()], "2 values compared", "regressed")
    assert text.startswith("## bench check: regressed\n\n2 values compared\n")
    (line,) = [line for line in text.splitlines() if "worse" in line and line.startswith("| worse")]
    assert r"le\|ad&lt;b&gt;" in line
    assert [cell.strip() for cell in line.split(" | ")][4:] == ["8.000", "9.200", "1.200", "0.000 |"]
    assert "|" not in job_summary([same()], "1 value compared", "no metric regressed")


def test_cells_of_a_markdown_table_stay_cells() -> None:
    cells = [markdown_text(text) for text in ("1|2", "x\ny")]
    table = markdown_table(["a", "b"], [cells], numbers=[1])
    assert table.splitlines() == ["| a    |   b |", "|:-----|----:|", r"| 1\|2 | x y |"]


@pytest.fixture
def checked(tmp_path: Path) -> list[str]:
    """Arguments of a check in which one metric is worse than it was."""
    RunStore(tmp_path / "then").save(record(metric(8.0)))
    RunStore(tmp_path / "now").save(record(metric(9.0)))
    baseline = str(tmp_path / "baseline.csv")
    made = CliRunner().invoke(
        app, ["check", "--runs", str(tmp_path / "then"), "--baseline", baseline, "--write-baseline"]
    )
    assert made.exit_code == 0
    return ["check", "--runs", str(tmp_path / "now"), "--baseline", baseline]


def test_on_github_the_summary_is_added_to_and_annotations_are_printed(
    checked: list[str], tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    result = CliRunner().invoke(app, [*checked, "--junit", str(tmp_path / "check.xml")], env=environment)
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=bench check%3A worse::lead, regression on synthetic-faces")
    assert summary.read_text().startswith("# before\n## bench check: regressed\n")
    assert ElementTree.parse(tmp_path / "check.xml").getroot()[0].get("failures") == "1"


def test_json_is_nothing_but_json_there_too(checked: list[str]) -> None:
    result = CliRunner().invoke(app, [*checked, "--json"], env={"GITHUB_ACTIONS": "true"})
    assert json.loads(result.stdout)["exit_code"] == 1


def test_elsewhere_nothing_is_annotated(checked: list[str]) -> None:
    result = CliRunner().invoke(app, checked, env={"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""})
    assert result.exit_code == 1
    assert "::" not in result.stdout


def test_a_check_that_cannot_compare_is_annotated_as_well(checked: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, [*checked[:-1], str(tmp_path / "none.csv")], env={"GITHUB_ACTIONS": "true"}
    )
    assert result.exit_code == 2
    assert any(
        line.startswith("::error title=bench check::there is no baseline")
        for line in result.stdout.splitlines()
    )
