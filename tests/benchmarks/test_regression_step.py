"""One training step of the landmark regressor (forward, backward, Adam): from native levels, and as released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from bench.features import FeatureMap
from protocols.heads.landmark_loss import regression_loss
from protocols.heads.virtual_keypoints import VIRTUAL_KEYPOINTS, VirtualKeypointRegressor
from tests.benchmarks.pair import Claim, Ways, compare

Reading = Literal["network", "levels", "dense"]
"""What the straightforward step does for its dense map: run the network, join stored levels, or take the stored map."""

READINGS: dict[Reading, str] = {
    "network": "ResNet-50, hypercolumn, 1x1 convolution, soft-max, autograd",
    "levels": "hypercolumn of cached levels, 1x1 convolution, soft-max, autograd",
    "dense": "1x1 convolution of the cached dense map, soft-max, autograd",
}


class Layout(NamedTuple):
    levels: tuple[tuple[int, int], ...]
    side: int


LAYOUTS = {
    "3840-d at 48": Layout(((256, 24), (512, 12), (1024, 6), (2048, 3)), 48),
    "480-d at 24": Layout(((32, 24), (64, 12), (128, 6), (256, 3)), 24),
    "64-d at 48": Layout(((64, 48),), 48),
    "64-d at 24, resized to 48": Layout(((64, 24),), 48),
}


class Case(NamedTuple):
    layout: str
    landmarks: int
    reading: Reading
    ratio: float | None = None
    megabytes: float | None = None
    rounds: int = 5


CASES = [
    Case("3840-d at 48", 5, "network", 18, 200),
    Case("3840-d at 48", 5, "levels", 18),
    Case("3840-d at 48", 5, "dense"),
    Case("3840-d at 48", 68, "network", 9, 500, rounds=2),
    Case("480-d at 24", 5, "dense"),
    Case("64-d at 48", 5, "dense", 1.2),
    Case("64-d at 24, resized to 48", 5, "dense", 1.0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.layout}, {case.landmarks}, {case.reading}")
def test_a_training_step(benchmark: BenchmarkFixture, case: Case) -> None:
    batch = 32 if benchmark.enabled else 1
    claim = Claim(
        topic="Landmark regression",
        case=f"training step, {case.landmarks} landmarks, {case.layout}, {batch} images",
        twin=READINGS[case.reading],
        ratio=case.ratio,
        megabytes=case.megabytes,
        deviations={"prediction": 1e-5, "loss": 1e-5, "gradient, relative": 1e-4},
        gflop=gigaflops(LAYOUTS[case.layout], case.landmarks, batch),
    )
    assert (
        compare(
            benchmark,
            claim,
            steps,
            case.layout,
            case.landmarks,
            case.reading,
            batch,
            rounds=case.rounds,
            twin_memory=case.landmarks == 5,
        )
        == []
    )


def gigaflops(layout: Layout, landmarks: int, batch: int) -> float:
    """Of our step: the convolution and its weights' gradient, and the resizing with its adjoint."""
    convolution = sum(channels * n * n for channels, n in layout.levels)
    resized = [n for _, n in layout.levels if n != layout.side]
    resizing = layout.side * sum(n * n for n in resized) + layout.side**2 * sum(resized)
    return 4 * batch * landmarks * VIRTUAL_KEYPOINTS * (convolution + resizing) / 1e9


def steps(layout: str, landmarks: int, reading: Reading, batch: int) -> Ways:
    levels, side = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(batch, c, n, n, generator=generator).relu() for c, n in levels)
    features = FeatureMap(maps, (side, side), (96, 96))
    targets = torch.rand(batch, landmarks, 2, generator=generator) * 2 - 1
    visible = torch.ones(batch, landmarks, dtype=torch.bool)
    ours, twin = (Trained(features.channels, landmarks) for _ in range(2))
    read = _reader(reading, features, generator)

    def our_step() -> None:
        ours.regressor.loss_and_gradients(features, targets, visible)
        ours.optimiser.step()

    def straightforward_step() -> None:
        twin.optimiser.zero_grad()
        loss = regression_loss(released(twin.regressor, read()), targets, visible)
        torch.autograd.backward(loss)
        twin.optimiser.step()

    def forget() -> None:
        ours.forget()
        twin.forget()

    def deviations() -> dict[str, float]:
        return _deviations(features[:1], targets[:1], visible[:1])

    return Ways(our_step, straightforward_step, deviations, forget)


class Trained:
    """A regressor with its optimiser; the same one every time."""

    def __init__(self, channels: int, landmarks: int) -> None:
        self.regressor = VirtualKeypointRegressor(channels, landmarks, torch.Generator().manual_seed(1))
        # Small scores: of a saturated soft-max two ways differ by more than rounding (it is almost an arg-max).
        self.regressor.score_weight.data.mul_(1e-3)
        self.optimiser = torch.optim.Adam(self.regressor.parameters(), weight_decay=5e-4, amsgrad=True)

    def forget(self) -> None:
        """Gradients and Adam's moments, which count as what a step adds to the memory."""
        self.regressor.zero_grad()
        self.optimiser.state.clear()


def released(regressor: VirtualKeypointRegressor, dense: Tensor) -> Tensor:
    """Predictions of the module of DVE, ContrastLandmarks and LEAD, operation by operation."""
    side = dense.shape[-1]
    line = torch.linspace(-1, 1, side)
    x, y = line.expand(side, side).flatten(), line[:, None].expand(side, side).flatten()
    scores = F.conv2d(dense, regressor.score_weight[:, :, None, None])
    mass = torch.softmax(regressor.multiplier * scores.flatten(2), dim=2)
    points = torch.stack([(mass * x).sum(2), (mass * y).sum(2)], dim=2)
    linear = regressor.linear_weight.flatten(0, 1)[:, :, None, None]
    predicted = F.conv2d(points.reshape(len(dense), -1, 1, 1), linear, groups=regressor.landmarks)
    return predicted.reshape(len(dense), regressor.landmarks, 2)


def _joined(features: FeatureMap) -> Tensor:
    resized = [F.interpolate(lv, features.size, mode="bilinear") for lv in features.levels]
    return torch.cat(resized, dim=1)


def _reader(reading: Reading, features: FeatureMap, generator: torch.Generator) -> Callable[[], Tensor]:
    if reading == "levels":
        return lambda: _joined(features)
    if reading == "dense":
        stored: list[Tensor] = []  # made in the first call, so that our memory is measured without it

        def dense() -> Tensor:
            if not stored:
                stored.append(_joined(features))
            return stored[0]

        return dense
    images = torch.rand(len(features), 3, 96, 96, generator=generator)
    networks: list[nn.Module] = []

    def read() -> Tensor:
        if not networks:
            networks.append(resnet50().eval())
        with torch.no_grad():
            _stages(networks[0], images)
        # The network's own numbers would change nothing but the size of the scores.
        return _joined(features)

    return read


def _stages(network: nn.Module, images: Tensor) -> list[Tensor]:
    found = []
    for name, layer in network.named_children():
        if name in ("avgpool", "fc"):
            break
        images = layer(images)
        if name.startswith("layer"):
            found.append(images)
    return found


def _deviations(features: FeatureMap, targets: Tensor, visible: Tensor) -> dict[str, float]:
    ours, twin = (Trained(features.channels, targets.shape[1]).regressor for _ in range(2))
    our_loss = ours.loss_and_gradients(features, targets, visible)
    theirs = released(twin, _joined(features))
    loss = regression_loss(theirs, targets, visible)
    torch.autograd.backward(loss)
    with torch.no_grad():
        prediction = (ours(features) - theirs).abs().max()
    gradient = max(
        float((one.grad - other.grad).norm() / other.grad.norm())
        for one, other in zip(ours.parameters(), twin.parameters(), strict=True)
        if one.grad is not None and other.grad is not None
    )
    return {
        "prediction": float(prediction),
        "loss": abs(float(our_loss - loss.detach())),
        "gradient, relative": gradient,
    }
