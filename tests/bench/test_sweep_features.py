"""Cells of the same weights and images extract their features once between them, however many workers there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engines import Limits
from bench.engines.local import LocalEngine
from bench.identity import Identities
from bench.loading import Preprocessing
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.run_request import RunRequest
from bench.runner import run
from bench.sweep import run_sweep
from bench.sweep_plan import plan_sweep
from tests.bench.trivial_cells import check_equal_records, trivial_request
from tests.bench.world import write_faces

QUIET = Progress.silent()
TRAIN, TEST = 16, 8


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    """Of a network that notes each batch that it reads, for 20 ms an image, and of a cache that is empty."""
    trivial = trivial_request(tmp_path, monkeypatch)
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "1GB")
    monkeypatch.setenv("COUNTED_LOG", str(tmp_path / "counted"))
    return replace(
        trivial,
        method="counted",
        protocol="regression",
        protocol_options=("epochs=1",),
        dataset=DatasetRequest(f"coco:{write_faces(tmp_path / 'faces', train=TRAIN, val=TEST)}"),
        preprocessing=Preprocessing(image_size=32),
    )


def batches(folder: Path) -> Counter[int]:
    """Images in a batch -> how often; probes of two and of one are left out."""
    found = Counter(int(line) for line in (folder / "counted").read_text().split())
    return Counter({size: count for size, count in found.items() if size > 2})


def test_two_workers_extract_each_split_once(
    cell: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [replace(cell, seed=seed) for seed in range(4)]
    identities = Identities(QUIET)
    plan = plan_sweep(requests, identities)
    assert len({planned.cell.group for planned in plan.cells}) == 1
    state = run_sweep(plan, LocalEngine(2, Limits(), tmp_path / "logs"), identities)
    assert (state.done, state.failures) == (4, [])
    assert batches(tmp_path) == {TRAIN: 1, TEST: 1}

    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "0")
    for request in requests:
        run(replace(request, runs=tmp_path / "serial"), QUIET)
    assert batches(tmp_path) == {TRAIN: 5, TEST: 5}
    check_equal_records(cell.runs, tmp_path / "serial", 4)
