"""BYOL: predict the moving-average network's view of an image from the online network's other view.

Reference: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, equations 1 and 2; LEAD equation 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.objectives.precision import full_precision


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the unit vectors, 2 - 2 cos, mean over the batch. No gradient flows into ``target``.

    Shapes:
        prediction, target: (B, D).  returns: ().
    """
    (prediction, target), in_full = full_precision(prediction, target.detach())
    with in_full:
        return (2 - 2 * F.cosine_similarity(prediction, target, dim=1)).mean()


def ema_momentum(step: int, steps: int, start: float) -> float:
    """Momentum of the target network: from ``start`` to 1 along a half cosine over the training."""
    return 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2


@torch.no_grad()
def update_ema(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """target <- momentum * target + (1 - momentum) * online, for parameters; buffers are not averaged."""
    mine: list[Tensor] = list(target.parameters())
    theirs: list[Tensor] = list(online.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - momentum)
