"""The protocol on squares: what is perfect, what is nothing, and what the numbers do not depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import FIGURE_GROUND, UNLABELLED
from bench.loading import LoadedSplit
from bench.protocol import Measurement
from bench.seeds import seeded_initialisation
from protocols.scores.masks import PerImage, miou
from protocols.segmentation import Segmentation, SegmentationOptions
from tests.protocols.parts_world import SIDE, Constant, Oracle, parts_data

OPTIONS = SegmentationOptions(counts=(2, 5), draws=2, steps=60, batch_size=4, learning_rate=0.5, map_stride=1)


def measure(
    extractor: FeatureExtractor | None = None,
    options: SegmentationOptions = OPTIONS,
    data: EvaluationData | None = None,
    run: RunContext | None = None,
) -> Measurement:
    data = data or parts_data()
    Segmentation().check(options, data)
    return Segmentation().measure(extractor or Oracle(), data, options, run or RunContext())


def values(result: Measurement, metric: str) -> list[float]:
    return [value.value for value in result.values if value.metric == metric]


def figure_ground(split: LoadedSplit) -> LoadedSplit:
    assert split.masks is not None
    known = split.masks != UNLABELLED
    return replace(split, masks=torch.where(known, split.masks.clamp(max=1), 255), classes=FIGURE_GROUND)


def changed(**changes: object) -> SegmentationOptions:
    return SegmentationOptions.model_validate({**OPTIONS.model_dump(), **changes})


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return measure()


def test_features_that_tell_the_classes_are_perfect(measured: Measurement) -> None:
    assert values(measured, "miou") == [1.0, 1.0]
    assert values(measured, "pixel_accuracy") == [100.0, 100.0]
    assert [v.condition for v in measured.values[::2]] == [{"annotations": 2}, {"annotations": 5}]
    assert measured.values[0].std == 0
    assert measured.values[0].count == 12


def test_constant_features_predict_the_most_frequent_class() -> None:
    """The background: of 24 x 24 pixels, all but three squares of 36."""
    result = measure(Constant())
    assert values(result, "miou") == [0.0, 0.0]
    assert values(result, "pixel_accuracy") == pytest.approx([100 * (1 - 108 / 576)] * 2)


def test_foreground_and_background() -> None:
    data = parts_data()
    result = measure(data=EvaluationData(figure_ground(data.training()), figure_ground(data.test)))
    assert values(result, "miou") == [1.0, 1.0]
    assert result.per_sample["union_5"].shape == (2, 12, 2)


def test_values_are_those_of_the_stored_counts() -> None:
    result = measure(options=changed(steps=1))  # one step: not yet perfect
    stored = result.per_sample
    for count, value in zip((2, 5), values(result, "miou"), strict=True):
        ratios = stored[f"intersection_{count}"][..., 1:] / np.maximum(stored[f"union_{count}"][..., 1:], 1)
        occurs = stored[f"union_{count}"][..., 1:] > 0
        by_image = ratios.sum(-1) / occurs.sum(-1)
        assert value == pytest.approx(by_image.mean())
    for count, value in zip((2, 5), values(result, "pixel_accuracy"), strict=True):
        assert value == pytest.approx(100 * stored[f"correct_{count}"].sum() / (2 * stored["labelled"].sum()))
    one = {name: stored[f"{name}_5"][0] for name in ("intersection", "union")}
    assert isinstance(miou(one), PerImage)


def test_support_sets_are_nested_and_stored(measured: Measurement) -> None:
    two, five = measured.per_sample["support_ids_2"], measured.per_sample["support_ids_5"]
    np.testing.assert_array_equal(five[:, :2], two)
    assert all(len(set(draw)) == 5 for draw in five)
    assert list(five[0]) != list(five[1])


def test_neither_batch_size_nor_other_counts_matter(measured: Measurement) -> None:
    other = measure(run=RunContext(batch_size=3))
    alone = measure(options=changed(counts=(5,), draws=1))
    np.testing.assert_allclose(other.per_sample["losses_5"], measured.per_sample["losses_5"], rtol=1e-4)
    np.testing.assert_array_equal(other.per_sample["union_5"], measured.per_sample["union_5"])
    np.testing.assert_array_equal(alone.per_sample["losses_5"][0], measured.per_sample["losses_5"][0])


def test_what_is_finished_is_not_computed_again(measured: Measurement, tmp_path: Path) -> None:
    measure(options=changed(counts=(2,)), run=RunContext(partial=tmp_path))
    extractor = Oracle()
    result = measure(extractor, run=RunContext(partial=tmp_path))
    assert extractor.images_seen == 2 * 5 + 12
    assert result.values == measured.values


def test_images_without_masks_support_and_measure_nothing() -> None:
    data = parts_data(train=8)
    masks = [split.masks.clone() for split in (data.training(), data.test) if split.masks is not None]
    masks[0][::2] = UNLABELLED
    masks[1][:3] = UNLABELLED
    some = EvaluationData(replace(data.training(), masks=masks[0]), replace(data.test, masks=masks[1]))
    result = measure(options=changed(counts=(2, 4, 5)), data=some)
    assert set(result.per_sample["support_ids_4"].ravel()) == {"train1", "train3", "train5", "train7"}
    assert result.values[0].count == 9
    assert result.notes == ("annotations = 5 skipped: squares/train has 4 images with masks",)
    with pytest.raises(BenchError, match="smallest support set has 5 images, and squares/train has 4"):
        Segmentation().check(changed(counts=(5,)), some)


def test_splits_that_cannot_work_are_refused() -> None:
    data = parts_data()
    with pytest.raises(BenchError, match="squares/test has no masks") as caught:
        Segmentation().check(OPTIONS, EvaluationData(data.train, replace(data.test, masks=None)))
    assert "helen" in str(caught.value)
    with pytest.raises(BenchError, match="squares/test background, foreground"):
        Segmentation().check(OPTIONS, EvaluationData(data.train, figure_ground(data.test)))


class Learner(FeatureExtractor):
    """One convolution, which at first sees no colour but the grey of an image."""

    def __init__(self) -> None:
        super().__init__()
        with seeded_initialisation(0, "learner"):
            self.layer = nn.Conv2d(3, 6, 1)
        with torch.no_grad():
            self.layer.weight.copy_(self.layer.weight.mean(1, keepdim=True).expand(-1, 3, -1, -1))

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((torch.tanh(self.layer(images)),), (height, width), (height, width))


def test_fine_tuning_learns_what_frozen_features_lack() -> None:
    network = Learner()
    before = network.layer.weight.clone()
    options = changed(counts=(5,), draws=1, steps=150)
    frozen = values(measure(network, options), "miou")[0]
    tuned = changed(**{**options.model_dump(), "finetune": True, "network_learning_rate": 0.1})
    assert values(measure(network, tuned), "miou")[0] > frozen + 0.3
    assert torch.equal(network.layer.weight, before)


def test_a_network_that_is_not_moved_is_a_frozen_one() -> None:
    network = Learner()
    options = changed(counts=(5,), draws=1, steps=20)
    frozen = measure(network, options)
    still = changed(**{**options.model_dump(), "finetune": True, "network_learning_rate": 1e-12})
    result = measure(network, still)
    np.testing.assert_allclose(result.per_sample["losses_5"], frozen.per_sample["losses_5"], rtol=1e-4)


def test_the_picture_shows_images_annotation_and_each_count(measured: Measurement) -> None:
    picture = measured.pictures["segments"]
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 4 * SIDE
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("counts", [[], [0, 1], [5, 1], [5, 5]])
def test_counts_must_increase(counts: list[int]) -> None:
    with pytest.raises(ValidationError, match="positive and increasing"):
        SegmentationOptions(counts=tuple(counts))


def test_presets_are_options() -> None:
    assert SegmentationOptions(**Segmentation.presets["paper"]) == SegmentationOptions()
    assert SegmentationOptions().counts == (10, 50, 100, 250, 1241)
    assert SegmentationOptions(**Segmentation.presets["parsing"]).counts == (20, 50, 2000)
    assert SegmentationOptions(**Segmentation.presets["quick"]).steps == 200
