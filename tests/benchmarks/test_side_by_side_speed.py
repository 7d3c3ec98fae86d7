"""Two trainings of a quick regressor at the same time on two cores, against one after the other on both.

On an idle machine both take the same. Where something else uses a core now and then, the threads of a step wait for
each other, and whole trainings side by side do not: see :mod:`protocols.heads.side_by_side`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.context import RunContext
from bench.features import FeatureMap
from protocols.heads.fitting import FitSettings, fit
from protocols.heads.side_by_side import side_by_side
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor
from tests.benchmarks.pair import Claim, Ways, compare

_CORES = 2


class Sizes(NamedTuple):
    channels: int
    images: int
    epochs: int


QUICK = Sizes(64, 320, 1)
SMALL = Sizes(8, 16, 1)


def test_two_trainings_on_two_cores(benchmark: BenchmarkFixture) -> None:
    sizes = QUICK if benchmark.enabled else SMALL
    claim = Claim(
        topic="Few-shot regression",
        case=f"two trainings of {sizes.images // 8} steps of 8 images, 24x24x{sizes.channels}, two cores",
        twin="one after the other, each step on both cores",
        ratio=0.9,
        deviations={"weights, relative": 1e-3},
    )
    assert compare(benchmark, claim, trainings, sizes, rounds=7, twin_memory=False) == []


def trainings(sizes: Sizes) -> Ways:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(sizes.images, sizes.channels, 24, 24, generator=generator)
    features = FeatureMap((maps / sizes.channels**0.5,), (24, 24), (96, 96))
    targets = torch.rand(sizes.images, 5, 2, generator=generator) * 2 - 1
    visible = torch.ones(sizes.images, 5, dtype=torch.bool)
    settings = FitSettings(
        epochs=sizes.epochs, batch_size=8, cosine_t_max=sizes.epochs, learning_rate=0.045, weight_decay=5e-4
    )
    latest: dict[str, list[np.ndarray]] = {}

    def training(seed: int, run: RunContext) -> np.ndarray:
        regressor = VirtualKeypointRegressor(sizes.channels, 5, torch.Generator().manual_seed(seed))
        fit(regressor, features, targets, visible, settings, seed=seed, run=run, key=f"seed={seed}")
        weights: np.ndarray = regressor.score_weight.detach().numpy()
        return weights

    def on_all_cores(name: str, together: bool) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(_CORES)
        run, both = RunContext(), [partial(training, seed) for seed in (1, 2)]
        try:
            latest[name] = side_by_side(both, run, "both") if together else [each(run) for each in both]
        finally:
            torch.set_num_threads(before)

    def deviations() -> dict[str, float]:
        on_all_cores("ours", together=True)
        on_all_cores("twin", together=False)
        ours, twin = (np.concatenate(latest[name]) for name in ("ours", "twin"))
        return {"weights, relative": float(np.abs(ours - twin).max() / np.abs(twin).max())}

    return Ways(
        partial(on_all_cores, "ours", together=True),
        partial(on_all_cores, "twin", together=False),
        deviations,
    )
