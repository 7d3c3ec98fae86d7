"""The state of an unfinished training, written so that it can be continued as if nothing had happened.

One safetensors file holds module states and optimiser moments; numbers lie in its metadata as JSON. Random
generators need no saving: every draw is seeded by its step (``bench.seeds``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.files import write_atomically

_KEY = "state"


def save_state(
    path: Path, modules: dict[str, nn.Module], optimiser: Optimizer | None, numbers: dict[str, Any]
) -> None:
    """Write the state of modules and optimiser with JSON-able ``numbers`` (step, job hash, ...), atomically."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, tensor in module.state_dict().items():
            tensors[f"{name}/{key}"] = tensor.detach().cpu().contiguous().clone()
    if optimiser is not None:
        for index, slots in optimiser.state_dict()["state"].items():
            for slot, value in slots.items():
                if value is not None:
                    tensors[f"optimiser/{index}/{slot}"] = (
                        torch.as_tensor(value).detach().cpu().contiguous().clone()
                    )
    write_atomically(path, safetensors.torch.save(tensors, metadata={_KEY: json.dumps(numbers)}))


def load_state(
    path: Path, modules: dict[str, nn.Module], optimiser: Optimizer | None
) -> dict[str, Any] | None:
    """Restore what :func:`save_state` wrote and return its numbers; None where there is no readable file."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            numbers = json.loads((stream.metadata() or {})[_KEY])
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, KeyError, ValueError, OSError):
        return None
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    if optimiser is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimiser/"):
                _, index, slot = key.split("/", 2)
                state.setdefault(int(index), {})[slot] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    return dict(numbers)
