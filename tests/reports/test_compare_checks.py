"""Which two runs are not compared, and the reasons that are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.context import Arrays
from bench.errors import BenchError
from bench.store import RunStore
from protocols.regression import Regression
from tests.protocols.scored_runs import keep
from tests.records import metric, record
from tests.reports.compared_runs import measured, render, two_runs

_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 4}, "their seeds are 3 and 4"),
    "version": ({"version": 2}, "their versions of protocol regression are 3 and 2"),
    "options": ({"protocol_options": {"epochs": 9}}, r"option epochs: 2 and 9"),
    "data": ({"fingerprint": "b" * 64}, "their test data differ .* ffffffffffff and bbbbbbbbbbbb"),
    "preprocessing": (
        {"preprocessing": {"image_size": 70, "margin": 0}},
        "preprocessing image_size: 96 and 70",
    ),
    "protocol": ({"protocol": "finetune"}, "their protocols are regression and finetune"),
    "failed": ({"reason": "out of\nmemory"}, r"failed: out of memory"),
}


@pytest.mark.parametrize(("changes", "message"), _CHANGES.values(), ids=_CHANGES)
def test_runs_that_answer_other_questions(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    arrays, options = measured(Regression)
    first = keep(tmp_path, Regression, arrays, options)
    asked: dict[str, Any] = {
        "method": "dve",
        "protocol": "regression",
        "version": 3,
        "protocol_options": options.model_dump(mode="json"),
        "seed": first.seed,
    }
    asked["protocol_options"] |= changes.get("protocol_options", {})
    second = record(metric(1.0), **(asked | {k: v for k, v in changes.items() if k != "protocol_options"}))
    RunStore(tmp_path).save(second, arrays)
    with pytest.raises(BenchError, match="are not comparable") as refused:
        render(tmp_path, first.id, second.id)
    refused.match(message)


def test_options_that_came_later_are_no_difference(tmp_path: Path) -> None:
    arrays, options = measured(Regression)
    first = keep(tmp_path, Regression, arrays, options)
    fewer = {k: v for k, v in options.model_dump(mode="json").items() if k != "divide_at"}
    second = first.model_copy(update={"protocol": first.protocol.model_copy(update={"options": fewer})})
    RunStore(tmp_path).save(second, arrays)
    assert second.id != first.id
    assert {row["difference"] for row in render(tmp_path, first.id, second.id).data["values"]} == {0}


def _drop_last(arrays: Arrays) -> Arrays:
    return {name: array[:-1] if array.shape[:1] == (14,) else array for name, array in arrays.items()}


def _rename(arrays: Arrays) -> Arrays:
    return arrays | {"ids": np.array([f"x{name}" for name in arrays["ids"]])}


def _twice(arrays: Arrays) -> Arrays:
    return arrays | {"ids": np.array(["same"] * 14)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_last, "1 are only in the first and 0 only in the second, such as 'test13'"),
        (_rename, "14 are only in the first and 14 only in the second"),
        (_twice, "two samples of the same id"),
    ],
)
def test_other_samples(change: Callable[[Arrays], Arrays], message: str, tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    other = change(RunStore(tmp_path).per_sample(second.id))
    keep(tmp_path, Regression, other, measured(Regression)[1], method="dve")
    with pytest.raises(BenchError, match=message):
        render(tmp_path, first.id, second.id)


def test_values_that_are_not_those_of_the_record(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    RunStore(tmp_path).save(second, measured(Regression)[0])
    with pytest.raises(BenchError, match=f"values of run {second.id} are not those of its record"):
        render(tmp_path, first.id, second.id)


def test_a_run_and_itself(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)
    with pytest.raises(BenchError, match="compared with itself"):
        render(tmp_path, first.id, str(tmp_path / f"{first.id}.json"))


def test_costs_have_no_samples(tmp_path: Path) -> None:
    runs = [
        record(
            metric(2.0, "regressor_gmacs"), method=method, protocol="flops", protocol_options={"landmarks": 5}
        )
        for method in ("lead", "dve")
    ]
    for run in runs:
        RunStore(tmp_path).save(run)
    with pytest.raises(BenchError, match="'flops' are not computed from samples"):
        render(tmp_path, runs[0].id, runs[1].id)
