"""The protocol on squares: an oracle agrees perfectly, constant features not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.protocol import Measurement
from bench.seeds import numpy_generator
from protocols.part_discovery.truth import agreement
from protocols.parts import Parts, PartsOptions, evenly_spread
from tests.protocols.parts_world import SIDE, Constant, Oracle, parts_data

OPTIONS = PartsOptions(n_parts=4, fit_images=20, pixels_per_image=30, tsne_points=30, draws=2)
TRUTHS = ("landmarks", "cells", "classes")


def measure(
    extractor: FeatureExtractor | None = None,
    options: PartsOptions = OPTIONS,
    data: EvaluationData | None = None,
    run: RunContext | None = None,
) -> Measurement:
    data = data or parts_data()
    Parts().check(options, data)
    return Parts().measure(extractor or Oracle(), data, options, run or RunContext())


def value(result: Measurement, metric: str, truth: str, finder: str) -> float:
    condition = {"truth": truth, "finder": finder}
    return next(v.value for v in result.values if v.metric == metric and v.condition == condition)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return measure()


@pytest.mark.parametrize("finder", ["k-means", "nmf"])
def test_an_oracle_agrees_perfectly(finder: str, measured: Measurement) -> None:
    for truth in TRUTHS:
        assert value(measured, "nmi", truth, finder) == pytest.approx(1)
        assert value(measured, "ari", truth, finder) == pytest.approx(1)
    # Three of the four parts are foreground: 108 of 576 pixels, 36 each.
    shares = np.array([468, 36, 36, 36]) / 576
    figure = np.array([468, 108]) / 576
    entropy, two = -(shares * np.log(shares)).sum(), -(figure * np.log(figure)).sum()
    assert value(measured, "nmi", "figure", finder) == pytest.approx(two / ((entropy + two) / 2))
    assert value(measured, "nmi", "landmarks", "t-sne") > 0.7  # four clusters of three groups


def test_constant_features_agree_with_nothing() -> None:
    result = measure(Constant(), replace_options(draws=1))
    assert {v.metric for v in result.values} == {"nmi", "ari"}
    for each in result.values:
        assert each.value == pytest.approx(0, abs=1e-9), each
        assert each.std is None
    assert "all sampled descriptors are the same, so everything is one part" in result.notes


def replace_options(**changes: object) -> PartsOptions:
    return PartsOptions.model_validate({**OPTIONS.model_dump(), **changes})


def test_values_are_those_of_the_stored_tables(measured: Measurement) -> None:
    stored = measured.per_sample
    for finder in ("k-means", "nmf"):
        for truth in (*TRUTHS, "figure"):
            tables = stored[f"table_{finder}_{truth}"]
            assert tables.shape[:2] == (2, 12)
            pairs = [agreement(draw.sum(0)) for draw in tables]
            assert value(measured, "nmi", truth, finder) == pytest.approx(np.mean([nmi for nmi, _ in pairs]))
    assert stored["t-sne_positions"].shape == (2, 30, 2)
    assert stored["t-sne_true"].max() == 2
    assert all(v.std is not None for v in measured.values)


def test_intervals_draw_images_and_average_over_draws_first(measured: Measurement) -> None:
    """Of what t-SNE shows, from the stored labels, against a plain loop."""
    image, true, clusters = (measured.per_sample[f"t-sne_{name}"] for name in ("image", "true", "clusters"))
    assert len(np.unique(image)) == 12
    stream = numpy_generator(0, "bootstrap")
    found = []
    for _ in range(2000):
        chosen = stream.integers(12, size=12)
        draws = []
        for draw in range(2):
            table = np.zeros((3, 4))
            for one in chosen:
                shown = image[draw] == one
                np.add.at(table, (true[draw][shown], clusters[draw][shown]), 1)
            draws.append(agreement(table))
        found.append(np.mean(draws, axis=0))
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    for metric, name in enumerate(("nmi", "ari")):
        (cell,) = (v for v in measured.values if v.metric == name and v.condition["finder"] == "t-sne")
        assert (cell.low, cell.high) == pytest.approx((low[metric], high[metric]), rel=1e-9)
        assert low[metric] < cell.value < high[metric]


def test_every_value_has_an_interval(measured: Measurement) -> None:
    for cell in measured.values:
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low - 1e-12 <= cell.value <= cell.high + 1e-12
        assert cell.count == 12


def test_the_batch_size_does_not_matter(measured: Measurement) -> None:
    other = measure(run=RunContext(batch_size=5))
    for name, table in measured.per_sample.items():
        if name.startswith("table_"):
            np.testing.assert_array_equal(other.per_sample[name], table)
    np.testing.assert_array_equal(other.per_sample["t-sne_image"], measured.per_sample["t-sne_image"])


def test_what_is_finished_is_not_computed_again(measured: Measurement, tmp_path: Path) -> None:
    run = RunContext(partial=tmp_path)
    assert measure(run=run).values == measured.values
    extractor = Oracle()
    assert measure(extractor, run=run).values == measured.values
    assert extractor.images_seen == 0


def test_few_images_are_evenly_spread() -> None:
    assert evenly_spread(10, 4) == [0, 2, 5, 7]
    assert evenly_spread(3, 8) == [0, 1, 2]
    result = measure(options=replace_options(test_images=4, draws=1))
    assert list(result.per_sample["ids"]) == ["test0", "test3", "test6", "test9"]


def test_without_landmarks_classes_are_embedded() -> None:
    data = parts_data()
    hidden = replace(data.test, visible=torch.zeros_like(data.test.visible))
    result = measure(options=replace_options(draws=1), data=EvaluationData(data.train, hidden))
    assert {v.condition["truth"] for v in result.values} == {"classes", "figure"}
    assert value(result, "nmi", "classes", "t-sne") > 0.6
    bare = measure(
        options=replace_options(draws=1), data=EvaluationData(data.train, replace(data.test, masks=None))
    )
    assert {v.condition["truth"] for v in bare.values} == {"landmarks"}
    assert bare.notes == ("squares/test has no masks: parts are compared at landmarks alone",)


def test_what_cannot_work_is_refused() -> None:
    data = parts_data()
    bare = replace(data.test, visible=torch.zeros_like(data.test.visible), masks=None)
    with pytest.raises(BenchError, match="squares/test has neither two landmarks nor masks"):
        Parts().check(OPTIONS, EvaluationData(data.train, bare))
    with pytest.raises(BenchError, match="4 parts need more than 3 pixels"):
        Parts().check(replace_options(fit_images=1, pixels_per_image=3), data)


def test_pictures_show_the_parts(measured: Measurement) -> None:
    assert set(measured.pictures) == {"parts", "t-sne"}
    for picture in measured.pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[0] > 5 * SIDE
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_presets_are_options() -> None:
    assert PartsOptions(**Parts.presets["paper"]) == PartsOptions()
    assert PartsOptions().n_parts == 9
    assert PartsOptions(**Parts.presets["quick"]).draws == 1
