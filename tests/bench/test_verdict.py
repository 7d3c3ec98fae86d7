"""What is said of our number beside a printed one; every case by hand."""

from __future__ import annotations

import pytest

from bench.verdict import Ours, decimals, judge


@pytest.mark.parametrize(
    ("printed", "ours", "kind"),
    [
        ("42.89", 42.8855, "reproduced"),
        ("42.89", 42.885, "reproduced"),  # the ends of what rounds to it belong to it
        ("42.89", 42.895, "reproduced"),
        ("42.89", 42.8849, "off"),
        ("42.89", 42.8951, "off"),
        ("9.3", 9.34, "reproduced"),
        ("9.30", 9.34, "off"),  # a printed zero is a digit
        ("57", 57.49, "reproduced"),
        ("57", 57.51, "off"),
        ("0.16", 0.1475, "off"),
    ],
)
def test_the_printed_digits_say_how_exactly_a_number_is_known(printed: str, ours: float, kind: str) -> None:
    assert judge(printed, "", Ours(ours)).kind == kind


def test_the_printed_deviation_is_a_tolerance() -> None:
    within = judge("24.87", "2.67", Ours(27.5))
    assert (within.kind, within.reasons) == ("reproduced", ("within the printed deviation",))
    beyond = judge("24.87", "2.67", Ours(27.6))
    assert beyond.kind == "off"
    assert beyond.difference == pytest.approx(2.73)


def test_our_interval_is_a_tolerance_where_it_holds_the_printed_number() -> None:
    around = judge("2.44", "", Ours(2.5, low=2.43, high=2.57))
    assert (around.kind, around.reasons) == ("reproduced", ("within our interval",))
    assert judge("2.44", "", Ours(2.5, low=2.45, high=2.57)).kind == "off"
    assert judge("2.44", "", Ours(2.5, low=2.4, high=None)).kind == "off"


def test_a_barrier_wins_over_equal_numbers() -> None:
    verdict = judge("2.44", "", Ours(2.44), ("other data",))
    assert (verdict.kind, verdict.difference, verdict.reasons) == ("not comparable", 0.0, ("other data",))


def test_a_plotted_value_is_not_comparable() -> None:
    verdict = judge("", "", Ours(2.44), ("other data",))
    assert verdict.kind == "not comparable"
    assert verdict.reasons == ("other data", "the paper prints no value")


def test_decimals_are_the_digits_behind_the_point() -> None:
    assert [decimals(text) for text in ("57", "6.4", "6.40")] == [0, 1, 2]
