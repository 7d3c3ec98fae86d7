"""A small world with parts: three coloured squares, which are masks, classes and the cells of their centres at once."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.context import EvaluationData
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.seeds import torch_generator

SIDE, MARGIN = 24, 2
SQUARE, STEP = 6, 8
COLOURS = torch.tensor([[20, 20, 20], [220, 30, 30], [30, 220, 30], [30, 30, 220]], dtype=torch.uint8)
CLASSES = ("background", "red", "green", "blue")
_PLACES = torch.tensor([[0, 0], [STEP, 0], [0, STEP]])


def parts_world(name: str, count: int, seed: int = 0) -> LoadedSplit:
    """Squares of 6 pixels, 2 apart, moved together by up to 8 pixels; landmarks are their centres."""
    side = SIDE + 2 * MARGIN
    shift = torch.randint(0, 9, (count, 1, 2), generator=torch_generator(seed, "parts", name))
    corners = MARGIN + shift + _PLACES
    masks = torch.zeros(count, side, side, dtype=torch.uint8)
    for mask, squares in zip(masks, corners.tolist(), strict=True):
        for number, (x, y) in enumerate(squares, 1):
            mask[y : y + SQUARE, x : x + SQUARE] = number
    return LoadedSplit(
        name=f"squares/{name}",
        fingerprint=f"{name}-{count}-{seed}",
        ids=tuple(f"{name}{i}" for i in range(count)),
        identities=(None,) * count,
        images=COLOURS[masks.long()].permute(0, 3, 1, 2).contiguous(),
        points=corners + SQUARE / 2,
        visible=torch.ones(count, 3, dtype=torch.bool),
        schema=LandmarkSchema(("red", "green", "blue")),
        margin=MARGIN,
        masks=masks,
        classes=CLASSES,
    )


def parts_data(train: int = 30, test: int = 12) -> EvaluationData:
    return EvaluationData(train=parts_world("train", train), test=parts_world("test", test))


class Oracle(FeatureExtractor):
    """Which of the four colours each pixel has."""

    def __init__(self) -> None:
        super().__init__()
        self.images_seen = 0

    def forward(self, images: Tensor) -> FeatureMap:
        self.images_seen += len(images)
        apart = (images[:, None] - COLOURS[:, :, None, None] / 255).square().sum(2)
        level = (apart == apart.amin(1, keepdim=True)).float()
        height, width = images.shape[-2:]
        return FeatureMap((level,), (height, width), (height, width))


class Constant(FeatureExtractor):
    """The same everywhere, in every image; coarse, so that resizing rounds."""

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        level = torch.full((len(images), 5, height // 3, width // 3), 0.7)
        return FeatureMap((level,), (height // 2, width // 2), (height, width))
