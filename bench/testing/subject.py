"""What the checks look at: a method with fixed options, images to feed it, and how a failure is worded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, MethodOptions, Preset, Recipe
from bench.opening import preset_of
from bench.options import build_options
from bench.seeds import seeded_initialisation, torch_generator
from bench.testing.rehearsal import Rehearsed

_SMALLEST_SIDE = 64
"""Deep networks (stride 32) still have several cells at this size, and narrow ones take milliseconds."""


class ConformanceError(AssertionError):
    """A promise that a method does not keep.

    Args:
        got: What was seen.
        expected: What the interface demands.
        remedy: What the author of the method can do.
        heading: Which method fails which check.
    """

    def __init__(self, got: str, expected: str, remedy: str, heading: str = "") -> None:
        lines = [heading, f"  got:      {got}", f"  expected: {expected}", f"  to do:    {remedy}"]
        super().__init__("\n".join(line for line in lines if line))
        self.got, self.expected, self.remedy = got, expected, remedy


def require(holds: bool, *, got: str, expected: str, remedy: str) -> None:
    if not holds:
        raise ConformanceError(got, expected, remedy)


class Subject:
    """A method under test.

    Args:
        preset: Preset that ``options`` and ``recipe`` are laid on; None: the defaults, which are the paper's.
        options: Overrides of the architecture.
        recipe: Overrides of the recipe that make a training of some steps; None: trainings are not checked.
        image_sizes: (height, width) of images; None: three sizes made from the network's stride.

    Attributes:
        rehearsed: The undisturbed training, once a check has run it, for the others.
    """

    def __init__(
        self,
        method: type[Method],
        preset: str | None,
        options: Mapping[str, Any] | None,
        recipe: Mapping[str, Any] | None,
        image_sizes: Sequence[tuple[int, int]] | None,
    ) -> None:
        self.method = method
        self.given_recipe = recipe
        self.rehearsed: Rehearsed | None = None
        self._preset, self._given_options, self._given_sizes = preset, options, image_sizes

    @property
    def name(self) -> str:
        return str(getattr(self.method, "name", self.method.__name__))

    @cached_property
    def options(self) -> MethodOptions:
        values = {**self._base.options, **(self._given_options or {})}
        return build_options(self.method.Options, values, f"method {self.name!r}")

    @cached_property
    def recipe(self) -> Recipe:
        values = {**self._base.recipe, **(self.given_recipe or {})}
        return build_options(self.method.Recipe, values, f"recipe of method {self.name!r}")

    @property
    def _base(self) -> Preset:
        if self._preset is None:
            return Preset("the defaults")
        preset: Preset = preset_of(self.method.presets, self._preset, f"method {self.name!r}")
        return preset

    def build(self, seed: int = 0, options: MethodOptions | None = None) -> FeatureExtractor:
        """The network with initial weights that depend on ``seed`` alone, in evaluation mode."""
        with seeded_initialisation(seed, "conformance"):
            return self.method().build(options or self.options).eval()

    @cached_property
    def image_sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width): square, odd in cells, and elongated, which tells height from width."""
        if self._given_sizes is not None:
            return tuple(self._given_sizes)
        step = self.build().stride
        side = rounded_up(_SMALLEST_SIDE, step)
        return (side, side), (side + step, side), (side, 3 * side)

    def images(self, count: int = 4, size: tuple[int, int] | None = None, *, seed: int = 0) -> Tensor:
        """(count, 3, H, W), uint8 noise."""
        height, width = size or self.image_sizes[0]
        generator = torch_generator(seed, "conformance images")
        return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def rounded_up(number: int, step: int) -> int:
    """The smallest multiple of ``step`` that is not below ``number``."""
    return -(-number // step) * step


def difference(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference, in parts of the largest absolute value."""
    if one.shape != other.shape:
        return float("inf")
    one, other = one.detach(), other.detach()
    scale = max(float(one.abs().max()), float(other.abs().max()), torch.finfo(torch.float32).tiny)
    gap = float((one.double() - other.double()).abs().max()) / scale
    return gap if gap == gap else float("inf")  # noqa: PLR0124 - NaN is no agreement


def feature_difference(one: FeatureMap, other: FeatureMap) -> float:
    """The largest :func:`difference` over the levels."""
    if one.layout != other.layout:
        return float("inf")
    return max(difference(a, b) for a, b in zip(one.levels, other.levels, strict=True))
