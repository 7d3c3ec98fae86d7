"""The weights that ship have learned something: on faces that no training saw they match better than untrained ones."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from scipy import stats

from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.runner import RunRequest, run
from bench.shipped import read_manifest
from bench.store import RunStore
from tests.methods.test_shipped_weights import FOLDER, LEARNERS

Errors: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
FACES = DatasetRequest("synthetic-faces", ("pretrain=10", "train=10", "test=60"))


def matching_errors(runs: Path, method: str, like: Path | None = None) -> Errors:
    """(P,) mean error in pixels over the landmarks of each pair of different persons."""
    request = RunRequest(method, "matching", FACES, protocol_options=("pairs=60",), runs=runs, like=like)
    stored = RunStore(runs).per_sample(run(request, Progress.silent()).record.id)
    errors, counted = stored["errors"][:, 1], stored["counted"][:, 1]
    means: Errors = np.where(counted, errors, 0).sum(axis=1) / counted.sum(axis=1)
    return means


@pytest.mark.parametrize("method", LEARNERS)
def test_shipped_weights_match_faces_better_than_untrained_ones(method: str, tmp_path: Path) -> None:
    entry = read_manifest(FOLDER).find(method, "shipped-faces")
    assert entry is not None
    gained = matching_errors(tmp_path, "random", like=FOLDER / entry.file) - matching_errors(tmp_path, method)
    interval = stats.bootstrap((gained,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert interval.low > 0
