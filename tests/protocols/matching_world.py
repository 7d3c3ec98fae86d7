"""A small world for matching: images whose colours tell the place, and features that can or cannot read them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.context import EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricValue
from protocols.matching import Matching, MatchingOptions

SIDE, MARGIN = 48, 6


def coordinate_image(side: int) -> Tensor:
    """Red tells the column and green the row, so that a pixel knows where it comes from."""
    ramp = torch.linspace(40, 250, side).round()
    blue = torch.full((side, side), 128.0)
    return torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side), blue]).to(torch.uint8)


def split_of(
    images: int = 6, *, identities: tuple[str | None, ...] | None = None, margin: int = MARGIN
) -> LoadedSplit:
    side = SIDE + 2 * margin
    stream = torch.Generator().manual_seed(3)
    spread = torch.rand(images, 4, 2, generator=stream) * (SIDE * 0.5) + SIDE * 0.25
    return LoadedSplit(
        name="made/test",
        fingerprint="00",
        ids=tuple(f"image{i}" for i in range(images)),
        identities=identities or tuple(f"person{i // 2}" for i in range(images)),
        images=coordinate_image(side).expand(images, -1, -1, -1).contiguous(),
        points=spread + margin,
        visible=torch.ones(images, 4, dtype=torch.bool),
        schema=LandmarkSchema(("a", "b", "c", "d"), normaliser=((0,), (1,)), normaliser_name="eyes"),
        margin=margin,
    )


class Colours(FeatureExtractor):
    """The colours themselves, one cell a pixel, far apart under the cosine."""

    def forward(self, images: Tensor) -> FeatureMap:
        angles = images[:, :2] * 3
        features = torch.cat([angles.cos(), angles.sin()], 1)
        height, width = images.shape[-2:]
        return FeatureMap((features,), (height, width), (height, width))


class Constant(FeatureExtractor):
    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        features = images.new_ones(len(images), 7, height // 4, width // 4) / 3
        return FeatureMap((features,), (height // 2, width // 2), (height, width))


class Mixed(FeatureExtractor):
    """A small random network with two levels; its map depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.coarse = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        stream = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4, generator=stream)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        fine = self.fine(images).relu()
        levels = (self.coarse(fine).relu(), fine)
        return FeatureMap(levels, (height // 4, width // 4), (height, width), "per_level")


def measure(
    split: LoadedSplit, extractor: FeatureExtractor, *, seed: int = 0, batch_size: int = 4, **options: Any
) -> Measurement:
    protocol, chosen = Matching(), MatchingOptions(**options)
    data = EvaluationData(train=None, test=split)
    protocol.check(chosen, data)
    return protocol.measure(extractor, data, chosen, RunContext(seed=seed, batch_size=batch_size))


def value(measurement: Measurement, metric: str, pairs: str) -> MetricValue:
    return next(v for v in measurement.values if v.metric == metric and v.condition == {"pairs": pairs})
