"""Is this installation fit to measure with? Every part looked at; what is wrong comes with what to do."""

from __future__ import annotations

from bench.doctor.examination import examine
from bench.doctor.finding import Finding, Status

__all__ = ["Finding", "Status", "examine"]
