"""What goes into a network whose costs are counted, and what comes out: costs depend on shapes, not on values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap


def _increasing(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if not sizes or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"sizes must be positive and increasing, got {list(sizes)}")
    return sizes


ImageSizes = Annotated[tuple[int, ...], AfterValidator(_increasing)]
"""Sides of square images in pixels, each once."""


def blank_images(size: int, device: torch.device | str, count: int = 1) -> Tensor:
    """(count, 3, size, size), black."""
    return torch.zeros(count, 3, size, size, device=device)


def output_tensors(output: Any) -> list[Tensor]:
    """All tensors of what a module returns, in order: one, several in containers, or the levels of a FeatureMap."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, FeatureMap):
        return list(output.levels)
    parts: Iterable[Any] = ()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, list | tuple):
        parts = output
    return [tensor for part in parts for tensor in output_tensors(part)]


def require_sizes(sizes: Iterable[int], extractor: FeatureExtractor) -> None:
    """Raise BenchError where the network does not take square images of one of the sizes."""
    stride = extractor.stride
    unfit = [size for size in sizes if size % stride]
    if unfit:
        nearest = max(stride, round(unfit[0] / stride) * stride)
        raise BenchError(
            f"{type(extractor).__name__} takes images whose sides are multiples of {stride}, "
            f"got image_sizes with {unfit[0]}",
            hint=f"The nearest is {nearest}.",
        )
