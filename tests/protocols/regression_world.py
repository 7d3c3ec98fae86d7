"""A small world for the regression protocols: images that say where their landmarks are, and how to read them."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.context import EvaluationData
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.seeds import torch_generator

SIDE, MARGIN = 32, 4
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
SCHEMA = LandmarkSchema(("left eye", "right eye", "nose"), ((0,), (1,)), "eye centres")


def world(name: str, count: int, seed: int = 0) -> LoadedSplit:
    """Three soft coloured spots on black, their centres being the landmarks; working frames with a margin."""
    side = SIDE + 2 * MARGIN
    generator = torch_generator(seed, "world", name)
    rest = torch.tensor([[14.0, 15.0], [26.0, 15.0], [20.0, 25.0]])
    points = rest + 6 * torch.rand(count, 1, 2, generator=generator) - 3
    points = points + 4 * torch.rand(count, 3, 2, generator=generator) - 2
    centres = torch.arange(side) + 0.5
    squared = (centres[None, None, :] - points[..., 0, None]).square()[:, :, None, :]
    squared = squared + (centres[None, None, :] - points[..., 1, None]).square()[:, :, :, None]
    spots = torch.exp(-squared / 8)
    images = torch.einsum("nkhw,kc->nchw", spots, torch.tensor(COLOURS, dtype=torch.float32))
    return LoadedSplit(
        name=f"world/{name}",
        fingerprint=f"{name}-{count}-{seed}",
        ids=tuple(f"{name}{i}" for i in range(count)),
        identities=(None,) * count,
        images=images.clamp(0, 255).to(torch.uint8),
        points=points,
        visible=torch.ones(count, 3, dtype=torch.bool),
        schema=SCHEMA,
        margin=MARGIN,
    )


def evaluation_data(train: int = 40, test: int = 25) -> EvaluationData:
    return EvaluationData(train=world("train", train), test=world("test", test))


class Colours(FeatureExtractor):
    """The image itself, at half and at quarter resolution: a landmark is where its colour is."""

    def __init__(self) -> None:
        super().__init__()
        self.images_seen = 0

    def forward(self, images: Tensor) -> FeatureMap:
        self.images_seen += len(images)
        levels = tuple(torch.nn.functional.avg_pool2d(images, factor) for factor in (2, 4))
        height, width = images.shape[-2:]
        return FeatureMap(levels, (height // 2, width // 2), (height, width))


class Blind(FeatureExtractor):
    """Features that are the same everywhere and in every image."""

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        level = torch.ones(len(images), 4, height // 2, width // 2)
        return FeatureMap((level,), (height // 2, width // 2), (height, width))


class PositionsOnly(FeatureExtractor):
    """Features that know where in the frame they are, and nothing of the image."""

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        rows, columns = torch.linspace(-1, 1, height // 2), torch.linspace(-1, 1, width // 2)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        level = torch.stack([x, y, x * x, y * y, x * y]).expand(len(images), -1, -1, -1)
        return FeatureMap((level,), (height // 2, width // 2), (height, width))


def mean_shape_error(train: LoadedSplit, test: LoadedSplit) -> float:
    """Percent of the inter-ocular distance, of predicting the mean training shape everywhere; by hand."""
    shape = train.points.double().mean(0)
    apart = (test.points[:, 0] - test.points[:, 1]).double().norm(dim=-1)
    errors = (shape - test.points.double()).norm(dim=-1) / apart[:, None]
    return 100 * float(errors.mean())
