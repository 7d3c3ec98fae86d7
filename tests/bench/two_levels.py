"""A network of one convolution whose features are kept on disk: for tests of that, and their processes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.cache_folder import FEATURES, CacheFolder
from bench.extraction import Extraction
from bench.feature_cache import FeatureCache
from bench.features import FeatureExtractor, FeatureMap
from bench.progress import Progress

SIDE, BATCH = 16, 4
BYTES = 4 * (5 * 8 * 8 + 3 * 2 * 2)  # of one image's features


class TwoLevels(FeatureExtractor):
    """The first level lies channels last, the second does not; it remembers how many images it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.seen = 0

    def forward(self, images: Tensor) -> FeatureMap:
        self.seen += len(images)
        first = self.convolution(images).contiguous(memory_format=torch.channels_last)
        return FeatureMap((first, F.avg_pool2d(images, 8)), (8, 8), (SIDE, SIDE), "per_level")


def pictures(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def cache_below(folder: Path, network: FeatureExtractor, limit: int = 10**9) -> FeatureCache:
    return FeatureCache(
        CacheFolder(FEATURES, folder / "features", limit), network, {"method": "tiny", "options": {}}
    )


def extraction(network: FeatureExtractor, images: Tensor, progress: Progress | None = None) -> Extraction:
    progress = progress or Progress.silent()
    return Extraction(network, images, "test images", None, BATCH, torch.device("cpu"), progress)


def in_memory(count: int) -> FeatureMap:
    """What is expected of so many pictures."""
    return extraction(TwoLevels(), pictures(count)).in_memory()
