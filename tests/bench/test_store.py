from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.store import RunStore
from tests.records import metric, record

ROOT = Path(__file__).resolve().parents[2]
ERRORS = {"errors": np.array([[0.5, 1.25]], dtype=np.float32), "ids": np.array(["face-ü"])}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def reasons(store: RunStore) -> dict[str, str]:
    return {problem.file.name: problem.reason for problem in store.load_all()[1]}


def test_saves_and_finds(store: RunStore) -> None:
    run = record(metric(3.25, low=3.0, high=3.5, count=200), provenance={"torch": "2.6"})
    path = store.save(run, ERRORS)
    assert path == store.folder / f"{run.id}.json"
    assert store.find(run.id) == run
    assert store.load_all() == ([run], [])
    found = store.per_sample(run.id)
    assert set(found) == set(ERRORS)
    for name, array in ERRORS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_record_without_data_and_with_pictures(store: RunStore) -> None:
    costs = record().model_copy(update={"dataset": None})
    drawing = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    store.save(costs, pictures={"clusters": drawing})
    assert store.find(costs.id) == costs
    ((name, file),) = store.pictures(costs.id).items()
    assert name == "clusters"
    assert np.array_equal(np.asarray(Image.open(file)), drawing)
    assert store.load_all() == ([costs], [])


@pytest.mark.parametrize("drawing", [np.zeros((4, 5)), np.zeros((4, 5, 3)), np.zeros((4, 5, 4), np.uint8)])
def test_a_picture_of_another_kind_is_refused(store: RunStore, drawing: np.ndarray[Any, Any]) -> None:
    with pytest.raises(BenchError, match="expected uint8"):
        store.save(record(), pictures={"drawn": drawing})


def test_an_empty_or_missing_folder_holds_nothing(store: RunStore) -> None:
    assert store.load_all() == ([], [])
    assert store.find("0" * 16) is None
    store.folder.mkdir()
    assert store.load_all() == ([], [])


def test_records_come_in_one_order(store: RunStore) -> None:
    runs = [record(metric(float(seed)), seed=seed) for seed in range(5)]
    for run in runs:
        store.save(run)
    assert [run.id for run in store.load_all()[0]] == sorted(run.id for run in runs)


# --- failed records -------------------------------------------------------------------------------


def test_a_failed_record_is_replaced_by_an_ok_one(store: RunStore) -> None:
    run = record(metric(1.0))
    store.save(record(reason="out of memory"))
    failed = store.find(run.id)
    assert failed is not None
    assert (failed.status, failed.reason) == ("failed", "out of memory")
    store.save(run, ERRORS)
    assert store.find(run.id) == run
    assert set(store.per_sample(run.id)) == set(ERRORS)


def test_an_ok_record_is_not_replaced_by_a_failed_one(store: RunStore) -> None:
    run = record(metric(1.0))
    store.save(run, ERRORS)
    store.save(record(reason="out of memory"))
    assert store.find(run.id) == run
    assert set(store.per_sample(run.id)) == set(ERRORS)


def test_a_failed_record_replaces_a_failed_one_and_a_broken_one(store: RunStore) -> None:
    path = store.save(record(reason="first"))
    for content in (path.read_text(), "{"):
        path.write_text(content)
        store.save(record(reason="second"))
        found = store.find(path.stem)
        assert found is not None
        assert found.reason == "second"


# --- interruptions --------------------------------------------------------------------------------


def test_values_are_written_before_the_record(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record(metric(1.0))
    order: list[str] = []
    replace = Path.replace

    def spy(self: Path, target: Path) -> Path:
        order.append(target.suffix)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    store.save(run, ERRORS)
    assert order == [".npz", ".json"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("fsyncs", [1, 2], ids=["while writing values", "while writing the record"])
def test_a_killed_writer_leaves_no_record_and_no_obstacle(store: RunStore, fsyncs: int) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from bench.store import RunStore
        from tests.records import metric, record
        calls = []
        def fsync(handle):
            calls.append(handle)
            if len(calls) == {fsyncs}:
                os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = fsync
        RunStore(Path({str(store.folder)!r})).save(record(metric(1.0)))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert any(path.suffix == ".tmp" for path in store.folder.iterdir())
    assert store.load_all() == ([], [])
    run = record(metric(1.0))
    assert store.find(run.id) is None
    store.save(run, ERRORS)
    assert store.load_all() == ([run], [])


def test_two_processes_may_save_the_same_record(store: RunStore) -> None:
    script = f"""
        import sys
        from pathlib import Path
        import numpy as np
        from bench.store import RunStore
        from tests.records import metric, record
        store = RunStore(Path({str(store.folder)!r}))
        run = record(metric(1.0)) if sys.argv[1] == "ok" else record(reason="out of memory")
        for _ in range(10):
            store.save(run, {{"errors": np.zeros((50, 10))}})
            assert store.load_all()[1] == []
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    workers = [subprocess.Popen([*command, kind], cwd=ROOT) for kind in ("ok", "ok", "failed")]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    run = record(metric(1.0))
    assert store.load_all() == ([run], [])
    assert store.per_sample(run.id)["errors"].shape == (50, 10)


def test_a_full_disk_is_reported_and_keeps_what_was_there(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old = record(metric(1.0), seed=1)
    store.save(old, ERRORS)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchError, match="No space left on device"):
        store.save(record(metric(2.0)), ERRORS)
    assert store.load_all() == ([old], [])
    assert not [path for path in store.folder.iterdir() if path.suffix == ".tmp"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BenchError, match="cannot write records"):
        RunStore(tmp_path / "runs" / "inside").save(record(metric(1.0)))
    with pytest.raises(BenchError, match="not a folder"):
        RunStore(tmp_path / "runs").load_all()


def test_finished_parts_have_a_folder_of_their_own(store: RunStore) -> None:
    run = record(metric(1.0))
    folder = store.partial_folder(run.id)
    assert folder == store.folder / ".partial" / run.id
    store.clear_partial(run.id)  # nothing there yet
    folder.mkdir(parents=True)
    (folder / "step.npz").write_bytes(b"x")
    assert store.load_all() == ([], [])
    store.clear_partial(run.id)
    assert not folder.exists()


# --- what is written ------------------------------------------------------------------------------


def test_a_value_that_became_nan_is_not_written(store: RunStore) -> None:
    run = record(metric(1.0))
    run.metrics[0].value = float("nan")
    with pytest.raises(BenchError, match="finite number"):
        store.save(run, ERRORS)
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"errors": np.array([1.0, np.nan])}, "not all finite"),
        ({"errors": np.array([np.inf], dtype=np.float16)}, "not all finite"),
        ({"things": np.array([{}], dtype=object)}, "Python objects"),
        ({"../up": np.zeros(1)}, "cannot name"),
        ({"file": np.zeros(1)}, "cannot name"),
    ],
)
def test_values_that_cannot_be_stored(
    store: RunStore, arrays: dict[str, np.ndarray[Any, Any]], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        store.save(record(metric(1.0)), arrays)
    assert store.load_all() == ([], [])


def test_missing_and_broken_values(store: RunStore, tmp_path: Path) -> None:
    run = record(metric(1.0))
    with pytest.raises(BenchError, match="no per-sample values"):
        store.per_sample(run.id)
    store.save(run, ERRORS)
    path = store.folder / f"{run.id}.npz"
    whole = path.read_bytes()
    np.savez(tmp_path / "pickled.npz", errors=np.array([{}], dtype=object))
    pickled = (tmp_path / "pickled.npz").read_bytes()
    for content in (b"", whole[:100], whole[:60] + b"\x00" * 20 + whole[80:], b"not a zip", pickled):
        path.write_bytes(content)
        with pytest.raises(BenchError, match="cannot read the per-sample values"):
            store.per_sample(run.id)
    assert store.load_all() == ([run], [])
