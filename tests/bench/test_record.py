from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from bench.record import RunRecord, content_hash
from tests.records import metric, record


def test_the_id_is_the_documented_hash_of_the_identity() -> None:
    run = record(metric(1.0))
    text = json.dumps(run.identity(), sort_keys=True, separators=(",", ":"))
    assert run.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_id_of_a_known_record_never_changes() -> None:
    # a change here orphans every record that was ever written; a new shape of records leaves the id alone
    assert record().id == "df1ea86e9ccafa7f"


def test_the_order_of_options_does_not_matter() -> None:
    one = record(options={"a": 1, "b": {"c": 2, "d": 3}})
    other = record(options={"b": {"d": 3, "c": 2}, "a": 1})
    assert one.id == other.id


def test_the_id_survives_the_way_through_json() -> None:
    run = record(metric(1.5), options={"sizes": (1, 2), "rate": 0.1, "whole": 1.0, "none": None})
    assert RunRecord.model_validate_json(run.model_dump_json()).id == run.id


@pytest.mark.parametrize(
    "change",
    [
        {"method": "random"},
        {"options": {"features": "hypercolumn"}},
        {"weights": "b" * 64},
        {"protocol": "matching"},
        {"version": 2},
        {"protocol_options": {"points": 10}},
        {"fingerprint": "0" * 64},
        {"preprocessing": {"image_size": 96, "margin": 20}},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_can_change_a_number_changes_the_id(change: dict[str, Any]) -> None:
    assert record(**change).id != record().id


@pytest.mark.parametrize(
    "change",
    [{"provenance": {"seconds": 3.0, "torch": "2.6"}}, {"label": "another label"}, {"preset": "custom"}],
    ids=lambda change: next(iter(change)),
)
def test_what_cannot_change_a_number_does_not(change: dict[str, Any]) -> None:
    assert record(**change).id == record().id


def test_numbers_are_not_part_of_the_identity() -> None:
    assert record(metric(1.0)).id == record(metric(2.0)).id == record(reason="out of memory").id


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_is_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        metric(value)


def test_a_hash_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_hash({"x": float("nan")})


def test_unknown_fields_are_refused() -> None:
    data = record().model_dump(mode="json") | {"surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        RunRecord.model_validate(data)


def test_value_finds_the_condition() -> None:
    run = record(metric(1.0, condition={"annotations": 5}), metric(2.0, condition={"annotations": 10}))
    assert run.value("nme_interocular", annotations=10).value == 2.0
    with pytest.raises(KeyError, match="nme_interocular"):
        run.value("nme_interocular", annotations=20)
