from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.record import SCHEMA_VERSION
from bench.store import MAX_RECORD_BYTES, RunStore
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


# --- hostile files --------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = record(metric(1.0)).model_dump(mode="json")
    change(data)
    return json.dumps(data).encode()


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


HOSTILE = {
    "empty": (b"", "not JSON"),
    "truncated": (edited(lambda data: None)[:200], "not JSON"),
    "binary": (b'{"schema_version": "\xff"}', "not the JSON of a record"),
    "list": (b"[1, 2]", "expected a JSON object, got list"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "not the JSON of a record"),
    "huge integer": (edited(put("seed", value=2**63)), "more than 64 bits"),
    "endless integer": (b'{"schema_version": 1' + b"0" * 5000 + b"}", "not the JSON of a record"),
    "NaN": (edited(put("metrics", 0, "value", value=float("nan"))), "NaN is not a finite number"),
    "infinite": (edited(put("provenance", "x", value=float("inf"))), "Infinity is not a finite number"),
    "overflowing": (b'{"schema_version": 1e999}', "1e999 is not a finite number"),
    "text for a number": (edited(put("metrics", 0, "value", value="1.0")), "metrics.0.value"),
    "no method": (edited(lambda data: data.pop("method")), "method: Field required"),
    "unknown field": (edited(put("surprise", value=1)), "surprise: Extra inputs"),
    "unknown direction": (edited(put("metrics", 0, "direction", value="up")), "metrics.0.direction"),
    "newer schema": (edited(put("schema_version", value=SCHEMA_VERSION + 1)), "newer than the"),
    "older schema": (edited(put("schema_version", value=0)), "no longer read"),
    "no schema": (edited(lambda data: data.pop("schema_version")), "schema_version is missing"),
    "edited identity": (edited(put("seed", value=1)), "renamed or edited"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_reported_and_stops_nothing(store: RunStore, content: bytes, reason: str) -> None:
    good = record(metric(2.0), seed=3)
    store.save(good)
    name = record(metric(1.0)).id
    (store.folder / f"{name}.json").write_bytes(content)
    assert store.load_all()[0] == [good]
    assert set(reasons(store)) == {f"{name}.json"}
    assert reason in reasons(store)[f"{name}.json"]
    assert store.find(name) is None
    store.save(record(metric(1.0)))
    assert reasons(store) == {}


def test_a_huge_file_is_not_read(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.folder.mkdir()
    with (store.folder / "big.json").open("wb") as stream:
        stream.truncate(MAX_RECORD_BYTES + 1)
    monkeypatch.delattr(Path, "read_bytes")
    assert reasons(store) == {"big.json": "16 MiB is too large for a record"}


def test_things_that_are_no_files(store: RunStore) -> None:
    (store.folder / "folder.json").mkdir(parents=True)
    (store.folder / "dangling.json").symlink_to(store.folder / "nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(store.folder / "pipe.json")  # reading it would wait for ever
    assert set(reasons(store).values()) == {"not a regular file"}


def test_a_renamed_record_is_reported_by_its_own_id(store: RunStore) -> None:
    run = record(metric(1.0))
    path = store.save(run)
    path.rename(store.folder / "mine.json")
    assert run.id in reasons(store)["mine.json"]


def test_files_of_others_are_left_alone(store: RunStore) -> None:
    store.folder.mkdir()
    for name in ("notes.txt", f".{'0' * 16}.json.tmp", ".hidden.json"):
        (store.folder / name).write_text("x")
    assert store.load_all() == ([], [])


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 16, "0" * 15, "0" * 16 + "\n"])
def test_an_id_cannot_leave_the_folder(store: RunStore, name: str) -> None:
    for use in (store.find, store.per_sample, store.partial_folder, store.clear_partial):
        with pytest.raises(BenchError, match="no run id"):
            use(name)


# --- what is written ------------------------------------------------------------------------------


def test_a_value_that_became_nan_is_not_written(store: RunStore) -> None:
    run = record(metric(1.0))
    run.metrics[0].value = float("nan")
    with pytest.raises(BenchError, match="NaN is not a finite number"):
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
