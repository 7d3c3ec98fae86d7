"""Is a published number reproduced? One number of ours beside the printed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Kind = Literal["reproduced", "off", "not comparable", "missing", "failed"]


@dataclass(frozen=True)
class Ours:
    """Our number in the unit of the printed one, with its 95 % interval and its deviation over draws, if any."""

    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a cell.

    Attributes:
        difference: Ours less the printed number, where both are there.
        reasons: Why it is not comparable, missing or failed; by which tolerance it is reproduced, where it does not
            equal the printed digits.
    """

    kind: Kind
    difference: float | None = None
    reasons: tuple[str, ...] = ()


def judge(printed: str, printed_std: str, ours: Ours, barriers: Sequence[str] = ()) -> Verdict:
    """Compare our number with a printed one.

    It is reproduced where it rounds to what is printed, lies within the printed standard deviation, or where the
    printed number lies in our interval; else it is off. With a barrier, no difference says anything.

    Args:
        printed: As the paper has it: its digits say how exactly it is known. Empty: it is plotted only.
        barriers: Why the two cannot be compared.
    """
    if not printed:
        return Verdict("not comparable", None, (*barriers, "the paper prints no value"))
    difference = float(Decimal(repr(ours.value)) - Decimal(printed))
    if barriers:
        return Verdict("not comparable", difference, tuple(barriers))
    # Exact in decimal: a printed 42.89 stands for everything from 42.885 to 42.895.
    if abs(Decimal(repr(ours.value)) - Decimal(printed)) <= Decimal(5).scaleb(-decimals(printed) - 1):
        return Verdict("reproduced", difference)
    if printed_std and abs(difference) <= float(printed_std):
        return Verdict("reproduced", difference, ("within the printed deviation",))
    if ours.low is not None and ours.high is not None and ours.low <= float(printed) <= ours.high:
        return Verdict("reproduced", difference, ("within our interval",))
    return Verdict("off", difference)


def decimals(printed: str) -> int:
    """Digits behind the point of a printed number."""
    return len(printed.partition(".")[2])
