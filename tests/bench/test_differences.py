from __future__ import annotations

from bench.differences import ABSENT, difference, flat
from tests.records import metric, record


def places(found: object) -> dict[str, tuple[object, object]]:
    assert isinstance(found, tuple)
    return {one.place: (one.one, one.other) for one in found}


def test_what_can_change_a_number_is_told_apart_from_what_cannot() -> None:
    one = record(
        metric(1.0),
        options={"features": "projected", "dim": 64},
        label="here",
        preset="quick",
        provenance={"versions": {"torch": "2.6"}, "threads": 1},
    )
    other = record(
        metric(1.0),
        options={"features": "projected", "width": 8},
        label="there",
        preset="paper",
        fingerprint="0" * 64,
        version=2,
        seed=1,
        provenance={"versions": {"torch": "2.7"}, "threads": 1},
    )
    found = difference(one, other)
    assert places(found.identity) == {
        "method.options.dim": (64, ABSENT),
        "method.options.width": (ABSENT, 8),
        "protocol.version": (1, 2),
        "dataset.fingerprints.test": ("f" * 64, "0" * 64),
        "seed": (0, 1),
    }
    assert list(places(found.identity))[:3] == [
        "method.options.dim",
        "method.options.width",
        "protocol.version",
    ]
    assert places(found.beside) == {
        "method.weights_label": ("here", "there"),
        "protocol.preset": ("quick", "paper"),
    }
    assert places(found.provenance) == {"versions.torch": ("2.6", "2.7")}


def test_identity_differs_exactly_where_ids_do() -> None:
    variants = [
        record(),
        record(dataset="moved"),
        record(label="x"),
        record(seed=1),
        record().model_copy(update={"dataset": None}),
        record().model_copy(
            update={"method": record().method.model_copy(update={"feature_dtype": "float16"})}
        ),
    ]
    for one in variants:
        for other in variants:
            assert (difference(one, other).identity == ()) == (one.id == other.id)


def test_values_are_matched_by_metric_and_condition() -> None:
    one = record(
        metric(3.0, condition={"annotations": 5}),
        metric(2.0, condition={"annotations": 10}),
        metric(1.0, "pck", unit="%"),
    )
    other = record(
        metric(2.5, condition={"annotations": 10}),
        metric(9.0, condition={"annotations": 20}),
        metric(100.0, "pck", unit="of 1000"),
    )
    values = difference(one, other).values
    assert [(v.declared.metric, v.declared.condition.get("annotations"), v.change) for v in values] == [
        ("nme_interocular", 5, None),
        ("nme_interocular", 10, 0.5),
        ("pck", None, None),  # in other units
        ("nme_interocular", 20, None),
    ]


def test_true_is_not_one() -> None:
    one, other = (record(provenance={"deterministic": value}) for value in (True, 1))
    assert places(difference(one, other).provenance) == {"deterministic": (True, 1)}


def test_flat_keeps_every_leaf() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [1, {"x": 2}]}}, "e": {}, "f": None}) == {
        "a.b": 1,
        "a.c.d": [1, {"x": 2}],
        "e": {},
        "f": None,
    }
