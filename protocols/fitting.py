"""Training of the landmark regressor on frozen features."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bench.checkpoint import load_state, save_state
from bench.context import RunContext
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.record import content_hash
from bench.seeds import torch_generator
from protocols.virtual_keypoints import VirtualKeypointRegressor

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

    def optimiser(self, regressor: VirtualKeypointRegressor) -> torch.optim.Adam:
        return torch.optim.Adam(
            regressor.parameters(),
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
    """Train the regressor in place, on the run's device.

    The images are shuffled anew in every epoch. As in the official loaders an incomplete last batch is
    dropped, unless it is the only one. Where ``run.partial`` is set, the unfinished state is written there
    about every ``save_seconds``, and a later call continues from it with the result of an undisturbed
    training.

    Args:
        seed: Of the shuffling.
        key: Names this training within the run.

    Shapes:
        features: N images.  targets: (N, K, 2), normalised coordinates.  visible: (N, K), bool.
        returns: (epochs,), float64, the mean loss of each epoch's batches.

    Raises:
        BenchError: where the loss is no longer finite.
    """
    regressor.to(run.device)
    training = _Training(regressor, settings, len(features), seed)
    path = None if run.partial is None else _state_path(run.partial, key, settings, seed)
    training.restore(path)
    data = (features.to(run.device), targets.to(run.device), visible.to(run.device))
    saved = time.monotonic()
    with run.phase("head"), run.progress.task(f"fitting {key}", training.total, done=training.step) as task:
        while training.step < training.total:
            loss = training.advance(*data)
            if not math.isfinite(loss):
                raise BenchError(
                    f"{key}: the loss is {loss} after {training.step} of {training.total} steps",
                    hint="Check that the features are finite, or lower learning_rate.",
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

    def __init__(
        self, regressor: VirtualKeypointRegressor, settings: FitSettings, count: int, seed: int
    ) -> None:
        self.regressor, self.settings, self.count, self.seed = regressor, settings, count, seed
        self.optimiser = settings.optimiser(regressor)
        self.batch_size = min(settings.batch_size, count)
        self.steps_per_epoch = count // self.batch_size
        self.total = settings.epochs * self.steps_per_epoch
        self.step = 0
        self.losses: list[float] = []
        self._order: tuple[int, Tensor] | None = None

    def advance(self, features: FeatureMap, targets: Tensor, visible: Tensor) -> float:
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        first = batch * self.batch_size
        picked = self._shuffled(epoch)[first : first + self.batch_size].to(targets.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(epoch)
        loss = self.regressor.loss_and_gradients(features[picked], targets[picked], visible[picked])
        self.optimiser.step()
        self.step += 1
        self.losses.append(float(loss))
        return self.losses[-1]

    def epoch_losses(self) -> np.ndarray[Any, Any]:
        losses: np.ndarray[Any, Any] = np.array(self.losses).reshape(self.settings.epochs, -1).mean(1)
        return losses

    def save(self, path: Path) -> None:
        save_state(
            path, {"regressor": self.regressor}, self.optimiser, {"step": self.step, "losses": self.losses}
        )

    def restore(self, path: Path | None) -> None:
        if path is None:
            return
        numbers = load_state(path, {"regressor": self.regressor}, self.optimiser)
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
