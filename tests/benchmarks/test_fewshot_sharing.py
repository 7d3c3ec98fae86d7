"""All counts and draws of the few-shot protocol, against one training of the largest count as released.

The copies of a draw are read once for all counts. The heads take one step after another: no two of them see the same
batch, so that 18 trainings are 18 times the arithmetic of one. What makes them cheap is the step itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torchvision.models import resnet50

from bench.context import RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from protocols.fewshot import FewShotOptions
from protocols.support_copies import SupportFeatures, warped_copies
from tests.benchmarks.pair import Claim, Ways, compare
from tests.benchmarks.test_regression_step import steps


class Sizes(NamedTuple):
    counts: tuple[int, ...]
    copies: int
    side: int


TENTH = Sizes((1, 5, 10, 20, 50, 100), 100, 96)
SMALL = Sizes((1, 2, 4), 8, 32)
_TOPIC = "Few-shot regression"
_COPIES_OF_A_STEP = 3 * 3900 / (50 * 31)
"""Read by all counts and draws for each of the 50 x 31 steps that a training takes on 1000 copies."""


class Hypercolumns(FeatureExtractor):
    """An untrained ResNet-50 and all its stages."""

    stride = 32

    def __init__(self) -> None:
        super().__init__()
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)
        self.network = resnet50()
        torch.set_rng_state(generator_state)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        levels = []
        for name, layer in self.network.named_children():
            if name in ("avgpool", "fc"):
                break
            images = layer(images)
            if name.startswith("layer"):
                levels.append(images)
        return FeatureMap(tuple(levels), (height // 2, width // 2), (height, width))


def test_reading_the_sets_of_a_draw(benchmark: BenchmarkFixture) -> None:
    sizes = TENTH if benchmark.enabled else SMALL
    most = len(sizes.counts) * sizes.copies
    claim = Claim(
        topic=_TOPIC,
        case=f"warping and reading {sizes.copies} copies for each of {len(sizes.counts)} counts of a draw",
        twin=f"every count by itself, {most} images",
        ratio=1.4,
        deviations={"features, relative": 1e-4, "points": 0},
    )
    assert compare(benchmark, claim, readings, sizes, rounds=1, twin_memory=False) == []


def readings(sizes: Sizes) -> Ways:
    run, extractor = RunContext(batch_size=64), Hypercolumns()
    options = FewShotOptions(counts=sizes.counts, copies=sizes.copies)
    drawn = _annotated(sizes.counts[-1], sizes.side)
    dense = (sizes.side // 2, sizes.side // 2)

    def shared(counts: tuple[int, ...]) -> SupportFeatures:
        return SupportFeatures(extractor, drawn, counts, options, run, seed=1, size=dense, what="copies")

    def ours() -> None:
        features = shared(sizes.counts)
        for count in sizes.counts:
            features.of(count)

    def one(count: int, copies: int) -> tuple[LoadedSplit, FeatureMap]:
        fewer = options.model_copy(update={"copies": copies})
        split = warped_copies(drawn.take(list(range(count))), 1, fewer, run)
        return split, run.features(extractor, split.images, "copies", dense)

    def twin() -> None:
        for count in sizes.counts:
            one(count, sizes.copies)

    def deviations() -> dict[str, float]:
        few = sizes.counts[1]
        small = options.model_copy(update={"copies": 2 * few})
        some = SupportFeatures(
            extractor, drawn, sizes.counts[:2], small, run, seed=1, size=dense, what="copies"
        )
        some.of(sizes.counts[0])
        split, features = some.of(few)
        expected_split, expected = one(few, 2 * few)
        return {
            "features, relative": max(
                float((a - b).norm() / b.norm())
                for a, b in zip(features.levels, expected.levels, strict=True)
            ),
            "points": float((split.points - expected_split.points).abs().max()),
        }

    return Ways(ours, twin, deviations)


def test_all_counts_and_draws(benchmark: BenchmarkFixture) -> None:
    batch, trainings = (32, 6 * 3) if benchmark.enabled else (1, 1)
    claim = Claim(
        topic=_TOPIC,
        case=f"six counts and three draws, 3840-d at 48, 5 landmarks: {trainings} steps of {batch} images, and their "
        f"{math.ceil(_COPIES_OF_A_STEP)} new copies read",
        twin="one step of one training, ResNet-50, hypercolumn, 1x1 convolution, soft-max, autograd",
        ratio=1 / 3,
        deviations={"prediction": 1e-5},
    )
    assert compare(benchmark, claim, whole_protocol, batch, trainings, rounds=3, twin_memory=False) == []


def whole_protocol(batch: int, trainings: int) -> Ways:
    step, extractor = steps("3840-d at 48", 5, "network", batch), Hypercolumns()
    copies = torch.zeros(math.ceil(_COPIES_OF_A_STEP), 3, TENTH.side, TENTH.side, dtype=torch.uint8)

    def ours() -> None:
        extractor.extract(copies)
        for _ in range(trainings):
            step.ours()

    return Ways(ours, step.twin, step.deviations, step.forget)


def _annotated(count: int, side: int) -> LoadedSplit:
    generator = torch.Generator().manual_seed(0)
    margin = side // 4
    full = side + 2 * margin
    return LoadedSplit(
        name="noise",
        fingerprint="",
        ids=tuple(map(str, range(count))),
        identities=(None,) * count,
        images=torch.randint(0, 256, (count, 3, full, full), generator=generator, dtype=torch.uint8),
        points=margin + side * torch.rand(count, 5, 2, generator=generator),
        visible=torch.ones(count, 5, dtype=torch.bool),
        schema=LandmarkSchema(tuple("abcde")),
        margin=margin,
    )
