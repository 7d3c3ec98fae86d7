"""The loss of regressed landmarks, and its derivative."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LOSS_FACTOR = 10.0


def regression_loss(
    predicted: Tensor, targets: Tensor, visible: Tensor, factor: float = LOSS_FACTOR
) -> Tensor:
    """Smooth L1 (beta 1) between ``factor`` times prediction and target, the mean over all B x K x 2 numbers.

    Invisible landmarks count as zero on both sides and still count in the mean, as in the official loss of
    partly visible landmarks.

    Shapes:
        predicted, targets: (B, K, 2), normalised coordinates; targets may be anything where invisible.
        visible: (B, K), bool.  returns: ().
    """
    seen = visible.unsqueeze(-1)
    zero = predicted.new_zeros(())
    return F.smooth_l1_loss(
        torch.where(seen, factor * predicted, zero), torch.where(seen, factor * targets, zero), beta=1.0
    )


def regression_loss_gradient(
    predicted: Tensor, targets: Tensor, visible: Tensor, numbers: int, factor: float = LOSS_FACTOR
) -> Tensor:
    """The derivative of :func:`regression_loss` by some of its predictions, without the others.

    Args:
        numbers: B x K x 2 of the whole loss, over which its mean is taken.

    Shapes:
        predicted, targets: (..., 2).  visible: (...).  returns: (..., 2).
    """
    difference = factor * predicted - factor * targets
    difference = torch.where(visible.unsqueeze(-1), difference, difference.new_zeros(()))
    return difference.clamp_(-1, 1).mul_(factor / numbers)
