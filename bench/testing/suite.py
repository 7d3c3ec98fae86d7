"""The checks as callables for pytest, and as one report."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from tabulate import tabulate

from bench.method import Method, Preset
from bench.testing import description, geometry, network, training, weights
from bench.testing.subject import ConformanceError, Subject

_DEMAND_WIDTH = 60
"""Of the report's column, so that the table fits into 120 characters."""


@dataclass(frozen=True, eq=False)
class Check:
    """One demand on a method. Called, it returns where the demand is met.

    Raises:
        ConformanceError: with what was got, what was expected and what to do.
        unittest.SkipTest: where the demand does not concern the method (pytest reports it as skipped).
    """

    name: str
    demand: str
    function: Callable[[Subject], None]
    subject: Subject

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        try:
            self.function(self.subject)
        except SkipTest:
            raise
        except ConformanceError as error:
            raise ConformanceError(
                error.got, error.expected, error.remedy, self._heading
            ) from error.__cause__
        except Exception as error:  # whatever an adapter raises has to be told in words
            raise ConformanceError(
                f"{type(error).__name__}: {error}",
                "no exception: the method was called as its interface says",
                "follow the exception that this one was raised from",
                self._heading,
            ) from error

    @property
    def _heading(self) -> str:
        return f"method {self.subject.name!r} fails {self.name}: {self.demand}"


@dataclass(frozen=True)
class Outcome:
    """What came of one check; ``reason`` is empty where it passed."""

    name: str
    demand: str
    status: Literal["passed", "failed", "skipped"]
    reason: str
    seconds: float


@dataclass(frozen=True)
class ConformanceReport:
    """What came of all checks of one method."""

    method: str
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    def __str__(self) -> str:
        """A table of all checks, then every failure in full."""
        rows = [
            (o.name, o.status, o.reason if o.status == "skipped" else o.demand, f"{o.seconds:.1f}")
            for o in self.outcomes
        ]
        headers = ("check", "outcome", "demand, or why it was skipped", "s")
        table = tabulate(rows, headers, "simple", maxcolwidths=[None, None, _DEMAND_WIDTH, None])
        return "\n\n".join([f"method {self.method}", table, *(o.reason for o in self.failures)])


def method_checks(
    method: type[Method],
    *,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
) -> tuple[Check, ...]:
    """Every check of the suite for one method, to be called one by one.

    Where neither preset nor options nor recipe are given, they are those of the method's ``rehearsal``, if it has one.

    Args:
        preset: Preset that ``options`` and ``recipe`` are laid on; None: the defaults, which are the paper's.
        options: Overrides that make the network small.
        recipe: Overrides that make a training of a few steps a stage (at least 2) on 24 images; without it
            the checks of training are skipped, and say so.
        image_sizes: (height, width) to try, at least one of them not square; None: 64 pixels and more, made from
            the network's stride.
    """
    rehearsal: Preset | None = getattr(method, "rehearsal", None)
    if rehearsal is not None and preset is None and options is None and recipe is None:
        options, recipe = rehearsal.options, rehearsal.recipe or None
    subject = Subject(method, preset, options, recipe, image_sizes)
    functions = tuple(
        f for module in (description, network, geometry, weights, training) for f in module.CHECKS
    )
    return tuple(
        Check(function.__name__.replace("_", "-"), _demand(function), function, subject)
        for function in functions
    )


def check_method(
    method: type[Method],
    *,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
) -> ConformanceReport:
    """Run every check of :func:`method_checks`, whose arguments these are; nothing is raised for a failure."""
    checks = method_checks(method, preset=preset, options=options, recipe=recipe, image_sizes=image_sizes)
    return ConformanceReport(str(getattr(method, "name", method.__name__)), tuple(map(_outcome, checks)))


def _outcome(check: Check) -> Outcome:
    started = time.monotonic()
    status: Literal["passed", "failed", "skipped"] = "passed"
    reason = ""
    try:
        check()
    except ConformanceError as error:
        status, reason = "failed", str(error)
    except SkipTest as error:
        status, reason = "skipped", str(error)
    return Outcome(check.name, check.demand, status, reason, time.monotonic() - started)


def _demand(function: Callable[[Subject], None]) -> str:
    """The sentence that a check's docstring is."""
    return " ".join((inspect.getdoc(function) or "").split())
