"""From names and ``key=value`` texts to the objects of a run, with every mistake found before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel

from bench import registry
from bench.errors import BenchError, did_you_mean
from bench.landmarks import DatasetProvider, LandmarkDataset
from bench.method import Method
from bench.options import build_options, parse_dataset, parse_options

DEFAULT_DATASET = "synthetic-faces"


@dataclass(frozen=True)
class DatasetRequest:
    """A data set as the command line names it."""

    spec: str = DEFAULT_DATASET
    options: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class OpenedDataset:
    """A provider with its location and resolved options."""

    request: DatasetRequest
    provider: DatasetProvider
    location: str | None
    options: BaseModel

    def open(self, split: str) -> LandmarkDataset:
        known = self.provider.splits(self.location, self.options)
        if split not in known:
            raise BenchError(
                f"data set {self.request.spec!r} has no split {split!r}", hint=did_you_mean(split, known)
            )
        return self.provider.open(split, self.location, self.options)


def open_dataset(request: DatasetRequest) -> OpenedDataset:
    name, location = parse_dataset(request.spec)
    provider: DatasetProvider = registry.load("datasets", name)()
    if provider.needs_location and location is None:
        raise BenchError(
            f"data set {name!r} needs a location", hint=f"For example --dataset {name}:path/to/folder."
        )
    if location is not None and not provider.needs_location:
        raise BenchError(f"data set {name!r} takes no location, got {location!r}")
    options = parse_options(provider.Options, list(request.options), f"data set {name!r}")
    return OpenedDataset(request, provider, location, options)


def resolve_options(
    model: type[BaseModel], items: Sequence[str], what: str, *, base: dict[str, Any] | None = None
) -> Any:
    """``key=value`` texts on top of ``base`` (a preset, or what a weights file says), validated once as a whole.

    An option that is itself a dict is laid on top of that of ``base``, not put in its place.
    """
    values = dict(base or {})
    for key, value in parse_options(model, list(items), what).model_dump(exclude_unset=True).items():
        below = values.get(key)
        values[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return build_options(model, values, what)


def preset_of(presets: dict[str, Any], name: str, what: str) -> Any:
    if name not in presets:
        raise BenchError(f"{what} has no preset {name!r}", hint=did_you_mean(name, presets))
    return presets[name]


def load_method(name: str) -> Method:
    return registry.load("methods", name)()  # type: ignore[no-any-return]


def choose_device(name: str) -> torch.device:
    """``auto`` is a GPU where there is one.

    Raises:
        BenchError: where the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BenchError(f"no device is called {name!r}", hint="Use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BenchError("device 'cuda' was asked for, and this machine has none", hint="Use --device cpu.")
    return device
