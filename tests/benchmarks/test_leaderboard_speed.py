"""How long a leaderboard of ten thousand records takes, and how much memory it holds.

Run by hand, on an otherwise idle machine: ``pytest tests/benchmarks --benchmark-enable``.
"""

from __future__ import annotations

import resource
import sys
from itertools import islice, product

from pytest_benchmark.fixture import BenchmarkFixture

from bench.record import RunRecord
from bench.report import ReportOutput, Runs
from reports.leaderboard import LeaderboardOptions, LeaderboardReport
from tests.records import metric, record

_COUNTS = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


def test_a_leaderboard_of_many_records(benchmark: BenchmarkFixture) -> None:
    """``extra_info`` has the largest memory of the process, records included; the goal is 5 s and 1000 MB."""
    runs = Runs(records(10_000 if benchmark.enabled else 60))

    def render() -> ReportOutput:
        return LeaderboardReport().render(runs, LeaderboardOptions())

    output = benchmark(render)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    benchmark.extra_info["records"] = len(runs.records)
    benchmark.extra_info["megabytes"] = round(largest / (1e6 if sys.platform == "darwin" else 1e3))
    assert len(output.data["rows"]) == len(_COUNTS) * len(runs.records)


def records(count: int) -> list[RunRecord]:
    """Five seeds of twenty methods on four data sets, by as many protocols and options as it takes."""
    cells = product(range(count), ("fewshot", "regression", "scale"), range(4), range(20), range(5))
    return [
        record(
            *(
                metric(
                    10 + (method * 7 + place + seed) % 13, condition={"annotations": n}, low=9.0, high=23.0
                )
                for place, n in enumerate(_COUNTS)
            ),
            method=f"method{method}",
            protocol=protocol,
            protocol_options={"points": options},
            dataset=f"data{data}",
            fingerprint=str(data) * 64,
            seed=seed,
        )
        for options, protocol, data, method, seed in islice(cells, count)
    ]
