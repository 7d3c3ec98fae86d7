"""Objectives are computed in single precision, also where the network around them runs in half."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision(*tensors: Tensor) -> tuple[tuple[Tensor, ...], AbstractContextManager[object]]:
    """The tensors in at least float32, and a context in which autocast does not narrow products of them.

    A soft-max over similarities divided by a small temperature needs more than the three digits of bfloat16.
    """
    widened = tuple(t if t.dtype in (torch.float32, torch.float64) else t.float() for t in tensors)
    return widened, torch.autocast(tensors[0].device.type, enabled=False)
