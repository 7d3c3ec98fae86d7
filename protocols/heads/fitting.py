"""Training of the landmark regressor: on frozen features, or with whatever else learns beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.checkpoint import load_state, save_state
from bench.context import RunContext
from bench.features import FeatureMap
from protocols.heads.restartable import Batches, run_to_end
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor

_LOWEST_RATE = 0.2**3 * 0.1


class FitSettings(BaseModel):
    """Adam with coupled weight decay (L2 added to the gradient), as ContrastLandmarks and DVE use it.

    Attributes:
        cosine_t_max: Epoch at which the cosine reaches its lowest rate; beyond ``epochs`` the cosine is
            truncated, as in ContrastLandmarks' runs. None: constant rate (DVE's limited annotations).
        beta1: 0.5 in ContrastLandmarks, 0.9 in DVE.
        amsgrad: On in DVE.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    cosine_t_max: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    amsgrad: bool = False

    def rate(self, epoch: int) -> float:
        """The learning rate in ``epoch`` = 0, 1, ...; the official scheduler steps before the first epoch."""
        if self.cosine_t_max is None:
            return self.learning_rate
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
    save_seconds: float = 30.0,
) -> np.ndarray[Any, Any]:
    """Train the regressor in place, on the run's device: :func:`train` on frozen features.

    Shapes:
        features: N images.  targets: (N, K, 2), normalised coordinates.  visible: (N, K), bool.
        returns: (epochs,), float64, the mean loss of each epoch's batches.
    """
    learner = _OnFrozenFeatures(regressor, features, targets, visible, settings, run.device)
    return train(learner, len(features), settings, seed=seed, run=run, key=key, save_seconds=save_seconds)


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

    Shapes:
        returns: (epochs,), float64, the mean loss of each epoch's batches.

    Raises:
        BenchError: where the loss is no longer finite.
    """
    training = _Training(learner, settings, count, seed)
    run_to_end(training, settings, seed=seed, run=run, key=key, save_seconds=save_seconds)
    losses: np.ndarray[Any, Any] = np.array(training.losses).reshape(settings.epochs, -1).mean(1)
    return losses


class _Training:
    """The state of a training between two steps; everything else follows from their number and the seed."""

    def __init__(self, learner: Learner, settings: FitSettings, count: int, seed: int) -> None:
        self.learner, self.settings = learner, settings
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
        return self.losses[-1]

    def save(self, path: Path) -> None:
        save_state(path, self.learner.modules, self.learner.optimiser, {"losses": self.losses})

    def restore(self, path: Path) -> None:
        numbers = load_state(path, self.learner.modules, self.learner.optimiser)
        if numbers is not None:
            self.losses = numbers["losses"]
