"""Training of the landmark regressor: on frozen features, or with whatever else learns beside it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.checkpoint import load_state, save_state
from bench.context import RunContext
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.record import content_hash
from bench.seeds import torch_generator
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
    path = None if run.partial is None else _state_path(run.partial, key, settings, seed)
    training.restore(path)
    saved = time.monotonic()
    with run.phase("head"), run.progress.task(f"fitting {key}", training.total, done=training.step) as task:
        while training.step < training.total:
            loss = training.advance()
            if not math.isfinite(loss):
                raise BenchError(
                    f"{key}: the loss is {loss} after {training.step} of {training.total} steps",
                    hint="Check that the features are finite, or lower the learning rate.",
                )
            if path is not None and time.monotonic() - saved >= save_seconds:
                training.save(path)
                saved = time.monotonic()
            task.advance(status=f"loss {loss:.4f}")
    if path is not None:
        path.unlink(missing_ok=True)
    return training.epoch_losses()


class _Training:
    """The state of a training between two steps; everything else follows from ``step`` and the seed."""

    def __init__(self, learner: Learner, settings: FitSettings, count: int, seed: int) -> None:
        self.learner, self.settings, self.count, self.seed = learner, settings, count, seed
        self.batch_size = min(settings.batch_size, count)
        self.steps_per_epoch = count // self.batch_size
        self.total = settings.epochs * self.steps_per_epoch
        self.step = 0
        self.losses: list[float] = []
        self._order: tuple[int, Tensor] | None = None

    def advance(self) -> float:
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        first = batch * self.batch_size
        optimiser = self.learner.optimiser
        for group in optimiser.param_groups:
            group["lr"] = self.settings.rate(epoch) * group.get("relative_rate", 1.0)
        loss = self.learner.loss_and_gradients(self._shuffled(epoch)[first : first + self.batch_size])
        optimiser.step()
        self.step += 1
        self.losses.append(float(loss))
        return self.losses[-1]

    def epoch_losses(self) -> np.ndarray[Any, Any]:
        losses: np.ndarray[Any, Any] = np.array(self.losses).reshape(self.settings.epochs, -1).mean(1)
        return losses

    def save(self, path: Path) -> None:
        numbers = {"step": self.step, "losses": self.losses}
        save_state(path, self.learner.modules, self.learner.optimiser, numbers)

    def restore(self, path: Path | None) -> None:
        if path is None:
            return
        numbers = load_state(path, self.learner.modules, self.learner.optimiser)
        if numbers is not None:
            self.step, self.losses = numbers["step"], numbers["losses"]

    def _shuffled(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch_generator(self.seed, "shuffle", epoch)
            self._order = (epoch, torch.randperm(self.count, generator=generator))
        return self._order[1]


def _state_path(folder: Path, key: str, settings: FitSettings, seed: int) -> Path:
    """Named by all that the training depends on besides the run's identity."""
    stem = re.sub(r"[^\w=.-]+", "_", key)
    return folder / f"{stem}.{content_hash([settings.model_dump(mode='json'), seed])}.training.safetensors"
