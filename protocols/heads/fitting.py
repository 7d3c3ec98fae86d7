"""Training of the landmark regressor: on frozen features, or with whatever else learns beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from bench.checkpoint import load_state, save_state
from bench.context import RunContext
from bench.features import FeatureMap
from protocols.heads.best_epoch import BestEpoch
from protocols.heads.restartable import Batches, run_to_end
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor

_LOWEST_RATE = 0.2**3 * 0.1


class FitSettings(BaseModel):
    """Adam with coupled weight decay (L2 added to the gradient), as ContrastLandmarks and DVE use it.

    Attributes:
        cosine_t_max: Epoch at which the cosine reaches its lowest rate; beyond ``epochs`` the cosine is
            truncated, as in ContrastLandmarks' runs. None: constant rate (DVE's limited annotations).
        divide_at: Epochs, counted from 0, from which on the constant rate is a tenth of what it was before.
        beta1: 0.5 in ContrastLandmarks, 0.9 in DVE.
        amsgrad: On in DVE.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    cosine_t_max: int | None = Field(default=None, ge=1)
    divide_at: tuple[int, ...] = ()
    batch_size: int = Field(default=32, ge=1)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    amsgrad: bool = False

    @model_validator(mode="after")
    def _one_schedule(self) -> FitSettings:
        check_schedule(self.cosine_t_max, self.divide_at)
        return self

    def rate(self, epoch: int) -> float:
        """The learning rate in ``epoch`` = 0, 1, ...; the official cosine steps before the first epoch."""
        if self.cosine_t_max is None:
            return self.learning_rate * 0.1 ** sum(epoch >= start for start in self.divide_at)
        lowest = self.learning_rate * _LOWEST_RATE
        phase = math.pi * min(epoch + 1, self.cosine_t_max) / self.cosine_t_max
        return lowest + (self.learning_rate - lowest) * (1 + math.cos(phase)) / 2

    def optimiser(self, parameters: Iterable[nn.Parameter] | list[dict[str, Any]]) -> torch.optim.Adam:
        """Of parameters, or of groups; a group's ``relative_rate`` is a factor on the learning rate."""
        return torch.optim.Adam(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, 0.999),
            weight_decay=self.weight_decay,
            amsgrad=self.amsgrad,
        )


def check_schedule(cosine_t_max: int | None, divide_at: tuple[int, ...]) -> None:
    """Raise ValueError where the two schedules are asked for at once, or the epochs are not in order."""
    if any(epoch < 1 for epoch in divide_at) or list(divide_at) != sorted(set(divide_at)):
        raise ValueError(f"divide_at must be positive and increasing, got {list(divide_at)}")
    if divide_at and cosine_t_max is not None:
        raise ValueError(
            f"divide_at and the cosine schedule exclude each other, got {list(divide_at)} and "
            f"cosine_t_max={cosine_t_max}: set cosine_t_max=null, or leave divide_at empty"
        )


def fit(
    regressor: VirtualKeypointRegressor,
    features: FeatureMap,
    targets: Tensor,
    visible: Tensor,
    settings: FitSettings,
    *,
    seed: int,
    run: RunContext,
    key: str,
    best: BestEpoch | None = None,
    save_seconds: float = 30.0,
) -> np.ndarray[Any, Any]:
    """Train the regressor in place, on the run's device: :func:`train` on frozen features.

    Shapes:
        features: N images.  targets: (N, K, 2), normalised coordinates.  visible: (N, K), bool.
        returns: (epochs,), float64, the mean loss of each epoch's batches.
    """
    learner = _OnFrozenFeatures(regressor, features, targets, visible, settings, run.device)
    return train(
        learner,
        len(features),
        settings,
        seed=seed,
        run=run,
        key=key,
        best=best,
        save_seconds=save_seconds,
    )


class Learner(Protocol):
    """What :func:`train` trains, with its training images.

    Attributes:
        modules: All that is learned, by the name under which its state is saved.
        optimiser: Of all parameters; see :meth:`FitSettings.optimiser`.
    """

    modules: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer

    def loss_and_gradients(self, picked: Tensor) -> Tensor:
        """Loss (), detached, of the images with these indices (B,); its gradients replace every ``grad``."""
        ...


class _OnFrozenFeatures:
    def __init__(
        self,
        regressor: VirtualKeypointRegressor,
        features: FeatureMap,
        targets: Tensor,
        visible: Tensor,
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self.regressor = regressor.to(device)
        self.features, self.targets, self.visible = (
            features.to(device),
            targets.to(device),
            visible.to(device),
        )
        self.modules: dict[str, nn.Module] = {"regressor": self.regressor}
        self.optimiser: torch.optim.Optimizer = settings.optimiser(self.regressor.parameters())

    def loss_and_gradients(self, picked: Tensor) -> Tensor:
        picked = picked.to(self.targets.device)
        return self.regressor.loss_and_gradients(
            self.features[picked], self.targets[picked], self.visible[picked]
        )


def train(
    learner: Learner,
    count: int,
    settings: FitSettings,
    *,
    seed: int,
    run: RunContext,
    key: str,
    best: BestEpoch | None = None,
    save_seconds: float = 30.0,
) -> np.ndarray[Any, Any]:
    """Train in place on ``count`` images.

    The images are shuffled anew in every epoch. As in the official loaders an incomplete last batch is
    dropped, unless it is the only one. Where ``run.partial`` is set, the unfinished state is written there
    about every ``save_seconds``, and a later call continues from it with the result of an undisturbed
    training.

    Args:
        seed: Of the shuffling.
        key: Names this training within the run.
        best: Judges what is learned after every epoch; in the end that is as it was after the best one. None: as
            it is after the last.

    Shapes:
        returns: (epochs,), float64, the mean loss of each epoch's batches.

    Raises:
        BenchError: where the loss is no longer finite.
    """
    training = _Training(learner, settings, count, seed, best)
    key = key if best is None else f"{key}/best-epoch"
    run_to_end(training, settings, seed=seed, run=run, key=key, save_seconds=save_seconds)
    if best is not None:
        best.put_back(learner.modules)
    losses: np.ndarray[Any, Any] = np.array(training.losses).reshape(settings.epochs, -1).mean(1)
    return losses


class _Training:
    """The state of a training between two steps; everything else follows from their number and the seed."""

    def __init__(
        self, learner: Learner, settings: FitSettings, count: int, seed: int, best: BestEpoch | None
    ) -> None:
        self.learner, self.settings, self.best = learner, settings, best
        if best is not None:
            best.prepare(learner.modules)
        self.batches = Batches(count, settings.batch_size, seed)
        self.total = settings.epochs * self.batches.per_epoch
        self.losses: list[float] = []

    def advance(self) -> float:
        step = len(self.losses)
        optimiser = self.learner.optimiser
        for group in optimiser.param_groups:
            rate = self.settings.rate(step // self.batches.per_epoch)
            group["lr"] = rate * group.get("relative_rate", 1.0)
        loss = self.learner.loss_and_gradients(self.batches.at(step))
        optimiser.step()
        self.losses.append(float(loss))
        if self.best is not None and len(self.losses) % self.batches.per_epoch == 0:
            self.best.judge(self.learner.modules)
        return self.losses[-1]

    def save(self, path: Path) -> None:
        numbers = {"losses": self.losses, "scores": [] if self.best is None else self.best.scores}
        save_state(path, self._modules(), self.learner.optimiser, numbers)

    def restore(self, path: Path) -> None:
        numbers = load_state(path, self._modules(), self.learner.optimiser)
        if numbers is not None:
            self.losses = numbers["losses"]
            if self.best is not None:
                self.best.scores = numbers["scores"]

    def _modules(self) -> dict[str, nn.Module]:
        """All that a later call continues from."""
        kept = {} if self.best is None else {f"best/{name}": it for name, it in self.best.kept.items()}
        return {**self.learner.modules, **kept}
