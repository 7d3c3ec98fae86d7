"""A network of one convolution whose features are kept on disk: for tests of that, and their processes."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from rich.console import Console
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


def open_features(cache: FeatureCache, images: Tensor) -> tuple[FeatureMap, str]:
    """The features, and what was said."""
    said = io.StringIO()
    progress = Progress(Console(file=said, width=1000))
    return cache.open(extraction(cache.extractor, images, progress)), said.getvalue()


def entries(cache: FeatureCache) -> list[Path]:
    return sorted(folder for folder in cache.folder.folder.iterdir() if folder.is_dir())


def assert_same(one: FeatureMap, other: FeatureMap) -> None:
    """Bit for bit, and lying alike in memory: what is computed from either is the same."""
    assert (one.size, one.image_size, one.normalisation) == (
        other.size,
        other.image_size,
        other.normalisation,
    )
    for a, b in zip(one.levels, other.levels, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
        assert a.stride() == b.stride()


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(content)
