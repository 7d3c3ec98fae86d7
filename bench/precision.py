"""Single precision is single: what GPUs multiply with ten bits of mantissa by default is multiplied with all 23."""

from __future__ import annotations

import torch


def forbid_tf32() -> None:
    """Compute in float32 where float32 is asked for, in this process; torch's default allows TF32 in convolutions.

    The papers' numbers are of float32, and those of a CPU and a GPU should agree. Whoever wants speed instead asks for
    bfloat16.
    """
    # Torch's older interface: it exists in every version that is supported, and overrides the newer one.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
