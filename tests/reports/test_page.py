from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from bench.store import Problem, RunStore
from bench.verdict import Ours, Verdict
from reports.frame import frame_of
from reports.page import PageOptions, PageReport
from reports.page.document import embedded
from reports.page.facts import MAX_FACTS, MAX_TEXT, facts
from reports.page.published import compared
from reports.page.questions import distinctions, question_key
from reports.page.values import headlines, seed_means, with_texts
from reports.published_values import PublishedMatch
from reports.ranking import with_ranks
from tests.records import metric, record

PATH = Path("report.html")
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of those without children."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.texts.append((self.found[-1][0], data))


def render(*records: RunRecord, problems: tuple[Problem, ...] = (), **options: Any) -> ReportOutput:
    chosen = PageOptions.model_validate({"figures": 0} | options)
    return PageReport().render(Runs(records, problems), chosen)


def page_of(*records: RunRecord, **options: Any) -> str:
    return str(render(*records, **options).files[PATH])


def data_of(page: str) -> dict[str, Any]:
    start = page.index('<script type="application/json" id="data">')
    content = page[page.index(">", start) + 1 : page.index("</script>", start)]
    data: dict[str, Any] = json.loads(content)
    return data


def headlines_of(*records: RunRecord) -> list[Any]:
    by_id = {one.id: one for one in records}
    values = with_texts(with_ranks(frame_of(records)))
    return headlines(values, seed_means(values), by_id, distinctions(values, by_id))


def test_without_records_nothing_is_written() -> None:
    output = render()
    assert (output.exit_code, dict(output.files)) == (2, {})


def test_equal_records_in_any_order_give_equal_pages() -> None:
    records = [
        record(metric(float(i)), method=name, seed=i) for i, name in enumerate(["lead", "dve", "lead"])
    ]
    assert page_of(*records) == page_of(*reversed(records))


def test_a_value_is_there_in_full_and_rounded_with_its_declaration() -> None:
    first = record(metric(12.096817580533868, low=11.2, high=13.15, count=168))
    second = record(metric(7.5, std=0.25, condition={"annotations": 10}), method="dve")
    data = data_of(page_of(first, second))
    rows = {
        data["records"][place][0]: index for index, place in enumerate(data["values"]["record"])
    }  # one value each
    columns = data["values"]
    i, j = rows[first.id], rows[second.id]
    assert columns["value"][i] == 12.096817580533868
    assert (columns["text"][i], columns["spread"][i], columns["count"][i]) == ("12.10", "[11.20, 13.15]", 168)
    assert (columns["text"][j], columns["spread"][j]) == ("7.500", "± 0.250")
    assert data["pools"]["condition"][columns["condition"][j]] == "annotations=10"
    assert data["pools"]["metric"][columns["metric"][i]] == [
        "nme_interocular",
        "% of inter-ocular distance",
        "lower",
        "mean distance over landmarks and images",
        "over visible landmarks, then images",
    ]


def test_provenance_is_there_with_large_whole_numbers_in_full() -> None:
    provenance = {
        "command": ["/x/__main__.py", "run", "-m", "my method"],
        "git": {"commit": "abc", "dirty": True},
        "versions": {"torch": "2.6"},
        "seconds": {"total": 1.5},
    }
    run = record(metric(1.0), seed=2**63 - 1, provenance=provenance, protocol_options={"limit": 2**60 + 1})
    run.provenance["command"][0] = "__main__.py"
    data = data_of(page_of(run))
    (row,) = data["records"]
    assert row[5] == "9223372036854775807"
    assert row[7] == "bench run -m 'my method'"
    assert data["pools"]["facts"][row[8]] == [
        ["git.commit", "abc"],
        ["git.dirty", "true"],
        ["versions.torch", "2.6"],
    ]
    assert row[9] == [["seconds.total", "1.5"]]
    assert ["limit", "1152921504606846977"] in data["pools"]["protocol"][row[2]]["options"]
    splits = data["pools"]["dataset"][row[3]]["splits"]
    assert splits == [["test", "test", "200", "f" * 64], ["train", "train", "400", "e" * 64]]


# --- nothing runs, nothing is fetched -----------------------------------------------------------------


def test_no_text_of_a_record_becomes_markup() -> None:
    runs = [
        record(metric(1.0, HOSTILE, unit=HOSTILE), method=HOSTILE, dataset=HOSTILE, label=HOSTILE),
        record(method="dve", reason=HOSTILE),
    ]
    page = page_of(*runs, title=HOSTILE, problems=(Problem(Path("a.json"), HOSTILE),))
    tags = [tag for tag, _ in Elements(page).found]
    assert "img" not in tags
    assert tags.count("script") == 2  # the data and the page's own
    assert not [
        name for _, attributes in Elements(page).found for name in attributes if name.startswith("on")
    ]
    assert HOSTILE in [method["name"] for method in data_of(page)["pools"]["method"]]


def test_embedded_data_cannot_end_its_element() -> None:
    content = {"text": "</script><!-- <script> & \u2028 ]]>"}
    text = str(embedded(content))
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == content


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    page = page_of(record(metric(1.0)))
    elements = Elements(page)
    (policy,) = [a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = page[page.rindex(f"<{tag}>") + len(tag) + 2 : page.rindex(f"</{tag}>")]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not [a for _, a in elements.found if "style" in a]


def test_the_page_refers_to_nothing_outside_of_it() -> None:
    elements = Elements(page_of(record(metric(1.0)), record(method="dve", reason="broken")))
    links = [str(a[name]) for _, a in elements.found for name in ("href", "src") if name in a]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    targets = {str(a["id"]) for _, a in elements.found if "id" in a}
    assert {link[1:] for link in links if link.startswith("#") and not link.startswith("#run-")} <= targets


# --- what is said first -------------------------------------------------------------------------------


def test_a_headline_is_the_first_value_at_its_best_with_what_learned_nothing() -> None:
    runs = [
        record(metric(5.0, low=4.0, high=6.0), metric(90.0, "pck_cl"), method="lead"),
        record(metric(5.5, low=5.0, high=7.0), metric(99.0, "pck_cl"), method="dve"),
        record(metric(9.0, low=8.5, high=9.5), metric(10.0, "pck_cl"), method="random"),
    ]
    runs = [
        run.model_copy(update={"protocol": run.protocol.model_copy(update={"baselines": ["random"]})})
        for run in runs
    ]
    (headline,) = headlines_of(*runs)
    assert (headline.row["method"], headline.row["metric"]) == ("lead", "nme_interocular")
    assert (headline.row["text"], headline.row["spread"]) == ("5.000", "[4.000, 6.000]")
    assert headline.rivals == ("dve",)
    assert headline.entries == 3
    assert headline.baseline["method"] == "random"
    assert not headline.is_baseline


def test_a_headline_is_the_mean_over_seeds_where_all_networks_have_them() -> None:
    drawn = {"lead": (5.0, 5.5), "dve": (7.0, 7.5)}
    runs = [
        record(metric(value, low=value - 1, high=value + 1), metric(90.0, "pck_cl"), method=name, seed=seed)
        for name, found in drawn.items()
        for seed, value in enumerate(found)
    ]
    (headline,) = headlines_of(*runs)
    assert headline.is_mean
    assert (headline.row["method"], headline.row["value"]) == ("lead", 5.25)
    assert (headline.row["text"], headline.row["spread"]) == ("5.250", "± 0.354 [4.250, 6.250]")
    assert (headline.row["record"], headline.row["place"]) == (runs[0].id, 0)
    assert (headline.entries, headline.rivals) == (2, ("dve",))  # 6.25 is where the other interval begins
    means = data_of(page_of(*runs))["means"]
    assert sorted(zip(means["value"], means["rank"], means["place"], strict=True)) == [
        (5.25, 1, 0),
        (7.25, 2, 0),
        (90.0, 1, 1),
        (90.0, 1, 1),
    ]


def test_headlines_of_different_data_and_seeds_stay_apart() -> None:
    real = record(metric(1.0), dataset="mafl", fingerprint="1" * 64)
    real = real.model_copy(
        update={"dataset": real.dataset and real.dataset.model_copy(update={"tier": "published"})}
    )
    costs = record(metric(2.2, "regressor_gmacs"), protocol="flops").model_copy(update={"dataset": None})
    found = headlines_of(record(metric(9.0), method="dve", seed=1), record(metric(8.0)), costs, real)
    assert [(one.row["tier"], one.row["seed"]) for one in found] == [
        ("published", 0),
        ("procedural", 0),
        ("procedural", 1),
        ("none", 0),
    ]


def test_questions_that_look_alike_are_told_apart_by_their_options() -> None:
    runs = [
        record(metric(1.0), protocol_options={"points": 50, "epochs": 6}),
        record(metric(1.0), protocol_options={"points": 50, "epochs": 9}),
        record(metric(1.0), protocol="matching"),
    ]
    values = with_texts(with_ranks(frame_of(runs)))
    told = distinctions(values, {run.id: run for run in runs})
    by_record = {row["record"]: told[question_key(row)] for row in values.to_dict("records")}  # type: ignore[arg-type]
    assert [by_record[run.id] for run in runs] == ["epochs 6", "epochs 9", ""]


def test_what_is_procedural_failed_or_broken_is_counted() -> None:
    output = render(
        record(metric(1.0)),
        record(reason="no memory", method="dve"),
        problems=(Problem(Path("/home/me/x.json"), "not JSON"),),
    )
    counts = output.data["counts"]
    assert (counts["records"], counts["failed"], counts["broken"], counts["on_procedural"]) == (2, 1, 1, 2)
    page = str(output.files[PATH])
    assert "no memory" in page
    assert "x.json" in page
    assert "/home/me" not in page  # a page is mailed, and folders have names of persons


# --- options ------------------------------------------------------------------------------------------


def test_filters_choose_records_and_metrics() -> None:
    runs = [record(metric(1.0), metric(2.0, "pck_cl"), method=name) for name in ("lead", "dve")]
    data = data_of(page_of(*runs, methods=("dve",), metrics=("pck_cl",)))
    assert [row[0] for row in data["records"]] == [runs[1].id]
    assert [one[0] for one in data["pools"]["metric"]] == ["pck_cl"]
    with pytest.raises(BenchError, match="no run has the method 'leed'"):
        render(*runs, methods=("leed",))


def test_a_name_in_md_gets_the_markdown_document() -> None:
    path = Path("report.md")
    output = render(record(metric(1.0)), output=path)
    assert str(output.files[path]).startswith("# ")


@pytest.mark.parametrize("name", ["report.pdf", "report", "."])
def test_other_kinds_of_files_are_refused(name: str) -> None:
    with pytest.raises(BenchError, match=r"ends in \.html or \.htm or \.md"):
        render(record(metric(1.0)), output=Path(name))


def test_the_command_writes_the_page_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench.registry.load", lambda group, name: {("reports", "report"): PageReport}[group, name]
    )
    RunStore(tmp_path / "runs").save(record(metric(1.0)))
    (tmp_path / "runs" / "broken.json").write_text("{")
    options = [
        "report",
        "--runs",
        str(tmp_path / "runs"),
        "--figures",
        "0",
        "-o",
        str(tmp_path / "a.html"),
        "--json",
    ]
    done = CliRunner().invoke(app, options)
    data = json.loads(done.stdout)
    assert (done.exit_code, data["counts"]["records"], data["counts"]["broken"]) == (0, 1, 1)
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert CliRunner().invoke(app, ["report", "--runs", str(tmp_path / "none")]).exit_code == 2


def test_facts_are_bounded_whatever_a_record_holds() -> None:
    many = facts({str(i): i for i in range(MAX_FACTS + 5)})
    assert many[-1] == ["…", "5 more in the record"]
    ((name, text),) = facts({"a": {"b": "x" * (MAX_TEXT + 7)}})
    assert name == "a.b"
    assert text == "x" * MAX_TEXT + "… (7 more characters)"


def test_printed_values_that_cannot_be_compared_have_no_difference() -> None:
    def match(verdict: Verdict) -> PublishedMatch:
        return PublishedMatch(
            record="0" * 16, method="lead", metric="params_m", condition="", ours=Ours(25.6), printed="25.5",
            printed_std="", unit="10^6", direction="lower", table="a:t1", row="LEAD", column="size",
            citation="A 2020", verdict=verdict,
        )  # fmt: skip

    found = compared([match(Verdict("off", 0.1)), match(Verdict("not comparable", 0.1, ("other data",)))])
    assert [one.difference for one in found.comparable] == ["+0.10"]
    assert [(one.difference, one.reasons) for one in found.others] == [("", ("other data",))]
    assert found.citations == ("A 2020",)
    assert (found.comparable[0].ours, found.comparable[0].printed) == ("25.60", "25.5")
