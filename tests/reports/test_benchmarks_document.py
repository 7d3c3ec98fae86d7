"""The benchmark document: what it says of data, baselines, gaps, costs and provenance."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest

from bench.errors import BenchError
from bench.record import RunRecord
from bench.report import Runs
from bench.shipped import ShippedWeights
from reports import benchmarks
from reports.benchmarks import markdown_document
from tests.records import metric, record

PROVENANCE = {
    "versions": {"bench": "0.1.0", "python": "3.12.1", "torch": "2.9.0"},
    "git": {"commit": "c" * 40, "dirty": True},
    "device": {"type": "cpu", "name": "Some CPU"},
    "os": "Linux 6",
    "command": ["bench", "run"],
}


def with_baselines(part: RunRecord) -> RunRecord:
    part.protocol.baselines = ["mean-shape", "random"]
    return part


def document(*records: RunRecord) -> str:
    return markdown_document(Runs(records))


def rows_of(text: str, column: int = 1) -> list[str]:
    return [line.split("|")[column].strip() for line in text.splitlines() if line.startswith("| ")]


def few(method: str, *counts: int, **changes: Any) -> RunRecord:
    parts = [metric(float(20 - count), condition={"annotations": count}) for count in counts]
    return record(*parts, method=method, protocol="fewshot", **changes)


def test_it_says_what_it_is_and_how_it_was_made() -> None:
    text = document(record(metric(1.0)))
    assert text.startswith("# Benchmarks\n")
    assert "`bench report --output docs/benchmarks.md`" in text
    assert "| synthetic-faces | procedural data, not photographs |" in text
    assert "regression (quick, version 1) on synthetic-faces: procedural data, not photographs" in text


def test_baselines_are_last_and_marked_even_the_best() -> None:
    methods = {"random": 1.0, "lead": 2.0, "dve": 3.0}
    text = document(*(with_baselines(record(metric(value), method=name)) for name, value in methods.items()))
    table = text.split("\n## regression\n")[1]
    assert rows_of(table)[:5] == ["method", "lead", "dve", "random (baseline)", "mean-shape (baseline)"]
    assert "without mean-shape" in table


def test_conditions_go_across_one_table_a_metric() -> None:
    text = document(few("lead", 5, 10), few("dve", 5))
    (header,) = [line for line in text.splitlines() if "annotations=5" in line]
    assert header.index("annotations=5") < header.index("annotations=10")
    assert "3 of 4 cells measured" in text


def test_a_method_without_a_metric_keeps_its_row_in_its_table() -> None:
    both = record(metric(1.0), metric(1.0, "pck", condition={"t": 1}), metric(2.0, "pck", condition={"t": 2}))
    text = document(both, record(metric(2.0), method="dve"))
    pck = text.split("; pck\n")[1]
    assert rows_of(pck)[:3] == ["method", "lead", "dve"]
    assert "2 of 4 cells measured" in pck


def test_a_curve_is_named_and_left_out() -> None:
    text = document(few("lead", *range(1, 16)))
    assert "nme_interocular: a curve of 15 points, not shown" in text
    assert "annotations=7" not in text


def test_failed_runs_are_counted_and_told() -> None:
    text = document(record(metric(1.0)), record(method="dve", reason="out of memory"))
    assert "| regression | synthetic-faces | 2 | 1 | 1 | 1 |".replace(" ", "") in text.replace(" ", "")
    assert "out of memory" in text


def test_provenance_is_counted_and_holds_no_paths() -> None:
    runs = [record(metric(1.0), seed=seed, provenance=PROVENANCE) for seed in range(3)]
    text = document(*runs, record(metric(1.0), seed=3, provenance={"versions": "broken", "device": None}))
    rows = [line for line in text.split("## Provenance")[1].splitlines() if line.startswith("| ")][1:]
    cells = [[part.strip() for part in row.split("|")[1:-1]] for row in rows]
    assert cells == [
        ["0.1.0", "cccccccccccc and changes", "3.12.1", "2.9.0", "Some CPU", "Linux 6", "3"],
        [*["unknown"] * 6, "1"],
    ]


def test_the_training_cost_of_shipped_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(preset: str, sha256: str) -> ShippedWeights:
        return ShippedWeights(
            method="lead",
            preset=preset,
            file="lead.safetensors",
            bytes=2_500_000,
            sha256=sha256,
            command="bench pretrain",
            options={},
            recipe={},
            dataset="synthetic-faces",
            dataset_options={},
            fingerprints={},
            images=4000,
            seed=0,
            precision="float32",
            seconds=450,
            device="Some GPU",
            bench="0.1.0",
            git_commit=None,
            date=datetime.date(2026, 1, 1),
            feature_difference=0.001,
        )

    shipped = (entry("small", "a" * 64), entry("tiny", "b" * 64))
    monkeypatch.setattr(benchmarks, "shipped_entries", lambda method: shipped)
    text = document(record(metric(1.0), weights="a" * 64)).split("## Training of the weights")[1]
    (_, row) = [line for line in text.splitlines() if line.startswith("| ")][:2]
    assert [part.strip() for part in row.split("|")[1:-1]] == [
        "lead", "small", "4000 images of synthetic-faces", "7.5", "Some GPU", "2.5", "a" * 12,
    ]  # fmt: skip
    assert "tiny" not in text  # nothing measured it


def test_equal_records_give_equal_bytes() -> None:
    runs = [few(name, 5, 10, seed=seed) for name in ("a", "b", "c") for seed in (0, 1)] + [
        record(metric(1.0))
    ]
    expected = document(*runs)
    random.Random(0).shuffle(runs)
    assert document(*runs) == expected


def test_what_a_record_says_is_never_code() -> None:
    text = document(record(metric(1.0), label="<b>|[x](y)", dataset="<i>", method="a|b"))
    assert "<b>" not in text
    assert "<i>" not in text
    assert "](y" not in text.replace(r"\](y", "")


def test_no_records() -> None:
    with pytest.raises(BenchError, match="no runs to write of"):
        document()
