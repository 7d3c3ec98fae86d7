"""A 1x1 convolution that tells the class of each pixel from its features, and its training.

Frozen or fine-tuned, the arithmetic is the same: a step reads the features of a batch, stored or computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.checkpoint import load_state, save_state
from bench.context import RunContext
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.landmarks import UNLABELLED
from protocols.heads.restartable import Batches, run_to_end

Reader = Callable[[Tensor], FeatureMap]
"""Places in the support set (B,) -> their features, on the run's device."""


class HeadSettings(BaseModel):
    """Adam with coupled weight decay; both rates fall to zero along half a cosine.

    Attributes:
        steps: As many for every number of annotations.
        network_learning_rate: Of the network's own weights, where they are trained too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    network_learning_rate: float = Field(gt=0)

    def factor(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.steps)) / 2


class SegmentationHead(nn.Module):
    """Scores of every class at every cell of a feature map. All weights begin at zero.

    Features are multiplied by ``scale`` first. That is the same family of convolutions; it makes one learning rate fit
    features of any length.

    Shapes:
        forward: features of B images -> (B, classes, H, W), at the size on which they are defined.
    """

    def __init__(self, channels: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, channels))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.scale = scale

    def forward(self, features: FeatureMap) -> Tensor:
        return features.project(self.weight * self.scale, self.bias)


def class_shares(masks: Tensor, classes: int, size: tuple[int, int]) -> Tensor:
    """How much of each cell every class covers; unlabelled pixels belong to none.

    Shapes:
        masks: (B, S, S), uint8.  returns: (B, classes, H, W), float32, sums over classes at most 1.
    """
    known = masks != UNLABELLED
    numbers = torch.where(known, masks, torch.zeros_like(masks)).long()
    covered = F.one_hot(numbers, classes) * known.unsqueeze(-1)
    return F.adaptive_avg_pool2d(covered.permute(0, 3, 1, 2).float(), size)


def cross_entropy(scores: Tensor, shares: Tensor) -> Tensor:
    """Between soft-maxed scores and class shares, both (B, classes, H, W); every labelled pixel weighs the same."""
    total = shares.sum().clamp_min(torch.finfo(shares.dtype).tiny)
    return -(shares * scores.log_softmax(1)).sum() / total


def train_head(
    head: SegmentationHead,
    read: Reader,
    shares: Tensor,
    settings: HeadSettings,
    *,
    network: nn.Module | None,
    seed: int,
    run: RunContext,
    key: str,
    save_seconds: float = 30.0,
) -> np.ndarray[Any, Any]:
    """Train the head in place, and with it ``network``, where ``read`` computes features by it.

    The support images are shuffled anew whenever all have been seen; an incomplete last batch is dropped. Where
    ``run.partial`` is set, the state is written there about every ``save_seconds``, and a later call continues.

    Args:
        shares: (N, classes, H, W), the class shares of the support images at the features' size.
        seed: Of the shuffling.
        key: Names this training within the run.

    Returns:
        (steps,), float64, the losses.

    Raises:
        BenchError: where the loss is no longer finite, or no gradient reaches the network.
    """
    head.to(run.device)
    training = _Training(head, network, settings, read, shares, seed)
    run_to_end(training, settings, seed=seed, run=run, key=key, save_seconds=save_seconds)
    return np.array(training.losses)


class _Training:
    """The state of a training between two steps; everything else follows from their number and the seed."""

    def __init__(
        self,
        head: SegmentationHead,
        network: nn.Module | None,
        settings: HeadSettings,
        read: Reader,
        shares: Tensor,
        seed: int,
    ) -> None:
        self.settings, self.network, self.read, self.shares = settings, network, read, shares
        self.batches = Batches(len(shares), settings.batch_size, seed)
        self.total = settings.steps
        self.modules: dict[str, nn.Module] = {"head": head}
        self.head = head
        rates = [settings.learning_rate]
        if network is not None:
            self.modules["network"] = network
            rates.append(settings.network_learning_rate)
        groups = [
            {"params": list(module.parameters()), "lr": rate}
            for module, rate in zip(self.modules.values(), rates, strict=True)
        ]
        self.rates = rates
        self.optimiser = torch.optim.Adam(groups, weight_decay=settings.weight_decay)
        self.losses: list[float] = []

    def advance(self) -> float:
        step = len(self.losses)
        places = self.batches.at(step)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.settings.factor(step)
        self.optimiser.zero_grad(set_to_none=True)
        scores = self.head(self.read(places))
        loss = cross_entropy(scores, self.shares[places].to(scores.device))
        loss.backward()
        if self.network is not None and all(p.grad is None for p in self.network.parameters()):
            raise BenchError(
                f"{type(self.network).__name__} passes no gradient from its features to its weights, so it cannot "
                f"be fine-tuned",
                hint="Leave it frozen: -P finetune=false.",
            )
        self.optimiser.step()
        self.losses.append(float(loss.detach()))
        return self.losses[-1]

    def save(self, path: Path) -> None:
        save_state(path, self.modules, self.optimiser, {"losses": self.losses})

    def restore(self, path: Path) -> None:
        numbers = load_state(path, self.modules, self.optimiser)
        if numbers is not None:
            self.losses = numbers["losses"]
