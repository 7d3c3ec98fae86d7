"""The conformance suite of every installed method, in the small form that the method declares."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import registry
from bench.doctor.finding import Finding, of_error
from bench.errors import BenchError
from bench.method import Method
from bench.progress import Progress
from bench.testing import check_method

AREA = "methods"


def methods(progress: Progress) -> Iterator[Finding]:
    """One finding a method; progress goes to ``progress``."""
    names = registry.names("methods")
    for name in progress.track(names, "conformance of the methods", len(names)):
        try:
            yield _conformance(registry.load("methods", name))
        except BenchError as error:
            yield of_error(AREA, name, error, "Reinstall the package that brings the method.")


def _conformance(method: type[Method]) -> Finding:
    started = time.monotonic()
    report = check_method(method)
    seconds = time.monotonic() - started
    passed = sum(outcome.status == "passed" for outcome in report.outcomes)
    skipped = sum(outcome.status == "skipped" for outcome in report.outcomes)
    told = f"{passed} checks passed, {skipped} do not concern it ({seconds:.1f} s)"
    if report.failures:
        failures = "\n".join(failure.reason for failure in report.failures)
        names = ", ".join(failure.name for failure in report.failures)
        remedy = f"Numbers measured with it may be wrong. Tell its author:\n{failures}"
        return Finding(AREA, method.name, "problem", f"fails {names}; {told}", remedy)
    if method.presets and (method.rehearsal is None or not method.rehearsal.recipe):
        remedy = "Its author can declare a small training as Method.rehearsal."
        return Finding(AREA, method.name, "warning", f"{told}; its training was not checked", remedy)
    return Finding(AREA, method.name, "ok", told)
