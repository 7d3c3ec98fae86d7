"""Extractors whose equivariance is known, images for them, and how the tests measure them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.context import EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricValue
from protocols.equivariance import Equivariance, EquivarianceOptions
from tests.protocols import matching_world

SIDE, MARGIN = 48, 6


def smooth_images(count: int, side: int) -> Tensor:
    """Colours that differ from pixel to pixel: the column, the row and their mixture, slowly changing."""
    ramp = torch.linspace(30, 250, side)
    mixed = (ramp.expand(side, side) + ramp[:, None]) / 2
    picture = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), mixed])
    return picture.round().to(torch.uint8).expand(count, -1, -1, -1).contiguous()


def split_of(images: int = 6, *, margin: int = MARGIN, points: int = 5) -> LoadedSplit:
    stream = torch.Generator().manual_seed(3)
    spread = torch.rand(images, points, 2, generator=stream) * (SIDE * 0.5) + SIDE * 0.25
    return LoadedSplit(
        name="made/test",
        fingerprint="00",
        ids=tuple(f"image{i}" for i in range(images)),
        identities=(None,) * images,
        images=smooth_images(images, SIDE + 2 * margin),
        points=spread + margin,
        visible=torch.ones(images, points, dtype=torch.bool),
        schema=LandmarkSchema(tuple("abcdefghij"[:points])),
        margin=margin,
    )


class Colours(matching_world.Colours):
    """The colours as they are, so that every normalisation can be asked for."""

    def forward(self, images: Tensor) -> FeatureMap:
        return super().forward(images).with_normalisation("none")


class Constant(FeatureExtractor):
    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((images.new_ones(len(images), 3, 4, 4),), (4, 4), (height, width))


class Noise(FeatureExtractor):
    """Features that have nothing to do with the image, and are other ones at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = torch.Generator().manual_seed(7)

    def forward(self, images: Tensor) -> FeatureMap:
        size = (images.shape[-2], images.shape[-1])
        return FeatureMap((torch.randn(len(images), 8, *size, generator=self.stream),), size, size)


def measure(
    split: LoadedSplit,
    extractor: FeatureExtractor,
    *,
    seed: int = 0,
    batch_size: int = 4,
    partial: Path | None = None,
    **options: Any,
) -> Measurement:
    protocol, chosen = Equivariance(), EquivarianceOptions(**options)
    data = EvaluationData(train=None, test=split)
    protocol.check(chosen, data)
    return protocol.measure(extractor, data, chosen, RunContext(seed, batch_size=batch_size, partial=partial))


def value(
    values: tuple[MetricValue, ...], metric: str, predictor: str = "features", distance: int | None = None
) -> MetricValue:
    condition: dict[str, Any] = {"predictor": predictor}
    if distance is not None:
        condition["distance"] = distance
    found = [each for each in values if each.metric == metric and each.condition == condition]
    assert len(found) == 1
    return found[0]
