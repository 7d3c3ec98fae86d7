"""In which precision a training computes, and that single precision is single.

What GPUs multiply with ten bits of mantissa by default is multiplied with all 23.
"""

from __future__ import annotations

import contextlib

import torch
from torch.amp.grad_scaler import GradScaler

from bench.errors import BenchError, did_you_mean

_HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_precision(name: str, device: torch.device, *, faithful: bool) -> str:
    """What ``name``, which may be ``auto``, means on a device.

    Args:
        faithful: Train as a paper did: ``auto`` is single precision.

    Raises:
        BenchError: for an unknown precision, or one that the device does not compute in.
    """
    known = ("auto", "float32", *_HALVES)
    if name not in known:
        raise BenchError(f"no precision is called {name!r}", hint=did_you_mean(name, known))
    if name == "float16" and device.type != "cuda":
        raise BenchError(
            f"precision float16 needs a GPU, and the device is {device.type}",
            hint="Use --precision float32, or bfloat16 where the processor computes in it.",
        )
    if name == "auto":
        return "bfloat16" if not faithful and _computes_in_bfloat16(device) else "float32"
    return name


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """What is computed inside is computed in ``precision`` where torch holds that to be safe."""
    if precision not in _HALVES:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_HALVES[precision])


def gradient_scaler(device: torch.device, precision: str) -> GradScaler:
    """Keeps small gradients above zero in float16; in all other precisions it does nothing."""
    return GradScaler(device.type, enabled=precision == "float16")


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether half precision is faster there: in hardware, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # What torch itself asks before it takes its bfloat16 kernels; older versions lack the question.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def forbid_tf32() -> None:
    """Compute in float32 where float32 is asked for, in this process; torch's default allows TF32 in convolutions.

    The papers' numbers are of float32, and those of a CPU and a GPU should agree. Whoever wants speed instead asks for
    bfloat16.
    """
    # Torch's older interface: it exists in every version that is supported, and overrides the newer one.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
