from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench.context import RunContext
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.progress import Progress, Task
from protocols.heads.fitting import FitSettings, fit
from protocols.heads.landmark_loss import regression_loss
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor
from tests.goldens import golden
from tests.protocols.regressor_goldens import SmallCase

CONTRAST = FitSettings(epochs=6, learning_rate=1e-3, weight_decay=5e-4, cosine_t_max=6)
DVE = FitSettings(epochs=6, learning_rate=1e-3, weight_decay=5e-4, beta1=0.9, amsgrad=True)


@pytest.mark.parametrize(
    ("name", "tag", "settings"),
    [("contrast", "A5", CONTRAST), ("contrast", "A68", CONTRAST), ("dve", "A5", DVE), ("dve", "A68", DVE)],
)
def test_released_trainings(name: str, tag: str, settings: FitSettings) -> None:
    """Six epochs of one full batch. Tolerances: README of the golden files."""
    case = SmallCase(golden(f"{name}/e_regressor.npz"), tag)
    regressor = case.regressor
    losses = fit(
        regressor, case.features, case.targets, case.all_visible, settings, seed=0, run=RunContext(), key="x"
    )
    np.testing.assert_allclose(losses, case["adam_losses"], atol=2e-3)
    np.testing.assert_allclose(regressor(case.features).detach(), case["adam_pred"], atol=1e-3)
    np.testing.assert_allclose(
        regressor.score_weight.detach().flatten()[::7], case["adam_inner_s"], atol=3e-4
    )
    if name == "contrast":
        rates = [settings.rate(epoch) for epoch in range(6)]
        np.testing.assert_allclose(rates, case["adam_lrs"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("epochs", [150, 200])
def test_released_rates(epochs: int) -> None:
    settings = FitSettings(epochs=epochs, learning_rate=1e-3, weight_decay=0, cosine_t_max=epochs)
    expected = golden("contrast/e_regressor.npz")[f"cosine_E{epochs}_lr0.001"]
    np.testing.assert_allclose([settings.rate(e) for e in range(epochs)], expected, rtol=1e-6, atol=1e-9)


def test_rate_stays_at_its_lowest_after_the_cosine() -> None:
    settings = FitSettings(epochs=9, learning_rate=1.0, weight_decay=0, cosine_t_max=3)
    assert [settings.rate(e) for e in (2, 3, 8)] == pytest.approx([0.0008] * 3)
    assert FitSettings(epochs=9, learning_rate=1.0, weight_decay=0).rate(8) == 1.0


def test_the_rate_of_dve_falls_in_epochs_102_and_252() -> None:
    """Its log: 1e-3 up to and with the 101st epoch, nominal drops at 100 and 250 coming two later."""
    settings = DVE.model_copy(update={"epochs": 300, "divide_at": (101, 251)})
    rates = [settings.rate(epoch) for epoch in range(300)]
    np.testing.assert_allclose(rates, [1e-3] * 101 + [1e-4] * 150 + [1e-5] * 49, rtol=1e-12)
    # torch's scheduler, told as DVE tells it: after each epoch, counted from 1, its number less one.
    optimiser = settings.optimiser([nn.Parameter(torch.zeros(1))])
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [100, 250])
    theirs = []
    for epoch in range(1, 301):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather count by itself
            scheduler.step(epoch - 1)
    np.testing.assert_allclose(rates, theirs, rtol=1e-9)


def test_a_training_follows_the_steps_of_the_rate() -> None:
    regressor, features, targets, visible = problem()
    settings = SETTINGS.model_copy(update={"cosine_t_max": None, "divide_at": (1, 3)})
    used: list[float] = []

    class Noting(torch.optim.Adam):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            del closure
            used.append(self.param_groups[0]["lr"])
            super().step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.optim.Adam", Noting)
        fit(regressor, features, targets, visible, settings, seed=5, run=RunContext(), key="x")
    np.testing.assert_allclose(used, [0.01] * 3 + [0.001] * 6 + [0.0001] * 3, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divide_at": (2,), "cosine_t_max": 4}, "exclude each other"),
        ({"divide_at": (3, 2)}, "positive and increasing"),
        ({"divide_at": (2, 2)}, "positive and increasing"),
        ({"divide_at": (0,)}, "positive and increasing"),
    ],
)
def test_schedules_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FitSettings(epochs=9, learning_rate=1.0, weight_decay=0, **changes)


def problem(count: int = 10) -> tuple[VirtualKeypointRegressor, FeatureMap, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    levels = tuple(torch.randn(count, c, n, n, generator=generator) for c, n in ((4, 8), (6, 4)))
    regressor = VirtualKeypointRegressor(10, 3, generator, virtual=5, multiplier=10.0)
    targets = torch.rand(count, 3, 2, generator=generator) * 2 - 1
    visible = torch.rand(count, 3, generator=generator) > 0.2
    return regressor, FeatureMap(levels, (8, 8), (32, 32)), targets, visible


SETTINGS = FitSettings(
    epochs=4, learning_rate=0.01, weight_decay=0.01, cosine_t_max=4, batch_size=3, amsgrad=True
)


def train(
    regressor: VirtualKeypointRegressor,
    settings: FitSettings = SETTINGS,
    *,
    seed: int = 5,
    run: RunContext | None = None,
    key: str = "a/b",
) -> list[float]:
    """Train on :func:`problem`; the state is saved after every step."""
    _, features, targets, visible = problem()
    run = run or RunContext()
    losses = fit(regressor, features, targets, visible, settings, seed=seed, run=run, key=key, save_seconds=0)
    return [float(loss) for loss in losses]


def test_equals_a_plain_training_loop() -> None:
    regressor, features, targets, visible = problem()
    twin = problem()[0]

    class Recorded(VirtualKeypointRegressor):
        def loss_and_gradients(self, features: FeatureMap, targets: Tensor, visible: Tensor) -> Tensor:
            batches.append([find(row) for row in features.levels[0]])
            return super().loss_and_gradients(features, targets, visible)

    def find(row: Tensor) -> int:
        return next(i for i, level in enumerate(features.levels[0]) if torch.equal(level, row))

    batches: list[list[int]] = []
    regressor.__class__ = Recorded
    losses = fit(regressor, features, targets, visible, SETTINGS, seed=5, run=RunContext(), key="x")

    assert [len(batch) for batch in batches] == [3] * 12
    optimiser = torch.optim.Adam(twin.parameters(), betas=(0.5, 0.999), weight_decay=0.01, amsgrad=True)
    expected = []
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = SETTINGS.rate(step // 3)
        optimiser.zero_grad()
        loss = regression_loss(twin(features[batch]), targets[batch], visible[batch])
        torch.autograd.backward(loss)
        optimiser.step()
        expected.append(float(loss.detach()))
    for epoch in range(4):
        assert len({image for batch in batches[3 * epoch : 3 * epoch + 3] for image in batch}) == 9
    assert batches[:3] != batches[3:6]
    np.testing.assert_allclose(losses, np.reshape(expected, (4, 3)).mean(1), rtol=1e-4)
    for ours, theirs in zip(regressor.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_an_incomplete_batch_is_kept_where_it_is_the_only_one() -> None:
    regressor, features, targets, visible = problem(2)
    losses = fit(regressor, features, targets, visible, SETTINGS, seed=5, run=RunContext(), key="x")
    assert losses.shape == (4,)
    assert losses[-1] < losses[0]


def test_same_seed_same_result_other_seed_other_order() -> None:
    results = []
    for seed in (1, 1, 2):
        regressor = problem()[0]
        train(regressor, seed=seed)
        results.append(regressor.score_weight.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


class _KilledError(Exception):
    pass


class _KillingProgress(Progress):
    """Ends the process, as it were, after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(quiet=True)
        self.steps = steps

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:
        yield _KillingTask(self)


class _KillingTask(Task):
    def __init__(self, progress: _KillingProgress) -> None:
        self.progress = progress

    def advance(self, steps: int = 1, status: str = "") -> None:
        self.progress.steps -= 1
        if self.progress.steps == 0:
            raise _KilledError


@pytest.mark.parametrize("killed_after", [1, 4, 12])
def test_resumed_equals_undisturbed(killed_after: int, tmp_path: Path) -> None:
    undisturbed = problem()[0]
    expected = train(undisturbed)

    interrupt(tmp_path, after=killed_after)
    assert len(list(tmp_path.iterdir())) == 1

    # Other initial weights show that the state is really read.
    second = VirtualKeypointRegressor(10, 3, torch.Generator().manual_seed(9), virtual=5, multiplier=10.0)
    counting = _KillingProgress(10**6)
    losses = train(second, run=RunContext(partial=tmp_path, progress=counting))
    assert 10**6 - counting.steps == 12 - killed_after
    assert losses == expected
    for ours, theirs in zip(second.parameters(), undisturbed.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert not list(tmp_path.iterdir()), "the state of a finished training is removed"


def interrupt(folder: Path, after: int) -> None:
    with pytest.raises(_KilledError):
        train(problem()[0], run=RunContext(partial=folder, progress=_KillingProgress(after)))


@pytest.mark.parametrize(
    ("settings", "seed", "key"),
    [(SETTINGS.model_copy(update={"epochs": 5}), 5, "a/b"), (SETTINGS, 6, "a/b"), (SETTINGS, 5, "c")],
)
def test_state_of_another_training_is_not_taken_up(
    settings: FitSettings, seed: int, key: str, tmp_path: Path
) -> None:
    interrupt(tmp_path, after=3)
    fresh, with_folder = problem()[0], problem()[0]
    train(fresh, settings, seed=seed, key=key)
    train(with_folder, settings, seed=seed, key=key, run=RunContext(partial=tmp_path))
    assert torch.equal(fresh.score_weight, with_folder.score_weight)


def test_damaged_state_starts_afresh(tmp_path: Path) -> None:
    interrupt(tmp_path, after=3)
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:100])
    fresh, again = problem()[0], problem()[0]
    train(fresh)
    train(again, run=RunContext(partial=tmp_path))
    assert torch.equal(fresh.score_weight, again.score_weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error(value: float) -> None:
    regressor, features, targets, visible = problem()
    features.levels[0][4, 0, 0, 0] = value
    with pytest.raises(BenchError, match=r"the loss is nan after \d of 12 steps"):
        fit(regressor, features, targets, visible, SETTINGS, seed=5, run=RunContext(), key="x")
