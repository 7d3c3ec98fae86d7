from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from bench.pruning import KINDS, Kind, leftovers, prune
from bench.store import RunStore
from tests.records import metric, record

ERRORS = {"errors": np.zeros(3)}
DRAWN = {"parts": np.zeros((2, 3, 3), np.uint8)}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def found(store: RunStore, *kinds: Kind) -> set[str]:
    """Names of what would go."""
    return {path.name for leftover in leftovers(store, kinds or KINDS) for path in leftover.paths}


def visible(store: RunStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()} - {".lock"}


def test_a_folder_that_is_clean_or_missing_has_nothing_to_prune(store: RunStore) -> None:
    assert prune(store, KINDS) == []
    assert not store.folder.exists()
    store.save(record(metric(1.0)), ERRORS, DRAWN)
    before = visible(store)
    assert prune(store, KINDS) == []
    assert visible(store) == before


def test_failed_records_go(store: RunStore) -> None:
    good = store.save(record(metric(1.0)), ERRORS)
    bad = store.save(record(seed=1, reason="out of memory"))
    (leftover,) = leftovers(store)
    assert (leftover.kind, leftover.paths, leftover.bytes) == ("failed", (bad,), bad.stat().st_size)
    assert "out of memory" in leftover.what
    assert prune(store) == [leftover]
    assert visible(store) == {good.name, f"{good.stem}.npz"}


def test_a_record_goes_where_a_newer_version_of_its_protocol_measured_the_same(store: RunStore) -> None:
    old = store.save(record(metric(1.0), version=1), ERRORS, DRAWN)
    assert found(store) == set()
    # each of these leaves it alone
    store.save(record(reason="failed", version=2))
    store.save(record(metric(1.0), version=2, seed=1))
    store.save(record(metric(1.0), version=2, weights="b" * 64))
    store.save(record(metric(1.0), version=2, preset="paper", protocol_options={"points": 50, "epochs": 1}))
    store.save(record(metric(1.0), version=2, protocol_options={"points": 10}))
    store.save(record(metric(1.0), version=2, fingerprint="0" * 64))
    assert found(store, "superseded") == set()
    # the same with an option that version 1 did not have
    store.save(record(metric(1.0), version=3, protocol_options={"points": 50, "extra": 1}))
    assert found(store, "superseded") == {old.name, f"{old.stem}.npz", f"{old.stem}.parts.png"}
    (leftover,) = leftovers(store, ["superseded"])
    assert "version 1, superseded by version 3" in leftover.what
    prune(store, ["superseded"])
    assert not old.exists()
    assert found(store, "superseded") == set()


def test_values_and_drawings_without_a_record_go(store: RunStore) -> None:
    path = store.save(record(metric(1.0)), ERRORS, DRAWN)
    broken = store.save(record(metric(1.0), seed=1), ERRORS)
    broken.write_text("{")  # a person should look at it
    path.unlink()
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "figure.png").write_text("mine")
    assert found(store) == {f"{path.stem}.npz", f"{path.stem}.parts.png"}
    prune(store)
    assert visible(store) == {broken.name, f"{broken.stem}.npz", "notes.txt", "figure.png"}


def test_parts_of_runs_that_are_over_go_and_those_of_interrupted_ones_only_when_asked(
    store: RunStore,
) -> None:
    finished = record(metric(1.0))
    store.save(finished)
    interrupted, running, empty = (f"{digit}" * 16 for digit in "123")
    for name in (finished.id, interrupted, running):
        store.partial_folder(name).mkdir(parents=True)
        (store.partial_folder(name) / "step.npz").write_bytes(b"12345")
    store.partial_folder(empty).mkdir()
    home = store.folder / ".partial"
    for name in (finished.id, running, "4" * 16):
        (home / f"{name}.lock").touch()
    with FileLock(home / f"{running}.lock"):
        assert found(store, "partial") == {finished.id, f"{finished.id}.lock", empty, f"{'4' * 16}.lock"}
        assert found(store, "unfinished") == {interrupted}
        prune(store)
        assert {path.name for path in home.iterdir()} == {interrupted, running, f"{running}.lock"}
        assert sum(leftover.bytes for leftover in prune(store, ["unfinished"])) == 5
        assert {path.name for path in home.iterdir()} == {running, f"{running}.lock"}


def test_temporary_files_go_when_nobody_can_be_writing_them(store: RunStore) -> None:
    store.folder.mkdir()
    names = {f".{'0' * 16}.json.{'a' * 16}.tmp", ".probe-123"}
    for name in (*names, ".hidden", "mine.tmp"):
        (store.folder / name).touch()
    assert found(store) == set()
    past = time.time() - 2 * 3600
    for file in store.folder.iterdir():
        os.utime(file, (past, past))
    assert found(store) == names
    prune(store)
    assert visible(store) == {".hidden", "mine.tmp"}


def test_a_link_is_removed_and_not_what_it_leads_to(store: RunStore, tmp_path: Path) -> None:
    store.folder.mkdir()
    (tmp_path / "precious").write_text("x")
    (store.folder / f"{'0' * 16}.npz").symlink_to(tmp_path / "precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("x")
    (store.folder / ".partial").mkdir()
    (store.folder / ".partial" / ("1" * 16)).symlink_to(tmp_path / "folder")
    prune(store, KINDS)
    assert (tmp_path / "precious").exists()
    assert (tmp_path / "folder" / "precious").exists()
    assert not (store.folder / f"{'0' * 16}.npz").is_symlink()
