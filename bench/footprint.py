"""How large a method's network is, found out on torch's meta device: nothing is allocated or computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bench.features import FeatureExtractor
from bench.method import Method
from bench.options import build_options

_SIDE = 96


@dataclass(frozen=True)
class Footprint:
    """A network in numbers.

    Attributes:
        parameters: Trainable values, of all that the network holds.
        channels: Of its dense features.
        stride: Sides of images are multiples of it.
    """

    parameters: int
    channels: int | None
    stride: int
    capabilities: tuple[str, ...]


def footprint(method: Method, overrides: Mapping[str, Any]) -> Footprint | None:
    """Of the network that ``overrides`` of the default options give; None where it cannot be built.

    Raises:
        BenchError: for options that the method does not have.
    """
    options = build_options(method.Options, overrides, f"method {method.name!r}")
    network = _built(method, options)
    if network is None:
        return None
    return Footprint(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        channels=_channels(network),
        stride=network.stride,
        capabilities=tuple(sorted(network.capabilities)),
    )


def _built(method: Method, options: Any) -> FeatureExtractor | None:
    try:
        with torch.device("meta"):
            return method.build(options)
    except (NotImplementedError, RuntimeError):
        # Some initialisers read the values that they write, and a meta tensor has none.
        try:
            return method.build(options)
        except RuntimeError:
            return None


def _channels(network: FeatureExtractor) -> int | None:
    side = -(-_SIDE // network.stride) * network.stride
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            return network.eval()(torch.zeros(1, 3, side, side, device=device)).channels  # type: ignore[no-any-return]
    except (NotImplementedError, RuntimeError):
        return None
