from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LinearRegression, Ridge
from torch import Tensor

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import Capability
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricValue
from protocols.discovered import Discovered, DiscoveredOptions
from protocols.fewshot import FewShot, FewShotOptions
from tests.killing import Killer
from tests.protocols.regression_world import Colours, evaluation_data, mean_shape_error


class Finds(Colours):
    """Discovers where each colour is, and the middle of it all: four landmarks, three of them annotated."""

    capabilities: frozenset[Capability] = frozenset({"dense", "landmarks"})

    def landmarks(self, images: Tensor) -> Tensor:
        assert images.max() <= 1
        self.images_seen += len(images)
        bright = images.square()
        bright = torch.cat([bright, bright.sum(1, keepdim=True)], 1)
        total = bright.sum((2, 3))
        centres = torch.arange(images.shape[-1]) + 0.5
        x = torch.einsum("nkhw,w->nk", bright, centres) / total
        y = torch.einsum("nkhw,h->nk", bright, centres) / total
        return torch.stack([x, y], 2)


class Stuck(Finds):
    """Discovers the same four places in every image."""

    def landmarks(self, images: Tensor) -> Tensor:
        return torch.tensor([[3.0, 4.0], [20.0, 7.0], [9.0, 30.0], [8.0, 8.0]]).expand(len(images), -1, -1)


def measure(
    data: EvaluationData,
    options: DiscoveredOptions | None = None,
    run: RunContext | None = None,
    extractor: Finds | None = None,
) -> Measurement:
    protocol, options = Discovered(), options or DiscoveredOptions()
    protocol.check(options, data)
    return protocol.measure(extractor or Finds(), data, options, run or RunContext())


def value(result: Measurement, metric: str, **condition: int) -> MetricValue:
    (found,) = (v for v in result.values if v.metric == metric and v.condition == condition)
    return found


def found_by(split: LoadedSplit) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The discovered coordinates of all images, (N, 8)."""
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
        Finds().landmarks(split.cropped().images.float() / 255).flatten(1).double().numpy()
    )
    return points


def annotated(split: LoadedSplit) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
        split.cropped().points.flatten(1).double().numpy()
    )
    return points


COUNTS = DiscoveredOptions(counts=(1, 5, 30), draws=4)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return measure(evaluation_data(), COUNTS)


def test_landmarks_that_are_found_are_regressed_well(measured: Measurement) -> None:
    data = evaluation_data()
    assert value(measured, "nme_interocular").value < mean_shape_error(data.training(), data.test) / 4


def test_landmarks_that_stay_put_give_the_mean_shape() -> None:
    """A constant source is an intercept, and the best constant is the mean."""
    data = evaluation_data()
    result = measure(data, extractor=Stuck())
    expected = mean_shape_error(data.training(), data.test)
    assert value(result, "nme_interocular").value == pytest.approx(expected, rel=1e-5)
    assert "solution of least norm" in result.notes[-1]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 300.0])
def test_forward_and_backward_are_scikit_learns_ridge(alpha: float) -> None:
    data = evaluation_data()
    result = measure(data, DiscoveredOptions(alpha=alpha))
    ridge = Ridge(alpha=alpha, fit_intercept=False) if alpha else LinearRegression(fit_intercept=False)
    train, test = data.training(), data.test
    forward = ridge.fit(found_by(train), annotated(train)).predict(found_by(test))
    np.testing.assert_allclose(result.per_sample["predictions"].reshape(25, -1), forward, atol=1e-3)
    backward = ridge.fit(annotated(train), found_by(train)).predict(annotated(test))
    np.testing.assert_allclose(result.per_sample["backward_predictions"].reshape(25, -1), backward, atol=1e-3)
    apart = np.linalg.norm(annotated(test)[:, :2] - annotated(test)[:, 2:4], axis=1)
    for metric, predicted, target in (
        ("nme_interocular", forward, annotated(test)),
        ("nme_interocular_backward", backward, found_by(test)),
    ):
        distances = np.linalg.norm((predicted - target).reshape(25, -1, 2), axis=2)
        expected = 100 * (distances / apart[:, None]).mean()
        assert value(result, metric).value == pytest.approx(expected, rel=1e-4)
    assert result.notes == ()


def test_the_stored_weights_give_the_stored_predictions(measured: Measurement) -> None:
    stored = measured.per_sample
    predicted = np.einsum(
        "tad,nd->nta", stored["weights"], stored["discovered"].astype(np.float64).reshape(25, -1)
    )
    np.testing.assert_allclose(predicted, stored["predictions"], rtol=1e-5)


def test_values_are_those_of_the_stored_arrays(measured: Measurement) -> None:
    stored = measured.per_sample
    for count in (1, 5, 30):
        by_draw = stored[f"errors_{count}"].mean((1, 2))
        assert by_draw.shape == (4,)
        cell = value(measured, "nme_interocular", annotations=count)
        assert cell.value == pytest.approx(by_draw.mean())
        assert cell.std == pytest.approx(np.std(by_draw, ddof=1))
        near = stored[f"distances_{count}"] * 128 / 32 <= 6
        six = value(measured, "accuracy_6px", annotations=count)
        assert six.value == pytest.approx(100 * near.mean())
    assert value(measured, "nme_interocular").value == pytest.approx(stored["errors"].mean())
    assert value(measured, "nme_interocular_backward").value == pytest.approx(
        stored["backward_errors"].mean()
    )
    assert {v.metric for v in measured.values} == {spec.name for spec in Discovered.metrics}


def test_few_annotations_have_a_solution_of_least_norm_and_a_note(measured: Measurement) -> None:
    (note,) = measured.notes
    assert note.startswith("annotations = 1, 5: fewer independent examples than the 8 coefficients")
    data = evaluation_data()
    ids = measured.per_sample["support_ids_5"][2]
    places = [data.training().ids.index(name) for name in ids]
    weights = np.linalg.pinv(found_by(data.training())[places]) @ annotated(data.training())[places]
    expected = found_by(data.test) @ weights
    np.testing.assert_allclose(measured.per_sample["predictions_5"][2].reshape(25, -1), expected, atol=1e-2)


def test_support_sets_are_nested_and_those_of_fewshot(measured: Measurement) -> None:
    five, thirty = (measured.per_sample[f"support_ids_{count}"] for count in (5, 30))
    np.testing.assert_array_equal(thirty[:, :5], five)
    assert len({tuple(ids) for ids in five}) == 4
    options = FewShotOptions(counts=(5,), draws=2, copies=5, epochs=1, augment=False)
    other = FewShot().measure(Colours(), evaluation_data(), options, RunContext())
    np.testing.assert_array_equal(other.per_sample["support_ids_5"], five[:2])


def test_the_batch_size_does_not_matter(measured: Measurement) -> None:
    other = measure(evaluation_data(), COUNTS, RunContext(batch_size=3))
    for name in ("discovered", "predictions", "predictions_5", "backward_predictions"):
        np.testing.assert_allclose(other.per_sample[name], measured.per_sample[name], atol=1e-3)


def test_a_killed_run_does_not_look_at_images_again(measured: Measurement, tmp_path: Path) -> None:
    extractor = Finds()
    measure(evaluation_data(), DiscoveredOptions(), RunContext(partial=tmp_path), extractor)
    assert extractor.images_seen == 40 + 25
    again = measure(evaluation_data(), COUNTS, RunContext(partial=tmp_path), extractor)
    assert extractor.images_seen == 40 + 25
    assert again.values == measured.values


def test_occluded_landmarks_count_neither_in_the_fit_nor_in_the_error() -> None:
    data = evaluation_data()
    train, test = data.training(), data.test
    seen = torch.ones_like(train.visible)
    seen[::3, 2] = False
    test_seen = torch.ones_like(test.visible)
    test_seen[:4, 2] = False
    hidden = EvaluationData(
        replace(train, visible=seen, points=torch.where(seen.unsqueeze(-1), train.points, torch.nan)),
        replace(test, visible=test_seen, points=torch.where(test_seen.unsqueeze(-1), test.points, torch.nan)),
    )
    result, whole = measure(hidden), measure(data)
    stored, all_of_it = result.per_sample, whole.per_sample
    # The eyes learn from the same images as before; the nose from two thirds of them.
    np.testing.assert_allclose(stored["predictions"][:, :2], all_of_it["predictions"][:, :2], rtol=1e-5)
    part = LinearRegression(fit_intercept=False).fit(
        found_by(train)[seen[:, 2].numpy()], annotated(train)[seen[:, 2].numpy(), 4:]
    )
    np.testing.assert_allclose(stored["predictions"][:, 2], part.predict(found_by(test)), atol=1e-3)
    assert stored["counted"].sum() == 25 * 3 - 4
    # Backward needs all three.
    assert value(result, "nme_interocular_backward").count == 21
    assert stored["backward_counted"].sum() == 21 * 4
    assert np.isfinite(stored["backward_predictions"]).all()


def test_sets_without_a_normaliser_have_no_normalised_errors() -> None:
    data = evaluation_data()
    unnormalised = replace(data.test, schema=replace(data.test.schema, normaliser=None))
    result = measure(EvaluationData(data.train, unnormalised))
    assert {v.metric for v in result.values} == {
        "pck_5pct_longer_side",
        "pck_cl",
        "accuracy_6px",
        "accuracy_px128",
    }
    assert [note.split(" is not reported")[0] for note in result.notes] == [
        "nme_interocular",
        "nme_interocular_backward",
    ]


def test_backward_is_an_option() -> None:
    result = measure(evaluation_data(), DiscoveredOptions(backward=False))
    assert "nme_interocular_backward" not in {v.metric for v in result.values}
    assert not any(name.startswith("backward") for name in result.per_sample)


def test_counts_beyond_the_annotated_images_are_skipped_with_a_note() -> None:
    result = measure(evaluation_data(), DiscoveredOptions(counts=(40, 41), draws=2))
    assert result.notes == ("annotations = 41 skipped: world/train has 40 annotated images",)
    with pytest.raises(BenchError, match="smallest support set has 41 images"):
        Discovered().check(DiscoveredOptions(counts=(41,)), evaluation_data())


@pytest.mark.parametrize("counts", [(0, 1), (5, 1), (5, 5)])
def test_counts_must_increase(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="positive and increasing"):
        DiscoveredOptions(counts=counts)


def test_presets_are_options() -> None:
    paper, rahaman = (DiscoveredOptions(**Discovered.presets[name]) for name in ("paper", "rahaman"))
    assert paper == DiscoveredOptions()
    assert (paper.alpha, rahaman.alpha) == (0.0, 0.1)
    thewlis = DiscoveredOptions(**Discovered.presets["thewlis"])
    assert (thewlis.counts, thewlis.solver) == ((1, 5, 10, 20), "adam")
    assert (thewlis.learning_rate, thewlis.weight_decay) == (1e-4, 5e-4)
    assert Discovered.requires == {"landmarks"}


# --- by Adam, on warped views

ADAM = DiscoveredOptions(
    solver="adam", views=4, steps=600, learning_rate=0.02, weight_decay=0.0, counts=(5,), draws=2
)


@pytest.fixture(scope="module")
def by_adam() -> Measurement:
    return measure(evaluation_data(), ADAM)


def test_landmarks_that_are_found_are_regressed_well_by_adam(by_adam: Measurement) -> None:
    data = evaluation_data()
    constant = mean_shape_error(data.training(), data.test)
    assert value(by_adam, "nme_interocular").value < constant / 4
    assert value(by_adam, "nme_interocular", annotations=5).value < constant / 2
    assert by_adam.notes == ()
    assert by_adam.per_sample["predictions_5"].shape == (2, 25, 3, 2)


def test_warped_views_of_few_images_tell_more_than_the_images(
    by_adam: Measurement, measured: Measurement
) -> None:
    """Five images are fewer examples than coefficients; their views are not."""
    few = value(by_adam, "nme_interocular", annotations=5).value
    assert few < value(measured, "nme_interocular", annotations=5).value


def test_the_stored_weights_and_origin_give_the_stored_predictions(
    by_adam: Measurement, measured: Measurement
) -> None:
    for result, origin in ((by_adam, 16.0), (measured, 0.0)):
        stored = result.per_sample
        assert stored["origin"] == origin
        sources = stored["discovered"].astype(np.float64).reshape(25, -1) - origin
        predicted = np.einsum("tad,nd->nta", stored["weights"], sources) + origin
        np.testing.assert_allclose(predicted, stored["predictions"], rtol=1e-5)


def test_support_sets_are_those_of_the_closed_form(by_adam: Measurement) -> None:
    closed = measure(evaluation_data(), DiscoveredOptions(counts=(5,), draws=2))
    np.testing.assert_array_equal(by_adam.per_sample["support_ids_5"], closed.per_sample["support_ids_5"])
    backward = "nme_interocular_backward"
    assert value(by_adam, backward) == value(closed, backward)


def test_a_killed_run_by_adam_fits_nothing_again(by_adam: Measurement, tmp_path: Path) -> None:
    extractor, run = Finds(), RunContext(partial=tmp_path)
    first = measure(evaluation_data(), ADAM, run, extractor)
    assert extractor.images_seen == 40 + 25 + 4 * 40
    assert first.values == by_adam.values
    steps_forbidden = Killer("fitting discovered/all annotations", 1)
    again = measure(
        evaluation_data(), ADAM, RunContext(partial=tmp_path, progress=steps_forbidden), extractor
    )
    assert extractor.images_seen == 40 + 25 + 4 * 40
    assert again.values == by_adam.values


def test_adam_looks_at_annotated_images_alone() -> None:
    data = evaluation_data()
    visible = data.training().visible.clone()
    visible[10:] = False
    some = EvaluationData(replace(data.training(), visible=visible), data.test)
    extractor = Finds()
    few = DiscoveredOptions(solver="adam", views=2, steps=5)
    result = measure(some, few, extractor=extractor)
    assert extractor.images_seen == 40 + 25 + 2 * 10
    ten = replace(data, train=data.training().take(list(range(10))))
    expected = measure(ten, few).per_sample["predictions"]
    np.testing.assert_allclose(result.per_sample["predictions"], expected, atol=1e-4)


def test_a_ridge_penalty_is_not_adams() -> None:
    with pytest.raises(ValidationError, match=r"alpha=0\.1 is for solver=closed_form"):
        DiscoveredOptions(solver="adam", alpha=0.1)
