"""What goes across with --by, over which seeds is averaged, and which ranks are claimed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError
from bench.record import RunRecord
from reports.frame import frame_of
from reports.grid import Cell, Grid
from reports.layout import by_key, by_question
from reports.ranking import with_ranks
from tests.records import metric, record


def grids(*records: RunRecord, by: str | None = None) -> list[Grid]:
    ranked = with_ranks(frame_of(records))
    return list(by_question(ranked, {})) if by is None else by_key(ranked, by)


def few(method: str, seed: int = 0, label: str = "trained", **values: float) -> RunRecord:
    parts = [metric(value, condition={"annotations": int(name[1:])}) for name, value in values.items()]
    return record(*parts, method=method, seed=seed, label=label, protocol="fewshot")


def values(grid: Grid) -> dict[str, list[float | None]]:
    return {
        " ".join(entry.labels): [None if cell is None else cell.value for cell in entry.cells]
        for entry in grid.entries
    }


def with_dim(part: RunRecord, dim: int) -> RunRecord:
    return part.model_copy(update={"method": part.method.model_copy(update={"feature_dim": dim})})


def test_annotations_go_across_in_numeric_order() -> None:
    (grid,) = grids(few("a", n10=3.0, n5=4.0), few("b", n5=2.0), by="annotations")
    assert [column.name for column in grid.columns] == ["annotations=5", "annotations=10"]
    assert values(grid) == {"b trained 64": [2.0, None], "a trained 64": [4.0, 3.0]}
    assert "nme_interocular" in grid.title
    assert "procedural data" in grid.title
    assert str(grid.coverage) == "3 of 4 cells measured"


def test_what_else_a_condition_says_makes_tables() -> None:
    parts = [
        metric(value, condition={"annotations": count, "pairs": pairs})
        for value, count, pairs in [(1.0, 5, "same"), (2.0, 10, "same"), (3.0, 5, "different")]
    ]
    found = grids(record(*parts), by="annotations")
    assert [[cell.value for cell in grid.entries[0].cells if cell] for grid in found] == [[3.0], [1.0, 2.0]]
    assert ["pairs=different" in found[0].title, "pairs=same" in found[1].title] == [True, True]


def test_data_sets_go_across_and_say_what_they_are() -> None:
    (grid,) = grids(
        record(metric(1.0)),
        record(metric(2.0), dataset="other-faces", fingerprint="0" * 64),
        record(metric(3.0), method="random"),
        by="dataset",
    )
    assert [column.name for column in grid.columns] == [
        "other-faces (procedural)",
        "synthetic-faces (procedural)",
    ]
    assert list(values(grid).values()) == [[2.0, 1.0], [None, 3.0]]


def test_two_contents_of_one_data_set_are_two_columns() -> None:
    (grid,) = grids(record(metric(1.0)), record(metric(2.0), fingerprint="0" * 64), by="dataset")
    assert len({column.name for column in grid.columns}) == 2
    assert all(column.name.startswith("synthetic-faces (procedural) ") for column in grid.columns)


def test_dimensions_go_across_though_their_weights_differ() -> None:
    (grid,) = grids(
        *(with_dim(record(metric(10 - i), weights=str(i) * 64), dim) for i, dim in enumerate((64, 128, 256))),
        with_dim(record(metric(8.5), method="dve"), 128),
        by="dimension",
    )
    assert [column.name for column in grid.columns] == ["64-d", "128-d", "256-d"]
    assert values(grid) == {"lead": [10.0, 9.0, 8.0], "dve": [None, 8.5, None]}
    ranks = {entry.labels[0]: [cell and cell.rank for cell in entry.cells] for entry in grid.entries}
    assert ranks == {"lead": [1, 2, 1], "dve": [None, 1, None]}  # within a column, not over all of them


def test_two_networks_of_one_dimension_are_told_apart() -> None:
    (grid,) = grids(
        record(metric(1.0), label="one"), record(metric(2.0), label="two", weights="b" * 64), by="dimension"
    )
    assert values(grid) == {"lead one": [1.0], "lead two": [2.0]}


def test_protocols_go_across() -> None:
    (grid,) = grids(record(metric(1.0)), record(metric(2.0, "pck"), protocol="matching"), by="protocol")
    assert [column.group for column in grid.columns] == ["matching: pck ↓", "regression: nme_interocular ↓"]
    assert list(values(grid).values()) == [[2.0, 1.0]]


def test_a_key_that_nothing_has() -> None:
    with pytest.raises(BenchError, match="no value has a condition called 'anotations'") as error:
        grids(few("a", n5=1.0), by="anotations")
    assert "Did you mean 'annotations'" in str(error.value)


def test_values_without_the_key_are_counted() -> None:
    (grid,) = grids(record(metric(1.0), metric(2.0, condition={"annotations": 5})), by="annotations")
    assert "values without annotations, not shown in any table: 1" in grid.notes


def test_failed_runs_keep_their_row() -> None:
    failed = record(method="random", protocol="fewshot", reason="out of memory")
    (grid,) = grids(few("a", n5=1.0), failed, by="annotations")
    assert [entry.cells for entry in grid.entries if entry.method == "random"] == [(None,)]
    assert str(grid.coverage) == "1 of 2 cells measured, failed runs: 1"
    assert any("out of memory" in note for note in grid.notes)


# --- seeds -----------------------------------------------------------------------------------------


def test_seeds_are_averaged_where_every_cell_has_all_of_them() -> None:
    drawn = {"a": (1.0, 2.0, 6.0), "b": (5.0, 7.0, 9.0)}
    records = [few(name, seed, n5=value) for name, found in drawn.items() for seed, value in enumerate(found)]
    (grid,) = grids(*records, by="annotations")
    found = {entry.method: entry.cells[0] for entry in grid.entries}
    for name, expected in drawn.items():
        cell = found[name]
        assert cell is not None
        assert cell.value == pytest.approx(np.mean(expected))
        assert cell.std == pytest.approx(np.std(expected, ddof=1))
        assert (cell.low, cell.high) == (None, None)
    assert "mean ± standard deviation over 3 seeds: 0, 1, 2" in grid.notes
    # 3 ± 2.65 and 7 ± 2 touch
    assert [cell.open_rank for cell in found.values() if cell] == ["1-2", "1-2"]


@pytest.mark.parametrize("by", [None, "annotations"])
def test_intervals_over_the_images_are_averaged_by_their_ends(by: str | None) -> None:
    bars = {0: (4.0, 3.0, 6.0), 1: (6.0, 5.0, 9.0)}
    records = [
        record(metric(value, condition={"annotations": 5}, low=low, high=high), seed=seed, protocol="fewshot")
        for seed, (value, low, high) in bars.items()
    ]
    (grid,) = grids(*records, by=by)
    (cell,) = grid.entries[0].cells
    assert cell is not None
    assert (cell.value, cell.low, cell.high) == (5.0, 4.0, 7.5)
    assert cell.text(2) == "5.00 ± 1.41 [4.00, 7.50]"


def test_questions_are_averaged_over_seeds_and_ranked_anew() -> None:
    records = [few("a", seed, n5=value) for seed, value in enumerate((1.0, 1.25))]
    records += [few("b", seed, n5=value) for seed, value in enumerate((3.0, 3.25))]
    gap = record(metric(1.0, "other"), method="c", protocol="fewshot")
    failed = few("d").model_copy(update={"status": "failed", "reason": "out of memory", "metrics": []})
    ranked = with_ranks(frame_of([*records, gap, failed]))
    (grid,) = by_question(ranked.assign(value=ranked["value"].where(ranked["metric"] != "other")), {})
    assert "mean ± standard deviation over 2 seeds: 0, 1" in grid.notes
    assert "seed" not in grid.labels
    assert values(grid)["a trained 64"] == [1.125]
    assert values(grid)["b trained 64"] == [3.125]
    assert [entry.method for entry in grid.entries] == ["a", "b", "c", "d"]
    assert [cell.rank for entry in grid.entries for cell in entry.cells if cell] == [1, 2]
    assert any("out of memory" in note for note in grid.notes)


def test_one_missing_seed_and_nothing_is_averaged() -> None:
    records = [few("a", 0, n5=1.0), few("a", 1, n5=3.0), few("b", 0, n5=2.0)]
    (grid,) = grids(*records, by="annotations")
    assert sorted(value for row in values(grid).values() for value in row if value is not None) == [1, 2, 3]
    assert "seed" in grid.labels
    assert any("nothing is averaged" in note for note in grid.notes)


def test_a_method_that_lacks_a_column_is_averaged_where_it_was_measured() -> None:
    records = [few("a", seed, n5=1.0 + seed, n10=3.0 + seed) for seed in (0, 1)]
    records += [few("b", seed, n5=5.0 + seed) for seed in (0, 1)]
    (grid,) = grids(*records, by="annotations")
    assert values(grid) == {"a trained 64": [1.5, 3.5], "b trained 64": [5.5, None]}


def test_networks_are_never_averaged_over() -> None:
    """Two networks of one method and dimension, each with a seed of its own, are not two seeds of one."""
    records = [record(metric(1.0), weights="a" * 64), record(metric(3.0), weights="b" * 64, seed=1)]
    (grid,) = grids(*records, by="dimension")
    assert sorted(row[0] or 0 for row in values(grid).values()) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("ranks", "text"), [((1, 1, 1), ""), ((1, 1, 3), "1-3"), ((2, 2, 3), "2-3"), ((None, None, None), "")]
)
def test_a_rank_is_open_where_error_bars_overlap(ranks: tuple[Any, Any, Any], text: str) -> None:
    assert Cell(1.0, rank=ranks[0], rank_low=ranks[1], rank_high=ranks[2]).open_rank == text
