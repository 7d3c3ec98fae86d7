"""Learning-rate schedules as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence


def warmup_cosine(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear from 0 to ``peak`` over ``warmup`` steps, then half a cosine to 0 at ``steps`` (Loshchilov & Hutter)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def late_steps(
    step: int, per_epoch: int, milestones: Sequence[int], peak: float, factor: float = 0.1
) -> float:
    """``peak``, times ``factor`` for every milestone passed, an epoch later than a milestone says.

    A drop "at epoch M" acts from the (M + 2)nd epoch on: DVE's released code told its scheduler, after every epoch,
    that epoch's number less one. So its nominal drops at 70 and 90 came in epochs 72 and 92.

    Args:
        step: 0-based.
        per_epoch: Steps of an epoch.
        milestones: Nominal epochs of the drops.
    """
    epoch = step // per_epoch
    return peak * factor ** sum(epoch > milestone for milestone in milestones)


def epoch_cosine(step: int, per_epoch: int, epochs: int, peak: float, floor: float = 0.0) -> float:
    """Half a cosine from ``peak`` to ``floor``, constant within an epoch and taken at its end.

    As ContrastLandmarks' released code has it: the first epoch is below the peak, the last one is at the floor.

    Args:
        step: 0-based.
        per_epoch: Steps of an epoch.
    """
    progress = (step // per_epoch + 1) / epochs
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))
