"""Learning-rate schedules as functions of the step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear from 0 to ``peak`` over ``warmup`` steps, then half a cosine to 0 at ``steps`` (Loshchilov & Hutter)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
