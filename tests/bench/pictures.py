"""A data set of noise images, without a disk: for tests of how splits are loaded and kept."""

from __future__ import annotations

import torch

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample, no_landmarks
from bench.seeds import torch_generator

WIDTH, HEIGHT = 60, 40


class Pictures(LandmarkDataset):
    """Noise images of 60 x 40 with three known points; one image may be broken, another unlabelled.

    Attributes:
        reads: Indices of the samples that were read, in order.
    """

    def __init__(
        self, count: int, broken: int | None = None, unlabelled: int | None = None, seed: int = 0
    ) -> None:
        self.name, self.split = "pictures", "train"
        self.info = DatasetInfo("pictures", "own", "none", "none")
        self.schema = LandmarkSchema(("a", "b", "c"))
        self.count, self.broken, self.unlabelled, self.seed = count, broken, unlabelled, seed
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        if index == self.broken:
            raise BenchError(f"image {index:03d}.jpg is damaged", hint="Copy it again.")
        generator = torch_generator(self.seed, "picture", index)
        image = torch.randint(0, 256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
        points = torch.tensor([[0.0, 0.0], [WIDTH, HEIGHT], [15.5, 30.5 + index]])
        visible = torch.tensor([True, True, index % 2 == 0])
        if index == self.unlabelled:
            points, visible = no_landmarks()
        return Sample(f"{index:03d}.jpg", image, points, visible, identity=f"person {index // 2}")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{i:03d}.jpg" for i in range(self.count))

    @property
    def fingerprint(self) -> str:
        return f"{self.count:x}-{self.unlabelled}-{self.seed}"
