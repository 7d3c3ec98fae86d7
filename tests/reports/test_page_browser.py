"""The page as a person has it: in a browser, with mouse and keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.record import RunRecord
from bench.report import Runs
from reports.page import PageOptions, PageReport
from tests.records import metric, record
from tests.reports.chromium import PROGRAMS, Browser, found

pytestmark = pytest.mark.skipif(found() is None, reason=f"none of {', '.join(PROGRAMS)} is installed")

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
_METHODS = "[...document.querySelectorAll('.question tbody th.label a')].map(a => a.textContent)"


def _records() -> list[RunRecord]:
    measured = {"lead": (3.0, 91.0), "dve": (2.5, 90.0), "random": (9.0, 20.0), HOSTILE: (10.0, 10.0)}
    parts = {
        name: (
            metric(nme, low=nme - 0.3, high=nme + 0.3, count=200),
            metric(pck, "pck_cl", direction="higher", unit="%"),
        )
        for name, (nme, pck) in measured.items()
    }
    regressed = [record(*values, method=name) for name, values in parts.items()]
    matched = [
        record(
            metric(value, "matching_error_px70", condition={"pairs": pairs}), method="lead", protocol=pairs
        )
        for pairs, value in (("same", 1.0), ("different", 2.0))
    ]
    return [*regressed, *matched, record(method="rahaman", reason=f"out of memory {HOSTILE}")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    output = PageReport().render(Runs(_records()), PageOptions(output=path, figures=0, title=HOSTILE))
    path.write_text(str(output.files[path]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, page: Path) -> Iterator[Browser]:
    """The page, freshly loaded; afterwards it must not have complained, nor asked for anything but itself."""
    running.complaints.clear()
    running.requests.clear()
    running.resize(1400, 900)
    running.open(page)
    yield running
    assert running.run("1 + 1") == 2  # what the browser had to say by now has been heard
    assert running.complaints == []
    assert set(running.requests) <= {page.resolve().as_uri()}


def test_headings_sort(browser: Browser) -> None:
    # the second of three tables; what failed comes last
    assert browser.run(_METHODS)[1:-1] == ["dve", "lead", "random", HOSTILE, "rahaman"]
    heading = (
        "[...document.querySelectorAll('th[aria-sort] button')].find(b => b.textContent.startsWith('pck_cl'))"
    )
    browser.run(f"{heading}.focus()")
    browser.press("Enter")
    assert browser.run(_METHODS)[1:-1] == ["lead", "dve", "random", HOSTILE, "rahaman"]  # the highest first
    assert browser.run("document.activeElement.closest('th').ariaSort") == "descending"
    browser.press(" ")
    assert browser.run(_METHODS)[1:-1] == [HOSTILE, "random", "dve", "lead", "rahaman"]
    assert browser.run("document.activeElement.closest('th').ariaSort") == "ascending"


def test_ranks_that_error_bars_leave_open_are_not_claimed(browser: Browser) -> None:
    ranks = "[...document.querySelectorAll('.rank.open')].map(r => [r.textContent, r.ariaLabel])"
    assert browser.run(ranks)[:1] == [["1–2", "rank 1 to 2: error bars overlap"]]
    assert browser.run("[...document.querySelectorAll('#board .best')].map(a => a.textContent)")[:1] == [
        "2.50 [2.20, 2.80]"
    ]


def test_words_and_choices_filter(browser: Browser) -> None:
    browser.run("document.getElementById('filter-text').focus()")
    browser.write("DVE pck")
    browser.wait("document.getElementById('found').textContent === '1 value of 1 run'")
    assert browser.run(_METHODS) == ["dve"]
    browser.run("document.querySelector('#filters button[type=reset]').click()")
    browser.wait("document.getElementById('found').textContent === '10 values of 7 runs'")
    browser.run("document.getElementById('filter-protocol').value = 'same'")
    browser.run(
        "document.getElementById('filter-protocol').dispatchEvent(new Event('input', {bubbles: true}))"
    )
    browser.wait("document.getElementById('found').textContent === '1 value of 1 run'")
    assert browser.run("document.querySelectorAll('.question').length") == 1


def test_all_values_are_listed_and_sorted(browser: Browser) -> None:
    browser.run("document.querySelector('input[value=values]').click()")
    browser.run("document.querySelector('[data-sort=value]').click()")
    numbers = "[...document.querySelectorAll('td.col-value')].map(td => td.textContent)"
    shown = browser.run(numbers)
    assert len(shown) == 11
    assert [float(text.split()[0]) for text in shown[:-1]] == sorted(
        float(text.split()[0]) for text in shown[:-1]
    )
    assert shown[-1].startswith("failed: out of memory")


def test_a_number_leads_to_its_record_and_back(browser: Browser) -> None:
    browser.run("document.querySelector('#board .question .best').focus()")
    browser.press("Enter")
    browser.wait("document.getElementById('record').open")
    text = browser.run("document.getElementById('record').textContent")
    for said in (
        "mean distance over landmarks and images",
        "over visible landmarks, then images",
        "f" * 64,
        "a" * 64,
        "200",
    ):
        assert said in text
    assert browser.run("location.hash").startswith("#run-")
    browser.press("Escape")
    browser.wait("!document.getElementById('record').open")
    browser.wait("location.hash === ''")
    assert browser.run("document.activeElement.className") == "value best"


def test_a_mean_leads_to_its_seeds_and_each_of_them_is_shown_on_request(
    running: Browser, tmp_path: Path
) -> None:
    drawn = {"lead": (5.0, 5.5), "dve": (7.0, 7.5)}
    records = [
        record(metric(value, low=value - 1, high=value + 1), method=name, seed=seed)
        for name, found in drawn.items()
        for seed, value in enumerate(found)
    ]
    path = tmp_path / "report.html"
    output = PageReport().render(Runs(records), PageOptions(output=path, figures=0))
    path.write_text(str(output.files[path]), encoding="utf-8")
    running.complaints.clear()
    running.open(path)
    shown = "[...document.querySelectorAll('.question tbody .value')].map(a => a.textContent)"
    assert running.run(shown) == ["5.250 ± 0.354 [4.250, 6.250]", "7.250 ± 0.354 [6.250, 8.250]"]
    running.run("document.querySelector('#board .question .value').click()")
    running.wait("document.getElementById('record').open")
    seeds = "[...document.querySelectorAll('#record-content tbody .value')].map(a => a.textContent)"
    assert running.run(seeds) == ["5.000 [4.000, 6.000]", "5.500 [4.500, 6.500]"]
    running.run("document.querySelector('#record-content tbody .value').click()")
    running.wait(f"document.getElementById('record-content').textContent.includes('Run {records[0].id}')")
    running.run("document.getElementById('record').close()")
    running.wait("location.hash === ''")
    running.run("document.querySelector('[data-sort=each]').click()")
    assert len(running.run(shown)) == 4
    running.run("document.querySelector('[data-sort=each]').click()")
    running.run("document.getElementById('filter-text').focus()")
    running.write(records[1].id)
    running.wait("document.getElementById('found').textContent === '1 value of 1 run'")
    assert running.run(shown) == ["5.500 [4.500, 6.500]"]  # one seed is no mean
    assert running.complaints == []


def test_an_address_opens_a_record(browser: Browser, page: Path) -> None:
    (failed,) = [run for run in _records() if run.status == "failed"]
    browser.run(f"location.hash = '#run-{failed.id}'")
    browser.wait("document.getElementById('record').open")
    assert f"out of memory {HOSTILE}" in browser.run("document.getElementById('record').textContent")
    browser.run("location.hash = '#run-0000000000000000'")
    browser.wait("document.getElementById('record-title').textContent === 'No such run'")


def test_text_of_records_stays_text(browser: Browser) -> None:
    assert HOSTILE in browser.run(_METHODS)
    assert browser.run("document.title") == HOSTILE
    assert browser.run("document.querySelectorAll('img, script:not([id]) ~ script').length") == 0


def test_markup_that_came_in_would_not_run(running: Browser, page: Path, tmp_path: Path) -> None:
    smuggled = "<script>window.ran = 1</script><img src='data:,' onerror='window.ran = 2' style='color: red'>"
    broken = tmp_path / "report.html"
    broken.write_text(
        page.read_text(encoding="utf-8").replace("<main>", f"<main>{smuggled}", 1), encoding="utf-8"
    )
    running.open(broken)
    running.wait("document.querySelector('img').complete")
    assert running.run("window.ran === undefined")
    assert len([one for one in running.complaints if "Content Security Policy" in one]) >= 3


def test_light_and_dark(browser: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    browser.call(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    dark = browser.run(background)
    browser.call(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    light = browser.run(background)
    assert (light, dark != light) == ("rgb(255, 255, 255)", True)
    shown = []
    for _ in range(3):  # light, dark, and back to what the system prefers
        browser.run("document.getElementById('theme').click()")
        shown.append(browser.run(background))
    assert shown == [light, dark, light]


def test_narrow_screens_scroll_tables_and_not_the_page(browser: Browser) -> None:
    browser.resize(390, 844)
    assert browser.run("document.documentElement.scrollWidth") == 390
    browser.run("document.querySelector('input[value=values]').click()")
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.run("(b => b.scrollWidth > b.clientWidth)(document.querySelector('#board .scroll'))")


def test_it_prints(browser: Browser) -> None:
    assert browser.pdf().startswith(b"%PDF-")
    browser.call("Emulation.setEmulatedMedia", {"media": "print"})
    for part in (".top", ".filters", ".more", ".views"):
        assert browser.run(f"[...document.querySelectorAll('{part}')].every(e => !e.checkVisibility())")
    browser.call("Emulation.setEmulatedMedia", {"media": ""})


def test_everything_is_reached_by_key_and_has_a_name(browser: Browser) -> None:
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    unnamed = (
        "[...document.querySelectorAll('button, select, input, a[href], .scroll, nav')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length"
        " || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"
    )
    assert browser.run(unnamed) == []
    assert browser.run("[...document.querySelectorAll('table')].every(t => t.caption?.textContent.trim())")
    assert browser.run("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == browser.run(
        "document.querySelectorAll('[id]').length"
    )
