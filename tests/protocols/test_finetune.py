from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.protocol import Measurement
from bench.seeds import seeded_initialisation, torch_generator
from protocols.finetune import Finetune, FinetuneOptions
from protocols.heads.landmark_loss import regression_loss
from protocols.heads.virtual_keypoints import (
    VirtualKeypointRegressor,
    to_normalised,
    to_pixels,
)
from protocols.regression import Regression
from protocols.support import draw_seed, support_order
from tests.killing import KilledError, Killer
from tests.protocols.regression_world import Colours, evaluation_data, mean_shape_error

OPTIONS = FinetuneOptions(
    epochs=6, cosine_t_max=6, learning_rate=0.01, network_learning_rate=0.01, batch_size=16, map_stride=4
)


class Small(FeatureExtractor):
    """Two convolutions with batch norm, two levels; the statistics are those of nothing."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        with seeded_initialisation(0, "small"):
            self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
            self.second = nn.Conv2d(6, 8, 3, 2, 1)
            self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        fine = self.first(images)
        return FeatureMap((fine, self.second(fine)), (height // 2, width // 2), (height, width))


def measure(
    data: EvaluationData,
    options: FinetuneOptions = OPTIONS,
    *,
    extractor: FeatureExtractor | None = None,
    run: RunContext | None = None,
) -> Measurement:
    protocol = Finetune()
    protocol.check(options, data)
    return protocol.measure(extractor or Small(), data, options, run or RunContext())


def with_options(**changes: object) -> FinetuneOptions:
    return OPTIONS.model_copy(update=changes)


@pytest.mark.parametrize("feature_scale", ["as_is", "unit"])
def test_with_a_network_that_stays_it_is_the_regression_protocol(feature_scale: str) -> None:
    data = evaluation_data()
    options = with_options(network_learning_rate=0.0, feature_scale=feature_scale)
    frozen = Regression().measure(Small(), data, options, RunContext())
    ours = measure(data, options)
    np.testing.assert_allclose(ours.per_sample["losses"], frozen.per_sample["losses"], rtol=1e-5)
    np.testing.assert_allclose(ours.per_sample["predictions"], frozen.per_sample["predictions"], atol=1e-2)
    assert ours.values[0].metric == "nme_interocular"
    assert ours.values[0].value == pytest.approx(frozen.values[0].value, rel=1e-3)


def test_some_images_are_those_of_the_first_draw_of_few_shot() -> None:
    data = evaluation_data()
    whole = data.training()
    run = RunContext(seed=3)
    first = support_order(whole, draw_seed(run.seed, 0))[:10]
    some = measure(data, with_options(images=10), run=run)
    alone = measure(replace(data, train=whole.take(first)), run=run)
    np.testing.assert_array_equal(some.per_sample["predictions"], alone.per_sample["predictions"])
    assert some.notes[0] == f"learned from 10 of {len(whole)} images"
    other = measure(data, with_options(images=10), run=RunContext(seed=4))
    assert not np.array_equal(other.per_sample["predictions"], some.per_sample["predictions"])


def test_more_images_than_there_are_is_all_of_them() -> None:
    data = evaluation_data()
    every, asked = measure(data), measure(data, with_options(images=10_000))
    np.testing.assert_array_equal(asked.per_sample["predictions"], every.per_sample["predictions"])
    assert asked.notes == every.notes


class Blind(Small):
    """Begins with features that show where in the frame they are, and nothing of the image."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.first[0].weight)  # type: ignore[arg-type]


def test_a_network_that_learns_lowers_the_loss_below_that_of_the_frozen_one() -> None:
    data = evaluation_data(32, 16)
    options = with_options(epochs=20, cosine_t_max=20)
    frozen = measure(data, options.model_copy(update={"network_learning_rate": 0.0}), extractor=Blind())
    tuned = measure(data, options, extractor=Blind())
    assert frozen.values[0].value > 0.9 * mean_shape_error(data.training(), data.test)
    assert tuned.per_sample["losses"][-1] < frozen.per_sample["losses"][-1] / 4
    assert tuned.values[0].value < 0.7 * frozen.values[0].value


def test_the_network_that_was_given_is_not_touched() -> None:
    network = Small().requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    measure(evaluation_data(20, 5), extractor=network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(parameter.requires_grad for parameter in network.parameters())


class Watched(Small):
    """Shares its record of what was seen with its copies."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Sightings()

    def forward(self, images: Tensor) -> FeatureMap:
        norm = self.first[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        self.seen.states.append((self.training, norm.running_mean.clone(), norm.weight.detach().clone()))
        return super().forward(images)


class Sightings:
    def __init__(self) -> None:
        self.states: list[tuple[bool, Tensor, Tensor]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Sightings:
        return self


def test_batch_norm_keeps_its_statistics_and_learns_its_scales() -> None:
    network = Watched()
    measure(evaluation_data(20, 5), extractor=network)
    states = network.seen.states
    assert not any(training for training, _, _ in states)
    assert all(torch.equal(mean, torch.zeros(6)) for _, mean, _ in states)
    assert not torch.equal(states[-1][2], torch.ones(6))


@pytest.mark.parametrize("elements", [2**24, 1])
def test_gradients_of_the_features_are_those_of_plain_autograd(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each landmark is taken by itself."""
    monkeypatch.setattr("protocols.heads.virtual_keypoints._ELEMENTS_AT_ONCE", elements)
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(4, c, n, n, generator=generator).double() for c, n in ((3, 8), (5, 4), (2, 4))]
    regressor = VirtualKeypointRegressor(10, 3, generator, virtual=5, multiplier=2.0).double()
    targets = torch.rand(4, 3, 2, generator=generator).double() * 2 - 1
    visible = torch.rand(4, 3, generator=generator) > 0.3

    leaves = tuple(level.clone().requires_grad_(i < 2) for i, level in enumerate(levels))
    loss = regressor.loss_and_gradients(FeatureMap(leaves, (8, 8), (32, 32)), targets, visible)
    of_weights = [parameter.grad for parameter in regressor.parameters()]

    plain = tuple(level.clone().requires_grad_() for level in levels)
    expected = regression_loss(regressor(FeatureMap(plain, (8, 8), (32, 32))), targets, visible)
    gradients = torch.autograd.grad(expected, [*plain[:2], *regressor.parameters()])
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip([leaves[0].grad, leaves[1].grad, *of_weights], gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert leaves[2].grad is None


def test_one_step_by_hand() -> None:
    """One batch of all images: Adam's first step on the gradients of a plain backward pass."""
    data = evaluation_data(8, 3)
    options = with_options(
        epochs=1, map_stride=2, batch_size=8, weight_decay=0.01, network_learning_rate=0.003
    )
    result = measure(data, options)

    train, test = data.training().cropped(), data.test.cropped()
    network = Small().eval()
    regressor = VirtualKeypointRegressor(14, 3, torch_generator(0, "regressor"))
    rate = options.settings().rate(0)
    optimiser = torch.optim.Adam(
        [
            {"params": regressor.parameters(), "lr": rate},
            {"params": network.parameters(), "lr": 0.3 * rate},
        ],
        betas=(0.5, 0.999),
        weight_decay=0.01,
    )
    features = network(train.images.float() / 255).defined_at((16, 16))
    loss = regression_loss(regressor(features), to_normalised(train.points, (32, 32)), train.visible)
    torch.autograd.backward(loss)
    optimiser.step()
    with torch.no_grad():
        predicted = to_pixels(regressor(network(test.images.float() / 255).defined_at((16, 16))), (32, 32))
    assert result.per_sample["losses"][0] == pytest.approx(float(loss.detach()), rel=1e-5)
    np.testing.assert_allclose(result.per_sample["predictions"], predicted, atol=0.01)


@pytest.mark.parametrize("after", [1, 9])
def test_resumed_equals_undisturbed(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.finetune._SAVE_SECONDS", 0.0)
    data = evaluation_data(40, 10)
    expected = measure(data)
    with pytest.raises(KilledError):
        measure(data, run=RunContext(partial=tmp_path, progress=Killer("fitting finetune", after)))
    (state,) = tmp_path.iterdir()
    assert state.name.endswith(".training.safetensors")
    network = Watched()
    resumed = measure(data, extractor=network, run=RunContext(partial=tmp_path))
    # One look at the channels, 6 epochs of 2 batches less what was done, one batch to test.
    assert len(network.seen.states) == 1 + (12 - after) + 1
    for name in ("predictions", "losses"):
        np.testing.assert_array_equal(resumed.per_sample[name], expected.per_sample[name])
    # What is finished is read back.
    again = measure(data, extractor=network, run=RunContext(partial=tmp_path))
    np.testing.assert_array_equal(again.per_sample["predictions"], expected.per_sample["predictions"])
    assert len(network.seen.states) == 1 + (12 - after) + 1


def test_the_batch_size_of_the_predictions_does_not_matter() -> None:
    data = evaluation_data(20, 25)
    one, other = (measure(data, run=RunContext(batch_size=size)) for size in (64, 7))
    np.testing.assert_allclose(one.per_sample["predictions"], other.per_sample["predictions"], atol=1e-3)


def test_hidden_landmarks_neither_teach_nor_count() -> None:
    data = evaluation_data(20, 10)
    train, test = data.training(), data.test
    hidden = torch.zeros_like(train.visible)
    hidden[:5, 2] = True
    elsewhere = torch.where(hidden.unsqueeze(-1), torch.nan, train.points)
    seen = torch.ones_like(test.visible)
    seen[0] = False
    test = replace(test, visible=seen)
    first, second = (
        measure(EvaluationData(replace(train, visible=~hidden, points=points), test))
        for points in (train.points, elsewhere)
    )
    np.testing.assert_array_equal(first.per_sample["predictions"], second.per_sample["predictions"])
    assert first.values[0].count == 9
    stored = first.per_sample
    distances = np.linalg.norm(stored["predictions"].astype(float) - stored["targets"], axis=2)
    eyes = np.linalg.norm(stored["targets"][:, 0].astype(float) - stored["targets"][:, 1], axis=1)
    assert first.values[0].value == pytest.approx(100 * (distances / eyes[:, None])[1:].mean(), rel=1e-5)


class HalfFrozen(Small):
    """One level without gradients beside one with."""

    def forward(self, images: Tensor) -> FeatureMap:
        found = super().forward(images)
        return replace(found, levels=(found.levels[0].detach(), found.levels[1]))


class Frozen(Small):
    def forward(self, images: Tensor) -> FeatureMap:
        with torch.no_grad():
            return super().forward(images)


def test_levels_that_cannot_learn_stay() -> None:
    data = evaluation_data(16, 5)
    assert np.isfinite(measure(data, extractor=HalfFrozen()).per_sample["losses"]).all()


@pytest.mark.parametrize("extractor", [Colours(), Frozen()])
def test_a_method_without_anything_to_learn_is_refused(extractor: FeatureExtractor) -> None:
    with pytest.raises(BenchError, match="has nothing to fine-tune"):
        measure(evaluation_data(16, 5), extractor=extractor)


def test_a_rate_that_is_too_high_is_an_error() -> None:
    with pytest.raises(BenchError, match=r"finetune: the loss is nan after \d+ of"):
        measure(evaluation_data(16, 5), with_options(network_learning_rate=1e30))


def test_presets_are_options() -> None:
    assert FinetuneOptions(**Finetune.presets["paper"]) == FinetuneOptions()
    assert FinetuneOptions().network_learning_rate == FinetuneOptions().learning_rate == 0.001
    # As many steps whatever the split: under two minutes on two cores for the slowest network that ships.
    quick = FinetuneOptions(**Finetune.presets["quick"])
    assert (quick.images, quick.batch_size, quick.epochs, quick.cosine_t_max) == (300, 16, 6, 6)
