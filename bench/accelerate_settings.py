"""What ``accelerate launch`` was told beside the number of processes.

It hands these settings on in variables that a program may overlook. ``bench`` has options of its own for them, which
are part of what a training is; so a setting that would have no effect is an error.
"""

from __future__ import annotations

import os

from bench.errors import BenchError

_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}
_ENGINES = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP"}


def require_no_other_settings(precision: str) -> None:
    """Make sure that ``accelerate`` was not told anything else than what the training will do.

    Args:
        precision: That of the training.

    Raises:
        BenchError: says what to tell ``bench`` or ``accelerate`` instead.
    """
    for variable, engine in _ENGINES.items():
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise BenchError(
                f"accelerate was told to use {engine}, which bench does not",
                hint="Set it off (accelerate config, or accelerate launch --multi_gpu): every process holds the whole "
                "network.",
            )
    told = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if told != "no" and _PRECISIONS.get(told) != precision:
        wanted = _PRECISIONS.get(told)
        raise BenchError(
            f"accelerate was told --mixed_precision {told}, and this training computes in {precision}",
            hint=f"Tell bench too: --precision {wanted}." if wanted else "Use bf16, fp16 or no.",
        )
