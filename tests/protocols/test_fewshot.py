from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.geometry import SINGLE, TPSWarp
from bench.protocol import Measurement, MetricValue
from bench.seeds import torch_generator
from methods.mean_shape import MeanShapeNetwork
from protocols.fewshot import FewShot, FewShotOptions
from protocols.heads.regressor import RegressorOptions
from protocols.regression import Regression
from protocols.support_copies import warped_copies
from tests.protocols.regression_world import (
    MARGIN,
    SIDE,
    Colours,
    evaluation_data,
    mean_shape_error,
    world,
)

OPTIONS = FewShotOptions(counts=(1, 5, 12), draws=2, copies=24, epochs=3, cosine_t_max=3, batch_size=12)


def measure(
    options: FewShotOptions = OPTIONS, data: EvaluationData | None = None, run: RunContext | None = None
) -> Measurement:
    data = data or evaluation_data()
    protocol = FewShot()
    protocol.check(options, data)
    return protocol.measure(Colours(), data, options, run or RunContext())


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return measure()


def changed(**changes: object) -> FewShotOptions:
    return FewShotOptions.model_validate({**OPTIONS.model_dump(), **changes})


def value(result: Measurement, count: int) -> MetricValue:
    (found,) = (v for v in nme(result) if v.condition == {"annotations": count})
    return found


def nme(result: Measurement) -> list[MetricValue]:
    return [v for v in result.values if v.metric == "nme_interocular"]


def test_support_sets_are_nested_and_stored(measured: Measurement) -> None:
    known = set(evaluation_data().training().ids)
    one, five, twelve = (measured.per_sample[f"support_ids_{count}"] for count in (1, 5, 12))
    assert one.shape == (2, 1)
    assert twelve.shape == (2, 12)
    np.testing.assert_array_equal(five[:, :1], one)
    np.testing.assert_array_equal(twelve[:, :5], five)
    for draw in twelve:
        assert len(set(draw)) == 12
        assert set(draw) <= known
    assert list(twelve[0]) != list(twelve[1])


def test_values_are_those_of_the_stored_arrays(measured: Measurement) -> None:
    stored = measured.per_sample
    assert [v.condition for v in nme(measured)] == [{"annotations": n} for n in (1, 5, 12)]
    eyes = np.linalg.norm(stored["targets"][:, 0].astype(float) - stored["targets"][:, 1], axis=1)
    for count in (1, 5, 12):
        distances = np.linalg.norm(stored[f"predictions_{count}"].astype(float) - stored["targets"], axis=3)
        errors = 100 * distances / eyes[:, None]
        np.testing.assert_allclose(stored[f"errors_{count}"], errors, rtol=1e-6)
        by_draw = errors.mean((1, 2))
        cell = value(measured, count)
        assert cell.value == pytest.approx(by_draw.mean(), rel=1e-6)
        assert cell.std == pytest.approx(abs(by_draw[0] - by_draw[1]) / np.sqrt(2), rel=1e-6)
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low < cell.value < cell.high
        assert cell.count == 25
        assert stored[f"losses_{count}"].shape == (2, 3)


def test_one_draw_has_no_deviation() -> None:
    assert measure(changed(counts=(1,), draws=1)).values[0].std is None


def test_a_count_depends_neither_on_the_others_nor_on_the_number_of_draws(measured: Measurement) -> None:
    alone = measure(changed(counts=(5,), draws=1))
    for name in ("predictions_5", "support_ids_5", "losses_5"):
        np.testing.assert_array_equal(alone.per_sample[name][0], measured.per_sample[name][0])


def test_the_batch_size_of_the_features_does_not_matter(measured: Measurement) -> None:
    other = measure(run=RunContext(batch_size=5))
    for count in (1, 5, 12):
        name = f"predictions_{count}"
        np.testing.assert_allclose(other.per_sample[name], measured.per_sample[name], atol=1e-3)


@pytest.mark.parametrize("threads", [2, 5])
def test_trainings_at_the_same_time_learn_the_same(measured: Measurement, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = measure()
    finally:
        torch.set_num_threads(before)
    for count in (1, 5, 12):
        for name in (f"predictions_{count}", f"losses_{count}"):
            np.testing.assert_allclose(together.per_sample[name], measured.per_sample[name], atol=1e-3)
        np.testing.assert_array_equal(
            together.per_sample[f"support_ids_{count}"], measured.per_sample[f"support_ids_{count}"]
        )


def test_a_killed_run_continues_with_what_is_unfinished(measured: Measurement, tmp_path: Path) -> None:
    data = evaluation_data()
    FewShot().measure(Colours(), data, changed(counts=(1, 5)), RunContext(partial=tmp_path))
    extractor = Colours()
    result = FewShot().measure(extractor, data, OPTIONS, RunContext(partial=tmp_path))
    # Two draws of 12 images with two copies each, in the batches of an undisturbed run (24 copies of the first image,
    # 4 of the next four, 2 of the others), and the test images.
    assert extractor.images_seen == 2 * (24 + 4 * 4 + 7 * 2) + 25
    assert result.values == measured.values


def test_learns_from_few_images() -> None:
    data = evaluation_data()
    options = changed(
        counts=(12,), draws=1, copies=48, epochs=40, cosine_t_max=40, weight_decay=0.0005, batch_size=24
    )
    result = measure(options, data)
    assert result.values[0].value < mean_shape_error(data.training(), data.test) / 1.5


def test_without_augmentation_the_images_are_read_as_they_are() -> None:
    data = evaluation_data()
    extractor = Colours()
    FewShot().measure(extractor, data, changed(counts=(5,), draws=1, augment=False), RunContext())
    assert extractor.images_seen == 5 + 25


def test_images_without_annotation_support_nothing() -> None:
    data = evaluation_data()
    visible = data.training().visible.clone()
    visible[::2] = False
    some = EvaluationData(replace(data.training(), visible=visible), data.test)
    result = measure(changed(counts=(12, 20), draws=1), some)
    labelled = {f"train{i}" for i in range(1, 40, 2)}
    assert set(result.per_sample["support_ids_20"].ravel()) == labelled
    too_many = measure(changed(counts=(12, 21, 100), draws=1), some)
    assert [v.condition for v in nme(too_many)] == [{"annotations": 12}]
    assert too_many.notes == ("annotations = 21, 100 skipped: world/train has 20 annotated images",)


def test_no_support_set_fits() -> None:
    with pytest.raises(BenchError, match="smallest support set has 50 images"):
        FewShot().check(changed(counts=(50, 100)), evaluation_data())


def test_every_metric_is_reported_for_every_count(measured: Measurement) -> None:
    stored = measured.per_sample
    metrics = ("nme_interocular", "pck_5pct_longer_side", "pck_cl", "accuracy_6px")
    assert [(v.metric, v.condition) for v in measured.values] == [
        (metric, {"annotations": count}) for count in (1, 5, 12) for metric in metrics
    ]
    for value in measured.values:
        if value.metric == "accuracy_6px":
            near = stored[f"distances_{value.condition['annotations']}"] * 128 / SIDE <= 6
            by_draw = 100 * near.mean((1, 2))
            assert value.value == pytest.approx(by_draw.mean())
            assert value.std == pytest.approx(np.std(by_draw, ddof=1))


def test_sets_without_a_normaliser_are_measured_by_the_other_metrics() -> None:
    data = evaluation_data()
    unnormalised = replace(data.test, schema=replace(data.test.schema, normaliser=None))
    result = measure(changed(counts=(1,), draws=1, epochs=1), EvaluationData(data.train, unnormalised))
    assert {v.metric for v in result.values} == {"pck_5pct_longer_side", "pck_cl", "accuracy_6px"}
    assert "nme_interocular is not reported" in result.notes[0]


def test_the_mean_shape_of_the_support_needs_no_regressor() -> None:
    data = evaluation_data()
    result = FewShot().measure(MeanShapeNetwork(), data, changed(counts=(1, 12)), RunContext())
    known = {
        name: points - MARGIN
        for name, points in zip(data.training().ids, data.training().points, strict=True)
    }
    for count in (1, 12):
        for draw in range(2):
            support = [known[name] for name in result.per_sample[f"support_ids_{count}"][draw]]
            expected = torch.stack(support).mean(0).expand(25, -1, -1)
            np.testing.assert_allclose(result.per_sample[f"predictions_{count}"][draw], expected, rtol=1e-6)
    assert "no regressor was trained" in result.notes[0]
    everything = Regression().measure(MeanShapeNetwork(), data, RegressorOptions(), RunContext())
    assert everything.values[0].value == pytest.approx(mean_shape_error(data.training(), data.test), rel=1e-5)


@pytest.mark.parametrize("counts", [[], [0, 1], [5, 1], [5, 5]])
def test_counts_must_increase(counts: list[int]) -> None:
    with pytest.raises(ValidationError, match="positive and increasing"):
        FewShotOptions(counts=tuple(counts))


# --- the warped copies ----------------------------------------------------------------------------------------


def test_copies_are_warped_cropped_and_truncated_one_by_one() -> None:
    support = world("train", 3)
    copies = warped_copies(support, 7, changed(copies=8), RunContext(batch_size=4))
    assert len(copies) == 6
    assert copies.images.dtype == torch.uint8
    assert copies.images.shape[-2:] == (SIDE, SIDE)
    full = SIDE + 2 * MARGIN
    for place in range(3):
        warps = TPSWarp.draw(2, SINGLE, torch_generator(7, "warps", place))
        for copy in range(2):
            warp, at = warps[copy : copy + 1], 2 * place + copy
            image = warp.warp_images(support.images[place : place + 1].float())[
                0, :, MARGIN:-MARGIN, MARGIN:-MARGIN
            ]
            np.testing.assert_array_equal(copies.images[at], np.floor(image.numpy()).astype(np.uint8))
            points = warp.move_points_to_nearest_node(support.points[place : place + 1], (full, full))
            np.testing.assert_allclose(copies.points[at], points[0] - MARGIN, atol=1e-5)
    assert copies.ids == ("train0", "train0", "train1", "train1", "train2", "train2")


@pytest.mark.parametrize(("keypoint_warp", "tolerance"), [("exact", 0.2), ("nearest", 0.9)])
def test_landmarks_move_with_the_image(keypoint_warp: str, tolerance: float) -> None:
    copies = warped_copies(
        world("train", 4), 3, changed(copies=40, keypoint_warp=keypoint_warp), RunContext()
    )
    weights = copies.images.double() ** 2
    centres = torch.arange(SIDE, dtype=torch.float64) + 0.5
    total = weights.sum((2, 3))
    x = torch.einsum("nkhw,w->nk", weights, centres) / total
    y = torch.einsum("nkhw,h->nk", weights, centres) / total
    inside = ((copies.points > 5) & (copies.points < SIDE - 5)).all(2)
    off = (torch.stack([x, y], 2) - copies.points).norm(dim=2)[inside]
    assert inside.float().mean() > 0.5
    assert off.max() < tolerance


def test_what_an_invisible_landmark_says_does_not_matter() -> None:
    support = world("train", 2)
    hidden = torch.zeros(2, 3, dtype=torch.bool)
    hidden[1, 2] = True
    points = torch.where(hidden.unsqueeze(-1), torch.nan, support.points)
    support = replace(support, points=points, visible=~hidden)
    for keypoint_warp in ("nearest", "exact"):
        copies = warped_copies(support, 0, changed(copies=4, keypoint_warp=keypoint_warp), RunContext())
        assert torch.isfinite(copies.points).all()
        assert copies.visible.tolist() == [[True] * 3] * 2 + [[True, True, False]] * 2


def test_a_support_set_larger_than_the_copies_has_each_image_once() -> None:
    copies = warped_copies(world("train", 5), 0, changed(copies=3), RunContext())
    assert len(copies) == 5


def test_presets_are_options() -> None:
    assert FewShotOptions(**FewShot.presets["paper"]) == FewShotOptions()
    paper = FewShotOptions()
    assert (paper.counts, paper.draws, paper.copies) == ((1, 5, 10, 20, 50, 100), 3, 1000)
    assert (paper.learning_rate, paper.weight_decay, paper.epochs) == (0.01, 0.05, 50)
    quick = FewShotOptions(**FewShot.presets["quick"])
    assert (quick.counts, quick.draws) == (paper.counts, 2)
    dve = FewShotOptions(**FewShot.presets["dve"]).settings()
    assert (dve.weight_decay, dve.amsgrad, dve.cosine_t_max, dve.beta1) == (0.0005, True, None, 0.9)


class KnowsEverything(MeanShapeNetwork):
    """Stands for a network that was trained with all annotations."""

    knows_annotations = True


def test_what_was_learned_from_all_annotations_does_not_pass_for_few() -> None:
    """Its features are regressed like any other's: here constant ones, which give the same point everywhere."""
    data = evaluation_data()
    result = FewShot().measure(KnowsEverything(), data, changed(counts=(1,), draws=1), RunContext())
    assert result.per_sample["losses_1"].shape[1] > 0  # a regressor was trained
    assert result.notes[0].startswith("the features were learned with all training annotations")


def test_a_recipe_fills_in_what_is_not_given() -> None:
    assert FewShotOptions(recipe="contrast") == FewShotOptions()
    dve = FewShotOptions(recipe="dve")
    assert dve == FewShotOptions(**FewShot.presets["dve"])
    assert (dve.learning_rate, dve.weight_decay, dve.amsgrad, dve.beta1) == (0.01, 0.0005, True, 0.9)
    assert (dve.epochs, dve.copies, dve.cosine_t_max, dve.augment) == (50, 10122, None, True)
    mine = FewShotOptions(recipe="dve", weight_decay=0.1, counts=(7,))
    assert (mine.weight_decay, mine.counts, mine.amsgrad) == (0.1, (7,), True)
    # What a record stores gives the same options again.
    assert FewShotOptions.model_validate(mine.model_dump(mode="json")) == mine
    with pytest.raises(ValidationError, match="recipe"):
        FewShotOptions.model_validate({"recipe": "fish"})


def test_the_recipe_for_birds_decays_less_with_many_images() -> None:
    birds = FewShotOptions(recipe="birds")
    assert birds.counts == (10, 50, 100, 250, 500, 1241)
    assert (birds.epochs, birds.cosine_t_max, birds.augment, birds.learning_rate) == (2000, 2000, False, 0.01)
    assert birds.select_epoch == "best_on_validation"
    decays = [birds.for_count(count).weight_decay for count in birds.counts]
    assert decays == [0.05, 0.05, 0.05, 0.005, 0.005, 0.005]
    assert [FewShotOptions().for_count(n).weight_decay for n in (100, 101)] == [0.05, 0.05]


def test_the_recipe_for_birds_says_which_epoch_it_reads() -> None:
    options = FewShotOptions(recipe="birds", counts=(3,), draws=1, epochs=2, select_epoch="last")
    result = measure(options)
    assert result.per_sample["losses_3"].shape == (1, 2)
    assert "best on CUB's validation split" in result.notes[-1]
