from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import Capability, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricValue
from protocols.annotations import check_annotations
from protocols.heads.regressor import RegressorOptions
from protocols.regression import Regression
from protocols.scores.landmarks import detailed_scores
from tests.protocols.regression_world import (
    SCHEMA,
    SIDE,
    Blind,
    Colours,
    PositionsOnly,
    evaluation_data,
    mean_shape_error,
    world,
)

OPTIONS = RegressorOptions(epochs=60, cosine_t_max=60, learning_rate=0.01, batch_size=20)


def measure(
    data: EvaluationData, options: RegressorOptions = OPTIONS, run: RunContext | None = None
) -> Measurement:
    protocol = Regression()
    protocol.check(options, data)
    return protocol.measure(Colours(), data, options, run or RunContext())


def nme(result: Measurement) -> MetricValue:
    (value,) = (value for value in result.values if value.metric == "nme_interocular")
    return value


@pytest.fixture(scope="module")
def measured() -> tuple[EvaluationData, Measurement]:
    data = evaluation_data()
    return data, measure(data)


def test_features_that_show_the_landmarks_give_a_small_error(
    measured: tuple[EvaluationData, Measurement],
) -> None:
    data, result = measured
    value = nme(result)
    constant = mean_shape_error(data.training(), data.test)
    assert value.value < constant / 2.5
    assert value.low is not None
    assert value.high is not None
    assert value.low < value.value < value.high
    assert value.condition == {}
    assert value.count == 25
    assert value.std is None
    assert result.notes == ()


class Louder(Colours):
    """The same features, a power of two times as long."""

    def forward(self, images: torch.Tensor) -> FeatureMap:
        return super().forward(images).scaled(1024.0)


def test_the_scale_of_features_counts_only_where_it_is_kept() -> None:
    data = evaluation_data()
    for scale, equal in (("unit", True), ("as_is", False)):
        options = OPTIONS.model_copy(update={"epochs": 3, "feature_scale": scale})
        quiet, loud = (
            Regression().measure(method(), data, options, RunContext()).per_sample["predictions"]
            for method in (Colours, Louder)
        )
        assert np.allclose(quiet, loud, atol=1e-3) == equal


def test_features_without_the_image_give_about_the_error_of_the_mean_shape() -> None:
    data = evaluation_data()
    result = Regression().measure(PositionsOnly(), data, OPTIONS, RunContext())
    constant = mean_shape_error(data.training(), data.test)
    assert nme(result).value == pytest.approx(constant, rel=0.05)
    assert np.ptp(result.per_sample["predictions"], axis=0).max() < 1e-4


def test_features_that_say_nothing_give_the_centre_of_the_image() -> None:
    """The regressor has no bias: from uniform maps, whose soft-argmax is the centre, it can only say so."""
    data = evaluation_data()
    result = Regression().measure(Blind(), data, OPTIONS.model_copy(update={"epochs": 2}), RunContext())
    np.testing.assert_allclose(result.per_sample["predictions"], SIDE / 2, atol=1e-4)


def test_the_value_is_that_of_the_stored_arrays(measured: tuple[EvaluationData, Measurement]) -> None:
    data, result = measured
    stored = result.per_sample
    # Targets and predictions are pixels of the cropped image.
    cropped = data.test.cropped()
    np.testing.assert_array_equal(stored["targets"], cropped.points.numpy())
    assert stored["ids"].tolist() == list(data.test.ids)
    distances = np.linalg.norm(stored["predictions"].astype(float) - stored["targets"], axis=2)
    eyes = np.linalg.norm(stored["targets"][:, 0].astype(float) - stored["targets"][:, 1], axis=1)
    errors = 100 * distances / eyes[:, None]
    np.testing.assert_allclose(stored["errors"], errors, rtol=1e-6)
    assert nme(result).value == pytest.approx(errors.mean(), rel=1e-6)
    assert stored["losses"].shape == (60,)


def test_the_batch_size_of_the_features_does_not_matter() -> None:
    data = evaluation_data()
    few_epochs = OPTIONS.model_copy(update={"epochs": 3})
    results = [measure(data, few_epochs, RunContext(batch_size=size)) for size in (1, 7, 64)]
    for other in results[1:]:
        np.testing.assert_allclose(
            other.per_sample["predictions"], results[0].per_sample["predictions"], atol=1e-3
        )


def test_the_seed_matters_and_is_all_that_does() -> None:
    data = evaluation_data()
    few_epochs = OPTIONS.model_copy(update={"epochs": 2})
    first, again, other = (measure(data, few_epochs, RunContext(seed=s)).per_sample for s in (1, 1, 2))
    np.testing.assert_array_equal(first["predictions"], again["predictions"])
    assert not np.allclose(first["predictions"], other["predictions"])


def test_a_finished_fit_is_not_repeated(tmp_path: Path) -> None:
    data, run = evaluation_data(), RunContext(partial=tmp_path)
    first = measure(data, OPTIONS.model_copy(update={"epochs": 2}), run)
    extractor = Colours()
    again = Regression().measure(extractor, data, OPTIONS.model_copy(update={"epochs": 2}), run)
    assert extractor.images_seen == 0
    assert again.values == first.values


def test_invisible_landmarks_count_neither_in_training_nor_in_the_error() -> None:
    data = evaluation_data()
    few_epochs = OPTIONS.model_copy(update={"epochs": 3})
    train, test = data.training(), data.test
    hidden = torch.zeros_like(train.visible)
    hidden[::3, 2] = True
    train = replace(train, visible=~hidden)
    elsewhere = torch.where(hidden.unsqueeze(-1), torch.nan, train.points)
    seen = test.visible.clone()
    seen[:5, 2] = False
    seen[7, 0] = False
    test = replace(test, visible=seen)
    result = measure(EvaluationData(train, test), few_epochs)
    moved = measure(EvaluationData(replace(train, points=elsewhere), test), few_epochs)
    np.testing.assert_array_equal(result.per_sample["predictions"], moved.per_sample["predictions"])
    # Image 7 does not show one of the eyes: all of it is left out.
    counted = result.per_sample["counted"]
    assert counted.sum() == 25 * 3 - 5 - 3
    assert nme(result).value == pytest.approx(result.per_sample["errors"][counted].mean(), rel=1e-6)
    assert nme(result).count == 24
    assert "1 test images left out" in result.notes[0]


def test_landmarks_that_are_never_visible_are_noted() -> None:
    data = evaluation_data()
    visible = data.training().visible.clone()
    visible[:, 2] = False
    never = EvaluationData(replace(data.training(), visible=visible), data.test)
    assert "not learned: nose" in measure(never, OPTIONS.model_copy(update={"epochs": 1})).notes[0]


# --- every metric of the predictions -------------------------------------------------------------------------


def test_every_metric_is_that_of_the_stored_arrays(measured: tuple[EvaluationData, Measurement]) -> None:
    """From predictions, targets and visibility alone; all landmarks are visible."""
    _, result = measured
    stored = result.per_sample
    side = int(stored["image_size"].max())
    assert side == SIDE
    distances = np.linalg.norm(stored["predictions"].astype(float) - stored["targets"], axis=2)
    np.testing.assert_allclose(stored["distances"], distances, rtol=1e-6)
    expected: dict[tuple[str, Any], Any] = {
        ("pck_5pct_longer_side", None): distances <= 0.05 * side,
        ("accuracy_6px", None): distances * 128 / side <= 6,
        **{("accuracy_px128", d): distances * 128 / side <= d for d in (2, 4, 6, 8, 10, 15, 20)},
        **{
            ("accuracy_6px", name): distances[:, k] * 128 / side <= 6
            for k, name in enumerate(("left eye", "right eye", "nose"))
        },
    }
    found = {
        (value.metric, value.condition.get("distance", value.condition.get("landmark"))): value
        for value in result.values
    }
    assert set(found) == {*expected, ("nme_interocular", None), ("pck_cl", None)}
    for key, right in expected.items():
        assert found[key].value == pytest.approx(100 * right.mean()), key
        assert found[key].count == 25
    truncated = np.floor(distances * 47 / (side - 1))
    assert found["pck_cl", None].value == pytest.approx(100 * (truncated < 2.4).mean())
    assert result.pictures["accuracy_curve"].shape == (480, 640, 3)


def test_sets_without_a_normaliser_are_measured_by_the_other_metrics() -> None:
    data = evaluation_data()
    options = OPTIONS.model_copy(update={"epochs": 1})
    whole = measure(data, options)
    for change, reason in ((_without_normaliser, "have none"), (_one_eyed, "no image shows both ends")):
        result = measure(EvaluationData(data.training(), change(data.test)), options)
        assert {value.metric for value in result.values} == {
            "pck_5pct_longer_side",
            "pck_cl",
            "accuracy_6px",
            "accuracy_px128",
        }
        assert reason in result.notes[0]
        assert "errors" not in result.per_sample
        np.testing.assert_array_equal(result.per_sample["predictions"], whole.per_sample["predictions"])


def test_many_landmarks_are_not_reported_one_by_one() -> None:
    many = world("test", 4)
    names = tuple(f"point {i}" for i in range(21))
    many = replace(
        many,
        schema=replace(SCHEMA, names=names),
        points=many.points.repeat(1, 7, 1),
        visible=many.visible.repeat(1, 7),
    )
    assert not [s for s in detailed_scores(many.points, many) if s.metric == "accuracy_6px"]
    few = replace(
        many,
        schema=replace(SCHEMA, names=names[:20]),
        points=many.points[:, :20],
        visible=many.visible[:, :20],
    )
    found = [s.condition for s in detailed_scores(few.points, few) if s.metric == "accuracy_6px"]
    assert found == [{"landmark": name} for name in names[:20]]


class Says(Blind):
    """Predicts annotated landmarks itself: the mean annotation, moved by how bright the image is."""

    capabilities: frozenset[Capability] = frozenset({"dense", "annotated"})

    def annotated_landmarks(self, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        assert images.max() <= 1
        assert bool(visible.all())
        return points.mean(0) + images.mean((1, 2, 3))[:, None, None]


def test_a_method_that_predicts_annotated_landmarks_needs_no_regressor() -> None:
    data = evaluation_data()
    result = Regression().measure(Says(), data, OPTIONS, RunContext(batch_size=7))
    train, test = data.training().cropped(), data.test.cropped()
    bright = test.images.float().mean((1, 2, 3)) / 255
    np.testing.assert_allclose(
        result.per_sample["predictions"], train.points.mean(0) + bright[:, None, None], rtol=1e-5
    )
    assert result.per_sample["losses"].shape == (0,)
    assert "no regressor was trained" in result.notes[-1]


def test_presets_are_options() -> None:
    assert RegressorOptions(**Regression.presets["paper"]) == RegressorOptions()
    quick = RegressorOptions(**Regression.presets["quick"])
    assert quick.map_size((96, 96)) == (24, 24)
    assert RegressorOptions().map_size((96, 128)) == (48, 64)
    stepped = RegressorOptions(cosine_t_max=None, divide_at=(101, 251)).settings()
    assert (stepped.divide_at, stepped.rate(100), stepped.rate(101)) == ((101, 251), 0.001, 0.0001)
    with pytest.raises(ValidationError, match="set cosine_t_max=null, or leave divide_at empty"):
        RegressorOptions(divide_at=(101,))
    settings = RegressorOptions().settings()
    assert (settings.learning_rate, settings.weight_decay, settings.batch_size) == (0.001, 0.0005, 32)
    assert (settings.epochs, settings.cosine_t_max, settings.beta1) == (45, 200, 0.5)


def _without_normaliser(split: LoadedSplit) -> LoadedSplit:
    return replace(split, schema=replace(split.schema, normaliser=None))


def _without_landmarks(split: LoadedSplit) -> LoadedSplit:
    schema = LandmarkSchema((), ((0,), (1,)))
    return replace(split, schema=schema, points=split.points[:, :0], visible=split.visible[:, :0])


def _unlabelled(split: LoadedSplit) -> LoadedSplit:
    return replace(split, visible=torch.zeros_like(split.visible))


def _not_finite(split: LoadedSplit) -> LoadedSplit:
    points = split.points.clone()
    points[3, 1, 0] = torch.nan
    return replace(split, points=points)


def _one_eyed(split: LoadedSplit) -> LoadedSplit:
    visible = split.visible.clone()
    visible[:, 0] = False
    return replace(split, visible=visible)


def _renamed(split: LoadedSplit) -> LoadedSplit:
    return replace(split, schema=replace(split.schema, names=("right eye", "left eye", "nose")))


@pytest.mark.parametrize(
    ("changed", "how", "message"),
    [
        ("both", _without_landmarks, "world/test has no landmarks"),
        ("train", _unlabelled, "world/train has no annotated image"),
        ("test", _unlabelled, "world/test has no annotated image"),
        ("train", _not_finite, "first 'train3'"),
        ("test", _not_finite, "first 'test3'"),
        ("train", _renamed, "their names or order differ"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_computed(changed: str, how: Any, message: str) -> None:
    data = evaluation_data()
    train = how(data.training()) if changed in ("train", "both") else data.training()
    test = how(data.test) if changed in ("test", "both") else data.test
    with pytest.raises(BenchError) as caught:
        Regression().check(OPTIONS, EvaluationData(train, test))
    assert message in str(caught.value)


def test_a_training_split_is_needed() -> None:
    with pytest.raises(BenchError, match="training split"):
        Regression().check(OPTIONS, EvaluationData(None, evaluation_data().test))


@pytest.mark.parametrize(
    ("change", "message"),
    [(_without_normaliser, "-D normaliser="), (_one_eyed, "no image shows both ends of the normaliser")],
)
def test_protocols_that_must_normalise_say_what_is_missing(change: Any, message: str) -> None:
    data = evaluation_data()
    with pytest.raises(BenchError, match=message):
        check_annotations(EvaluationData(data.train, change(data.test)))
