"""Weights on disk: safetensors with a description of the network and of where its weights come from.

The description lies in the file's metadata as JSON: ``method``, ``options`` (enough to build the network) and
``provenance`` (data set, fingerprint, preset, seed, steps). Weights that ship are stored in half precision; in memory
all are in single. Nothing here ever unpickles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bench.errors import BenchError
from bench.files import write_atomically
from bench.record import content_hash

_KEY = "bench"

HALF = "float16"
"""What the provenance calls ``stored_as`` where a file holds matrices in half precision."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A weights file, read.

    Attributes:
        sha256: Of the file.
        tensors: State dict of the network; what the file holds in half precision is float32 here.
    """

    path: Path
    sha256: str
    method: str
    options: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def label(self) -> str:
        """One line: which weights these are and what they were trained on."""
        p = self.provenance
        if "format" in p:
            return f"released checkpoint {' + '.join(p.get('files', {}))} ({p['format']})"
        preset = f"{p.get('preset', 'custom')} preset"
        parts = [
            f"shipped weights in half precision ({preset})" if p.get("stored_as") == HALF else preset,
            f"trained on {p.get('images', 'unknown')} images of {p.get('dataset', 'unknown data')}",
        ]
        if "stage" in p:
            parts.append(f"{p['stage']}" + (f", step {p['step']}" if p.get("step", -1) >= 0 else ""))
        return ", ".join(parts)

    @property
    def origin(self) -> dict[str, Any]:
        """What tells this training from others, for the records of what it is measured with; the recipe is a hash."""
        told = {key: self.provenance[key] for key in _ORIGIN if self.provenance.get(key) is not None}
        recipe = self.provenance.get("recipe")
        return told | ({} if recipe is None else {"recipe": content_hash(recipe)})


_ORIGIN = ("preset", "variant", "dataset", "images", "share", "seed", "initial", "format", "files")


def save_weights(
    path: Path, network: nn.Module, *, method: str, options: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Write a network's state atomically."""
    content = encode(network.state_dict(), method=method, options=options, provenance=provenance)
    write_atomically(path, content)


def encode(
    tensors: Mapping[str, Tensor], *, method: str, options: dict[str, Any], provenance: dict[str, Any]
) -> bytes:
    """The bytes of a weights file."""
    description = json.dumps({"method": method, "options": options, "provenance": provenance}, sort_keys=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, metadata={_KEY: description})


def read_weights(path: Path, *, method: str | None = None) -> Weights:
    """Read a weights file.

    Args:
        method: Refuse weights of another method.

    Raises:
        BenchError: missing, not safetensors, damaged, not written by bench, or of another method.
    """
    if not path.is_file():
        raise BenchError(
            f"no weights at {path}",
            hint="Give the path of a file written by `bench pretrain`, or of an official checkpoint.",
        )
    data = path.read_bytes()
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise BenchError(
            f"{path} is not a readable safetensors file: {error}",
            hint="It may be damaged: `bench pretrain` writes weights anew. Checkpoints of other code become weights "
            "with `bench weights convert`.",
        ) from error
    try:
        description = json.loads(metadata[_KEY])
        found = str(description["method"])
        options, provenance = dict(description["options"]), dict(description["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"{path} is a safetensors file, but not one that bench wrote: its metadata lacks the description",
            hint="Pre-train with `bench pretrain`, or take over an official checkpoint with `bench weights convert`.",
        ) from error
    if method is not None and found != method:
        raise BenchError(
            f"{path} holds weights of method {found!r}, not of {method!r}",
            hint=f"Run it with --method {found}.",
        )
    widened = {
        name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()
    }
    return Weights(path, hashlib.sha256(data).hexdigest(), found, options, provenance, widened)


def describes_itself(path: Path) -> bool:
    """Whether a file is one that bench wrote (it may still be damaged), and not a checkpoint of other code."""
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            return _KEY in (stream.metadata() or {})
    except (SafetensorError, OSError):
        return path.suffix == ".safetensors"


def load_into(network: nn.Module, weights: Weights) -> None:
    """Load every tensor into its place.

    Raises:
        BenchError: a checkpoint of another architecture; lists what is missing, left over, or of another shape.
    """
    own = network.state_dict()
    problems = []
    unread: tuple[str, ...] = getattr(network, "unread", ())
    tensors = {name: value for name, value in weights.tensors.items() if not name.startswith(unread)}
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing:
        problems.append(f"{len(missing)} missing ({_some(missing)})")
    if extra:
        problems.append(f"{len(extra)} not known to the network ({_some(extra)})")
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    if wrong:
        problems.append(f"{len(wrong)} of another shape ({_some(wrong)})")
    if problems:
        raise BenchError(
            f"{weights.path} is a checkpoint of another architecture: {'; '.join(problems)}",
            hint=f"It was written with options {json.dumps(weights.options, sort_keys=True)}.",
        )
    network.load_state_dict(tensors)


def state_sha256(network: nn.Module) -> str:
    """Hash of all names, shapes, dtypes and values of a network's state; for networks that have no file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _some(names: list[str], count: int = 3) -> str:
    more = f", and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
