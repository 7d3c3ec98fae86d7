"""The epoch that is best on a validation split: found, kept, and never lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement
from methods.mean_shape import MeanShapeNetwork
from protocols.fewshot import FewShot, FewShotOptions
from protocols.finetune import Finetune, FinetuneOptions
from protocols.heads.best_epoch import BestEpoch
from protocols.heads.regressor import RegressorOptions
from protocols.regression import Regression
from protocols.scale import Scale, ScaleOptions
from protocols.scores.landmarks import scores, selection_score
from tests.killing import KilledError, Killer
from tests.protocols.regression_world import Colours, evaluation_data, world

# A rate so high that the error does not simply fall, and constant: the first epochs are alike, however many follow.
OPTIONS = RegressorOptions(
    epochs=7,
    cosine_t_max=None,
    learning_rate=0.25,
    batch_size=20,
    map_stride=4,
    select_epoch="best_on_validation",
)


def validated(validation: LoadedSplit | None = None) -> EvaluationData:
    return replace(evaluation_data(), validation=validation or world("validation", 15))


def measure(
    options: RegressorOptions = OPTIONS,
    data: EvaluationData | None = None,
    run: RunContext | None = None,
    extractor: FeatureExtractor | None = None,
) -> Measurement:
    data = data or validated()
    protocol = Regression()
    protocol.check(options, data)
    return protocol.measure(extractor or Colours(), data, options, run or RunContext())


def read_after(epochs: int, data: EvaluationData) -> Measurement:
    """The same training, ended after so many epochs."""
    return measure(OPTIONS.model_copy(update={"epochs": epochs, "select_epoch": "last"}), data)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return measure()


def test_the_best_of_equal_ones_is_the_first_and_is_put_back() -> None:
    module = nn.Linear(1, 1, bias=False)
    given = iter([0.25, 0.5, 0.125, 0.5, 0.375])
    best = BestEpoch(lambda: next(given))
    best.prepare({"m": module})
    for epoch in range(1, 6):
        nn.init.constant_(module.weight, epoch)
        best.judge({"m": module})
    assert best.epoch == 2
    assert best.scores == [0.25, 0.5, 0.125, 0.5, 0.375]
    assert module.weight.item() == 5
    best.put_back({"m": module})
    assert module.weight.item() == 2


def test_every_epoch_is_scored_and_the_best_is_read(measured: Measurement) -> None:
    """Against seven trainings that end after 1, 2, ... 7 epochs."""
    data = validated()
    on_validation = replace(data, test=data.validating())
    errors = [read_after(epochs, on_validation).values[0].value for epochs in range(1, 8)]
    stored = measured.per_sample
    np.testing.assert_allclose(stored["validation_scores"], -np.array(errors), rtol=1e-5)
    chosen = int(np.argmin(errors)) + 1
    assert chosen < 7  # else it would be the last anyway
    assert stored["chosen_epoch"] == chosen
    assert stored["losses"].shape == (7,)
    expected = read_after(chosen, data)
    np.testing.assert_allclose(stored["predictions"], expected.per_sample["predictions"], atol=1e-4)
    assert measured.values[0].value == pytest.approx(expected.values[0].value, rel=1e-6)
    assert measured.notes == (
        f"read after the epoch that is best on world/validation by nme_interocular, of 7: {chosen}",
    )


def test_the_last_epoch_is_read_unless_asked_otherwise(measured: Measurement) -> None:
    last = measure(OPTIONS.model_copy(update={"select_epoch": "last"}))
    assert "chosen_epoch" not in last.per_sample
    assert last.notes == ()
    np.testing.assert_array_equal(last.per_sample["losses"], measured.per_sample["losses"])
    assert not np.allclose(last.per_sample["predictions"], measured.per_sample["predictions"], atol=0.01)


def test_the_test_images_choose_nothing(measured: Measurement) -> None:
    other = measure(data=replace(validated(), test=world("test", 9, seed=3)))
    np.testing.assert_array_equal(
        other.per_sample["validation_scores"], measured.per_sample["validation_scores"]
    )


def test_the_batch_size_of_the_run_chooses_nothing(measured: Measurement) -> None:
    other = measure(run=RunContext(batch_size=4))
    assert other.per_sample["chosen_epoch"] == measured.per_sample["chosen_epoch"]
    np.testing.assert_allclose(other.per_sample["predictions"], measured.per_sample["predictions"], atol=1e-3)


def without_normaliser(split: LoadedSplit) -> LoadedSplit:
    return replace(split, schema=LandmarkSchema(split.schema.names))


def test_without_a_normaliser_the_released_pck_chooses() -> None:
    whole = validated()
    data = EvaluationData(
        without_normaliser(whole.training()),
        without_normaliser(whole.test),
        without_normaliser(whole.validating()),
    )
    result = measure(data=data)
    chosen = int(result.per_sample["chosen_epoch"])
    on_validation = read_after(chosen, replace(data, test=data.validating()))
    pck = next(value.value for value in on_validation.values if value.metric == "pck_cl")
    assert result.per_sample["validation_scores"][chosen - 1] == pytest.approx(pck)
    assert result.per_sample["validation_scores"].max() == pytest.approx(pck)
    assert "by pck_cl" in result.notes[-1]


def test_scores_are_better_the_higher() -> None:
    split = world("validation", 6).cropped()
    near, far = split.points + 1, split.points + 4
    assert selection_score(near, split) > selection_score(far, split)
    (error,) = (score.per_point.mean() for score in scores(far, split) if score.metric == "nme_interocular")
    assert selection_score(far, split) == -error
    bare = without_normaliser(split)
    assert selection_score(near, bare) > selection_score(far, bare)


@pytest.mark.parametrize("killed_after", [3, 9, 13])
def test_the_best_state_survives_a_kill(
    killed_after: int, measured: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps an epoch, the state saved after each; killed before, at and after the best epoch's end."""
    monkeypatch.setattr("protocols.heads.restartable.time.monotonic", _Hours())
    with pytest.raises(KilledError):
        measure(
            run=RunContext(partial=tmp_path, progress=Killer("fitting regression/best-epoch", killed_after))
        )
    assert len(list(tmp_path.glob("*.training.safetensors"))) == 1
    extractor = Colours()
    again = measure(run=RunContext(partial=tmp_path), extractor=extractor)
    for name in ("validation_scores", "chosen_epoch", "losses", "predictions"):
        np.testing.assert_array_equal(again.per_sample[name], measured.per_sample[name])
    assert again.values == measured.values
    assert not list(tmp_path.glob("*.training.safetensors"))


class _Hours:
    """A clock on which every look is an hour after the last."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 3600
        return self.now


# --- the other protocols that train a regressor -----------------------------------------------------------------


def test_each_draw_of_few_annotations_has_an_epoch_of_its_own() -> None:
    options = FewShotOptions(
        recipe="birds", counts=(3, 12), draws=2, epochs=4, cosine_t_max=None, learning_rate=0.25
    )
    protocol, data = FewShot(), validated()
    assert protocol.roles(options) == ("train", "validation", "test")
    protocol.check(options, data)
    extractor = Colours()
    result = protocol.measure(extractor, data, options, RunContext())
    # The 3 are among the 12, and the validation images are read once.
    assert extractor.images_seen == 2 * 12 + 25 + 15
    stored = result.per_sample
    for count in (3, 12):
        assert stored[f"validation_scores_{count}"].shape == (2, 4)
        np.testing.assert_array_equal(
            stored[f"chosen_epoch_{count}"], stored[f"validation_scores_{count}"].argmax(1) + 1
        )
    three, twelve = (", ".join(map(str, stored[f"chosen_epoch_{count}"])) for count in (3, 12))
    assert result.notes[-1].endswith(f"annotations = 3: {three}; annotations = 12: {twelve}")


def test_a_network_that_learns_is_put_back_too() -> None:
    options = FinetuneOptions(
        epochs=3,
        cosine_t_max=None,
        learning_rate=0.25,
        network_learning_rate=0.2,
        batch_size=20,
        map_stride=4,
        select_epoch="best_on_validation",
    )
    data, protocol = validated(), Finetune()
    protocol.check(options, data)
    result = protocol.measure(Tinted(), data, options, RunContext()).per_sample
    on_validation = replace(data, test=data.validating())
    errors = []
    for epochs in (1, 2, 3):
        last = options.model_copy(update={"epochs": epochs, "select_epoch": "last"})
        errors.append(protocol.measure(Tinted(), on_validation, last, RunContext()).values[0].value)
    np.testing.assert_allclose(result["validation_scores"], -np.array(errors), rtol=1e-4)
    chosen = int(np.argmin(errors)) + 1
    last = options.model_copy(update={"epochs": chosen, "select_epoch": "last"})
    expected = protocol.measure(Tinted(), data, last, RunContext()).per_sample
    np.testing.assert_allclose(result["predictions"], expected["predictions"], atol=1e-3)


class Tinted(Colours):
    """Colours whose strength can be learned."""

    def __init__(self) -> None:
        super().__init__()
        self.tint = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, images: torch.Tensor) -> FeatureMap:
        return super().forward(images * self.tint)


def test_unseen_sizes_choose_nothing() -> None:
    """The scale protocol shows its validation images as it shows those that it learns from."""
    seen: list[tuple[float, float]] = []

    def zoomed(dataset: object, factors: tuple[float, float], seed: int) -> object:
        seen.append(factors)
        return dataset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protocols.scale.zoomed", zoomed)
        for role in ("train", "validation", "test"):
            Scale().view(None, role, ScaleOptions(), 0)  # type: ignore[arg-type]
    assert seen == [(1.0, 1.5), (1.0, 1.5), (1.0, 2.0)]


def test_a_method_that_predicts_itself_has_no_epochs() -> None:
    data = validated()
    result = Regression().measure(MeanShapeNetwork(), data, OPTIONS, RunContext())
    assert "chosen_epoch" not in result.per_sample
    assert result.notes == ("no regressor was trained: the method predicts annotated landmarks itself",)


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        (Regression, RegressorOptions),
        (FewShot, FewShotOptions),
        (Finetune, FinetuneOptions),
        (Scale, ScaleOptions),
    ],
)
def test_roles_follow_the_options(
    protocol: type[Regression | FewShot | Finetune | Scale], options: type[RegressorOptions]
) -> None:
    assert protocol().roles(options()) == ("train", "test")
    chosen = options(select_epoch="best_on_validation")
    assert protocol().roles(chosen) == ("train", "validation", "test")


def test_without_a_validation_split_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(BenchError, match="need an annotated validation split"):
        measure(data=evaluation_data())


def test_the_validation_split_is_checked_like_the_others() -> None:
    split = world("validation", 5)
    hidden = replace(split, visible=torch.zeros_like(split.visible))
    with pytest.raises(BenchError, match="world/validation has no annotated image"):
        measure(data=validated(hidden))
    other = replace(split, schema=LandmarkSchema(("a", "b", "c")))
    with pytest.raises(BenchError, match="names or order differ"):
        measure(data=validated(other))
