"""Every protocol's values once more from what it stores: equal to the last digit, without network and images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError
from bench.landmarks import LandmarkSchema
from bench.protocol import Measurement, NothingStoredError, Protocol
from bench.samples import Ratio
from bench.store import RunStore
from protocols.flops import Flops
from protocols.matching import Matching
from protocols.memory import Memory
from protocols.regression import Regression
from protocols.scale import Scale
from protocols.segmentation import Segmentation
from protocols.stored import schema_arrays, stored_schema
from tests.protocols.scored_runs import MEASURED, record_of
from tests.records import record

ALL = pytest.mark.parametrize("protocol", MEASURED, ids=lambda protocol: protocol.name)


@cache
def measured(protocol: type[Protocol]) -> tuple[Measurement, Any]:
    return MEASURED[protocol]()


@ALL
def test_stored_values_come_out_again(protocol: type[Protocol], tmp_path: Path) -> None:
    measurement, options = measured(protocol)
    run = record_of(protocol, measurement, options)
    RunStore(tmp_path).save(run, measurement.per_sample)
    assert protocol().score(RunStore(tmp_path).per_sample(run.id), run) == measurement.values
    assert measurement.values


@ALL
def test_samples_give_the_values(protocol: type[Protocol]) -> None:
    measurement, _ = measured(protocol)
    sampled = [value for value in measurement.values if value.samples is not None]
    assert sampled
    ids = protocol().sample_ids(measurement.per_sample)
    for value in sampled:
        assert value.samples is not None
        assert value.samples.number() == pytest.approx(value.value, rel=1e-9, abs=1e-12)
        assert len(value.samples.counted) == len(ids) == len(set(ids))
        if value.count is not None:
            assert value.samples.counted.sum() == value.count


@ALL
def test_a_run_without_an_array_is_refused_and_named(protocol: type[Protocol]) -> None:
    measurement, options = measured(protocol)
    run = record_of(protocol, measurement, options)
    refusals = {}
    for name in measurement.per_sample:
        less = {key: array for key, array in measurement.per_sample.items() if key != name}
        try:
            protocol().score(less, run)
        except BenchError as error:
            refusals[name] = str(error)
    assert len(refusals) >= 2
    for name, message in refusals.items():
        assert f"no {name!r} is stored" in message
        assert "--force" in message


def test_landmarks_have_parts_of_their_own() -> None:
    measurement, _ = measured(Regression)
    value = measurement.values[0]
    assert value.metric == "nme_interocular"
    assert value.samples is not None
    stored = measurement.per_sample
    for k, name in enumerate(("left eye", "right eye", "nose")):
        errors, counted = stored["errors"][:, k], stored["counted"][:, k]
        assert value.samples.parts[name].number() == pytest.approx(errors[counted].mean())
        assert int(value.samples.parts[name].counted.sum()) == counted.sum() < 14


def test_classes_have_parts_of_their_own() -> None:
    measurement, _ = measured(Segmentation)
    value = next(value for value in measurement.values if value.condition == {"annotations": 5})
    assert value.metric == "miou"
    assert value.samples is not None
    assert list(value.samples.parts) == ["red", "green", "blue"]
    stored = measurement.per_sample
    for number, part in enumerate(value.samples.parts.values(), 1):
        union = stored["union_5"][..., number]
        ratios = stored["intersection_5"][..., number] / np.maximum(union, 1)
        by_draw = [ratio[present].mean() for ratio, present in zip(ratios, union > 0, strict=True)]
        assert part.number() == pytest.approx(np.mean(by_draw))


def test_a_range_of_factors_counts_its_own_images_only() -> None:
    measurement, _ = measured(Scale)
    seen, unseen = (
        next(v for v in measurement.values if v.condition == {"scales": scales}).samples
        for scales in ("seen", "unseen")
    )
    assert isinstance(seen, Ratio)
    assert isinstance(unseen, Ratio)
    factors = measurement.per_sample["zoom_factors"]
    assert seen.counted.tolist() == (factors <= 1.5).tolist()
    assert not (seen.counted & unseen.counted).any()


def test_pairs_are_the_samples_of_matching() -> None:
    measurement, _ = measured(Matching)
    stored = measurement.per_sample
    ids = Matching().sample_ids(stored)
    assert ids[0] == f"{stored['source_ids'][0]} and {stored['different_ids'][0]}"


@pytest.mark.parametrize("protocol", [Flops, Memory])
def test_costs_store_nothing_to_score(protocol: type[Protocol]) -> None:
    with pytest.raises(NothingStoredError, match=f"{protocol.name!r} stores nothing"):
        protocol().score({}, record(protocol=protocol.name))


def test_options_of_another_version_are_refused() -> None:
    run = record(protocol="scale", protocol_options={"octaves": 3})
    with pytest.raises(BenchError, match="does not have the options that the run states: octaves: Extra"):
        Scale().options_of(run)


@pytest.mark.parametrize(
    "schema",
    [
        LandmarkSchema(("a", "b", "c"), ((0, 2), (1,)), flip_indices=(1, 0, 2)),
        LandmarkSchema(("a", "ü"), None),
        LandmarkSchema(()),
    ],
)
def test_a_schema_is_stored(schema: LandmarkSchema, tmp_path: Path) -> None:
    run = record()
    RunStore(tmp_path).save(run, schema_arrays(schema))
    assert stored_schema(RunStore(tmp_path).per_sample(run.id)) == schema
