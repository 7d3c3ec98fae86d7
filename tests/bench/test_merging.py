"""Records from other machines: whole or not at all, and never over other numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import bench.files
from bench.errors import BenchError
from bench.merging import merge
from bench.record import RunRecord
from bench.store import RunStore
from tests.bench.test_migrations import FIRST
from tests.records import metric, record

ERRORS = {"errors": np.array([[0.5, 1.25]], dtype=np.float32)}
DRAWN = {"parts": np.zeros((2, 3, 3), np.uint8)}


@pytest.fixture
def here(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "there")


def content(store: RunStore) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.folder.glob("[!.]*"))}


def actions(here: RunStore, *others: RunStore, tolerance: float = 0.0) -> list[str]:
    return [outcome.action for outcome in merge([o.folder for o in others], here, tolerance).outcomes]


def test_a_record_comes_with_its_values_and_drawings_and_keeps_its_age(
    here: RunStore, there: RunStore
) -> None:
    path = there.save(record(metric(1.0)), ERRORS, DRAWN)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    here.save(record(metric(5.0), seed=1), ERRORS)
    before = content(here)
    assert actions(here, there) == ["added"]
    assert content(here) == before | content(there)
    assert (here.folder / path.name).stat().st_mtime == 1_000_000_000
    after = content(here)
    assert actions(here, there) == ["equal"]
    assert content(here) == after


def test_the_record_is_written_last(here: RunStore, there: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    there.save(record(metric(1.0)), ERRORS, DRAWN)
    order: list[str] = []
    write = bench.files.write_atomically

    def spy(path: Path, content: bytes | str) -> None:
        order.append(path.suffix)
        write(path, content)

    monkeypatch.setattr("bench.store.write_atomically", spy)
    merge([there.folder], here)
    assert order == [".npz", ".png", ".json"]


@pytest.mark.parametrize(
    ("present", "incoming", "action", "stays"),
    [
        (record(reason="memory"), record(metric(1.0)), "replaced", False),
        (record(metric(1.0)), record(reason="memory"), "kept", True),
        (record(reason="disk"), record(reason="memory"), "kept", True),
        (
            record(metric(1.0)),
            record(metric(1.0), label="elsewhere", provenance={"threads": 8}),
            "equal",
            True,
        ),
        (record(metric(1.0)), record(metric(1.0 + 1e-15)), "conflict", True),
        (record(metric(1.0)), record(metric(1.0, low=0.5, high=1.5)), "conflict", True),
        (record(metric(1.0)), record(metric(1.0, count=3)), "conflict", True),
        (record(metric(1.0)), record(metric(1.0), metric(2.0, "pck")), "conflict", True),
        (record(metric(1.0)), record(metric(1.0, condition={"annotations": 5})), "conflict", True),
    ],
)
def test_of_two_records_of_the_same_run_one_stays(
    here: RunStore, there: RunStore, present: RunRecord, incoming: RunRecord, action: str, stays: bool
) -> None:
    here.save(present)
    there.save(incoming)
    assert actions(here, there) == [action]
    assert here.find(present.id) == (present if stays else incoming)


def test_a_conflict_says_what_differs(here: RunStore, there: RunStore) -> None:
    here.save(record(metric(1.0, condition={"annotations": 5}), metric(2.0, "pck")))
    there.save(record(metric(1.25, condition={"annotations": 5}), metric(3.0, "pck")))
    (conflict,) = merge([there.folder], here).conflicts
    assert conflict.remark == "nme_interocular annotations=5: 1.0 here, 1.25 there (and 1 more)"


def test_other_values_under_equal_means_are_a_conflict(here: RunStore, there: RunStore) -> None:
    here.save(record(metric(1.0)), {"errors": np.array([0.5, 1.5])})
    there.save(record(metric(1.0)), {"errors": np.array([1.5, 0.5])})
    (conflict,) = merge([there.folder], here).conflicts
    assert conflict.remark == "per-sample values 'errors'"
    np.testing.assert_array_equal(here.per_sample(conflict.record_id)["errors"], [0.5, 1.5])


def test_a_tolerance_is_relative_to_the_larger_value(here: RunStore, there: RunStore) -> None:
    here.save(record(metric(90.0)), {"errors": np.array([90.0])})
    there.save(record(metric(100.0)), {"errors": np.array([100.0])})
    assert actions(here, there, tolerance=0.11) == ["equal"]
    assert actions(here, there, tolerance=0.09) == ["conflict"]


def test_what_was_missing_beside_a_record_is_completed(here: RunStore, there: RunStore) -> None:
    here.save(record(metric(1.0)))
    path = here.save(record(metric(1.0)))
    here.values_file(path.stem).unlink()
    there.save(record(metric(1.0)), ERRORS, DRAWN)
    assert actions(here, there) == ["completed"]
    assert set(here.per_sample(path.stem)) == {"errors"}
    assert list(here.pictures(path.stem)) == ["parts"]


def test_broken_files_are_named_and_the_others_merged(here: RunStore, there: RunStore) -> None:
    whole, without, undrawn = (record(metric(1.0), seed=seed) for seed in range(3))
    for run in (whole, without, undrawn):
        there.save(run, ERRORS, DRAWN)
    there.values_file(without.id).write_bytes(b"no zip")
    there.pictures(undrawn.id)["parts"].write_bytes(b"GIF89a")
    (there.folder / f"{'f' * 16}.json").write_text("{")
    merged = merge([there.folder], here)
    assert [outcome.action for outcome in merged.outcomes] == ["added"] * 3
    assert {problem.file.name for problem in merged.problems} == {
        f"{'f' * 16}.json",
        f"{without.id}.npz",
        f"{undrawn.id}.parts.png",
    }
    assert len(here.load_all()[0]) == 3
    assert set(here.per_sample(whole.id)) == {"errors"}
    assert not here.values_file(without.id).exists()
    assert here.pictures(undrawn.id) == {}
    # the good copy of the same record, from a third machine, fills the gap
    third = RunStore(there.folder.parent / "third")
    third.save(without, ERRORS)
    assert actions(here, third) == ["completed"]


def test_a_broken_record_here_is_replaced(here: RunStore, there: RunStore) -> None:
    path = here.save(record(metric(1.0)))
    path.write_text("{")
    there.save(record(metric(1.0)))
    assert actions(here, there) == ["replaced"]
    assert here.load_all() == ([record(metric(1.0))], [])


def test_several_folders_and_records_of_the_past(here: RunStore, there: RunStore) -> None:
    there.save(record(metric(1.0)))
    assert actions(here, there, RunStore(FIRST), there) == ["added", "added", "equal"]
    (old,), _ = RunStore(FIRST).load_all()
    assert here.find(old.id) == old


def test_mistakes_are_told_before_anything_is_written(here: RunStore, there: RunStore) -> None:
    there.save(record(metric(1.0)))
    with pytest.raises(BenchError, match="not a folder of records"):
        merge([there.folder, there.folder / "typo"], here)
    assert not here.folder.exists()
    with pytest.raises(BenchError, match="is the folder to merge into"):
        merge([there.folder], RunStore(there.folder / ".." / "there"))
