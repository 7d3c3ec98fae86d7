"""Frozen features: extracted as they are, against the plain network; and read back from disk, against extraction.

Extraction is what the network's products take: the share of the matrix product's rate says how near that is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from bench.cache_folder import FEATURES, CacheFolder
from bench.extraction import Extraction
from bench.feature_cache import FeatureCache
from bench.features import FeatureExtractor, FeatureMap
from bench.opening import load_method
from bench.progress import Progress
from methods.colour import FACE_MEAN, FACE_STD
from protocols.costs.operators import count_operators
from tests.benchmarks.pair import Claim, Ways, compare

_TOPIC = "Features"


class Case(NamedTuple):
    """Which network, how many images at once, and the operations that an image of 96 pixels takes."""

    name: str
    method: str
    options: dict[str, Any]
    batch: int
    gflop: float


CASES = (
    Case("ResNet-50", "contrast", {"backbone": "resnet50", "features": "hypercolumn"}, 32, 1.501),
    Case("Hourglass", "dve", {"network": "hourglass"}, 8, 14.486),
)


def network(case: Case) -> FeatureExtractor:
    """With initial weights, but batch norms that do something, as after a training."""
    method = load_method(case.method)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = method.build(method.Options(**case.options))
        for module in built.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features) / 10
                module.running_var = torch.rand(module.num_features) + 0.5
    return built.eval()


def pictures(count: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def plain(case: Case) -> nn.Module:
    """The bare network as it is built, without the layout that ours gives its weights."""
    whole = network(case)
    body = whole.get_submodule("encoder" if case.method == "contrast" else "backbone")
    return body.to(memory_format=torch.contiguous_format)


def relative(ours: FeatureMap, levels: tuple[Tensor, ...]) -> float:
    pairs = zip(ours.levels, levels, strict=True)
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def extraction_pair(case: Case, batch: int, side: int) -> Ways:
    extractor, bare, images = network(case), plain(case), pictures(batch, side)
    mean, std = (torch.tensor(values)[:, None, None] for values in (FACE_MEAN, FACE_STD))

    def twin() -> tuple[Tensor, ...]:
        with torch.no_grad():
            found = bare((images.float() / 255 - mean) / std)
        return tuple(reversed(found)) if isinstance(found, tuple) else (found,)

    return Ways(
        ours=lambda: extractor.extract(images),
        twin=twin,
        deviations=lambda: {"features, relative": relative(extractor.extract(images), twin())},
    )


def cache_pair(case: Case, count: int, side: int) -> Ways:
    """A hit, with all of its numbers read, and the same from the network."""
    extractor, images = network(case), pictures(count, side)
    folder = tempfile.TemporaryDirectory()
    cache = FeatureCache(CacheFolder(FEATURES, Path(folder.name), 10**10), extractor, {"method": case.method})
    wanted = Extraction(
        extractor, images, "pictures", None, case.batch, torch.device("cpu"), Progress.silent()
    )
    cache.open(wanted)

    def ours() -> float:
        assert Path(folder.name).is_dir()  # and it stays there as long as this function does
        return sum(
            float(level.sum()) for part in cache.open(wanted).split(case.batch) for level in part.levels
        )

    return Ways(
        ours=ours,
        twin=wanted.in_memory,
        deviations=lambda: {
            "features, relative": relative(cache.open(wanted), wanted.in_memory().levels),
        },
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operations_are_those_that_shares_are_taken_of(case: Case) -> None:
    counted = count_operators(network(case), torch.zeros(1, 3, 96, 96)).total
    assert counted / 1e9 == pytest.approx(case.gflop, abs=5e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_extraction(case: Case, benchmark: BenchmarkFixture) -> None:
    batch, side = (case.batch, 96) if benchmark.enabled else (2, 64)
    claim = Claim(
        topic=_TOPIC,
        case=f"{case.name}, batches of {batch} images of {side} pixels",
        twin="the plain network, without gradients",
        deviations={"features, relative": 1e-5},
        gflop=case.gflop * batch,
        per=batch,
    )
    assert compare(benchmark, claim, extraction_pair, case, batch, side) == []


def test_kept_features(benchmark: BenchmarkFixture) -> None:
    case = CASES[0]
    count, side = (512, 96) if benchmark.enabled else (3, 64)
    claim = Claim(
        topic=_TOPIC,
        case=f"{case.name}, features of {count} images of {side} pixels read from disk",
        twin="extracted anew",
        ratio=20,
        deviations={"features, relative": 0},
        per=count,
    )
    assert compare(benchmark, claim, cache_pair, case, count, side, rounds=3, twin_memory=False) == []
