"""Numbers computed with the official DVE and ContrastLandmarks code, where they lie beside the checkout."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, Any]

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def golden(name: str) -> dict[str, Array]:
    """The arrays of a golden file, such as ``dve/b_tps.npz``; skips the test where there are none."""
    path = SHARED / "goldens" / name
    if not path.is_file():
        pytest.skip(f"needs the golden vectors {name}, which are not beside the checkout")
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def seeded_normal(name: str, shape: tuple[int, ...]) -> Array:
    """The golden files' rule for arrays that they do not store."""
    seed = zlib.crc32(f"open|{name}".encode())
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def fill_parameters(network: nn.Module, gain: float, prefix: str = "") -> None:
    """Fill a network by the golden files' rule; ``prefix`` + own name is the official name of a parameter."""
    state = {}
    for key, entry in network.state_dict().items():
        state[key] = _parameter(prefix + key, tuple(entry.shape), gain)
    network.load_state_dict(state)


def _parameter(key: str, shape: tuple[int, ...], gain: float) -> Tensor:
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    z = seeded_normal(key, shape)
    if leaf == "running_mean":
        z = 0.1 * z
    elif leaf == "running_var":
        z = np.exp(0.2 * z)
    elif leaf == "bias":
        z = 0.05 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z
    else:
        z = gain * z * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z)).float()
