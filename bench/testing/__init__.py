"""The conformance suite: what every method promises to protocols, checked for any adapter, built in or third-party.

In a test file of your own::

    import pytest
    from bench.testing import method_checks

    CHECKS = method_checks(MyMethod, preset="tiny", recipe={"steps": 6, "batch_size": 8, "image_size": 32})

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_conformance(check):
        check()

:func:`check_method` runs the same checks at once and returns a report.
"""

from __future__ import annotations

from bench.testing.subject import ConformanceError
from bench.testing.suite import Check, ConformanceReport, Outcome, check_method, method_checks

__all__ = [
    "Check",
    "ConformanceError",
    "ConformanceReport",
    "Outcome",
    "check_method",
    "method_checks",
]
