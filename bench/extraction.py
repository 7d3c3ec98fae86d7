"""Frozen features of many images, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.features import FeatureExtractor, FeatureMap
from bench.progress import Progress


@dataclass(frozen=True, eq=False)
class Extraction:
    """Which images are read by which network, and how much of that is wanted.

    Shapes:
        images: (N, 3, S, S), uint8.

    Attributes:
        what: The images, in the words of a progress bar.
        size: Of the dense map that is wanted; finer levels are condensed to it. None: the levels as they are.
    """

    extractor: FeatureExtractor
    images: Tensor
    what: str
    size: tuple[int, int] | None
    batch_size: int
    device: torch.device
    progress: Progress

    def of(self, images: Tensor) -> FeatureMap:
        """The features of one batch, on the device."""
        found = self.extractor.extract(images.to(self.device))
        return found if self.size is None else found.defined_at(self.size).condensed()

    def batches(self) -> Iterator[FeatureMap]:
        """Those of all images, in order."""
        batches = self.images.split(self.batch_size)
        for batch in self.progress.track(batches, f"features of {self.what}", len(batches)):
            yield self.of(batch)

    def in_memory(self) -> FeatureMap:
        """Those of all images, on the device."""
        return FeatureMap.cat(list(self.batches()))
