"""Files that nobody's bench wrote: refused and named, or harmless, and never in the way of the others."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.markup import escape

import bench.record_values
from bench.errors import BenchError
from bench.record import SCHEMA_VERSION
from bench.record_file import MAX_RECORD_BYTES
from bench.store import RunStore
from tests.records import metric, record


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def reasons(store: RunStore) -> dict[str, str]:
    return {problem.file.name: problem.reason for problem in store.load_all()[1]}


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


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


WHOLE = edited(lambda data: None)

HOSTILE = {
    "empty": (b"", "not JSON"),
    "truncated": (WHOLE[:200], "not JSON: EOF while parsing"),
    "binary": (b'{"schema_version": "\xff"}', "not JSON: invalid unicode"),
    "half a character": (WHOLE.replace(b'"lead"', b'"\\ud800"'), "not JSON"),
    "two records": (WHOLE * 2, "not JSON: trailing characters"),
    "byte order mark": (b"\xef\xbb\xbf" + WHOLE, "not JSON"),
    "list": (b"[1, 2]", "expected a JSON object, got list"),
    "null": (b"null", "expected a JSON object, got NoneType"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "not JSON: recursion limit"),
    "deep inside": (edited(put("provenance", "x", value=nested(400))), "not JSON: recursion limit"),
    "huge integer": (edited(put("seed", value=2**63)), "seed: Input should be less than 9223372036854775808"),
    "huge count": (edited(put("metrics", 0, "count", value=-(2**80))), "metrics.0.count"),
    "huge in provenance": (
        edited(put("provenance", "x", value=[{"y": 2**64}])),
        "provenance.x.y: a whole number",
    ),
    "huge in an option": (
        edited(put("method", "options", "x", value=2**64)),
        "method.options.x: a whole number",
    ),
    "endless integer": (b'{"schema_version": 1' + b"0" * 5000 + b"}", "not JSON: number out of range"),
    "NaN": (
        edited(put("metrics", 0, "value", value=float("nan"))),
        "metrics.0.value: Input should be a finite",
    ),
    "infinite": (
        edited(put("provenance", "x", value=float("inf"))),
        "provenance.x: inf is not a finite number",
    ),
    "overflowing": (
        edited(put("provenance", "x", value="here")).replace(b'"here"', b"1e999"),
        "provenance.x: inf is not a finite number",
    ),
    "overflowing value": (
        WHOLE.replace(b'"value": 1.0', b'"value": 1e999'),
        "metrics.0.value: Input should be a",
    ),
    "NaN in an option": (
        edited(put("protocol", "options", "x", value=float("nan"))),
        "protocol.options.x: nan",
    ),
    "NaN of the data": (
        edited(put("dataset", "preprocessing", "x", value=float("nan"))),
        "dataset.preprocessing.x",
    ),
    "text for a number": (edited(put("metrics", 0, "value", value="1.0")), "metrics.0.value"),
    "number for a text": (
        edited(put("method", "name", value=7)),
        "method.name: Input should be a valid string",
    ),
    "list for a part": (edited(put("method", value=[])), "method: Input should be"),
    "truth for a seed": (edited(put("seed", value=True)), "seed: Input should be a valid integer"),
    "no method": (edited(lambda data: data.pop("method")), "method: Field required"),
    "unknown field": (edited(put("surprise", value=1)), "surprise: Extra inputs"),
    "unknown field of a part": (
        edited(put("method", "__class__", value="x")),
        "method.__class__: Extra inputs",
    ),
    "unknown direction": (edited(put("metrics", 0, "direction", value="up")), "metrics.0.direction"),
    "terminal codes": (
        edited(put("method", "name", value="\x1b[2Jlead")),
        "method.name: String should match",
    ),
    "carriage return": (
        edited(put("metrics", 0, "metric", value="nme\rpck")),
        "metrics.0.metric: String should",
    ),
    "newer schema": (edited(put("schema_version", value=SCHEMA_VERSION + 1)), "newer than the"),
    "schema of nobody": (edited(put("schema_version", value=0)), "was never written"),
    "endless migration": (edited(put("schema_version", value=-(2**63))), "was never written"),
    "fractional schema": (edited(put("schema_version", value=2.0)), "missing or not a number"),
    "true schema": (edited(put("schema_version", value=True)), "missing or not a number"),
    "no schema": (edited(lambda data: data.pop("schema_version")), "schema_version is missing"),
    "version 1 without parts": (b'{"schema_version": 1}', "not the shape of schema version 1"),
    "version 1 of lists": (
        b'{"schema_version": 1, "method": [1], "protocol": 3}',
        "not the shape of schema version 1",
    ),
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
    with pytest.raises(BenchError, match="no usable record"):
        store.load(name)
    store.save(record(metric(1.0)))
    assert reasons(store) == {}


def test_of_a_key_that_stands_twice_the_last_counts_as_in_every_reader_of_json(store: RunStore) -> None:
    run = record(metric(1.0))
    path = store.save(run)
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 9.0, "value": 1.0'))
    assert store.load_all() == ([run], [])
    assert json.loads(path.read_text())["metrics"][0]["value"] == 1.0


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "<script>alert(1)</script>", "[bold red]x[/bold red]", "=1+1"]
)
def test_a_name_is_text_and_leads_nowhere(store: RunStore, name: str) -> None:
    run = record(metric(1.0), method=name, dataset=name, protocol=name)
    path = store.save(run, {"errors": np.zeros(1)})
    assert path.parent == store.folder
    assert store.load_all() == ([run], [])
    assert sorted(file.parent for file in store.files(run.id)) == [store.folder] * 2
    console = Console(file=io.StringIO(), width=200)
    console.print(escape(run.method.name))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().strip() == name


def test_a_huge_file_is_not_read(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.folder.mkdir()
    with (store.folder / "big.json").open("wb") as stream:
        stream.truncate(MAX_RECORD_BYTES + 1)
    monkeypatch.delattr(Path, "read_bytes")
    assert reasons(store) == {"big.json": "16 MiB is too large for a record"}


def test_things_that_are_no_files(store: RunStore) -> None:
    (store.folder / "folder.json").mkdir(parents=True)
    (store.folder / "dangling.json").symlink_to(store.folder / "nowhere")
    (store.folder / "circle.json").symlink_to(store.folder / "circle.json")
    if hasattr(os, "mkfifo"):
        os.mkfifo(store.folder / "pipe.json")  # reading it would wait for ever
    found = reasons(store)
    assert found["folder.json"] == found["pipe.json"] == "not a regular file"
    assert found["dangling.json"] == "not a regular file: it leads nowhere"
    assert "symbolic links" in found["circle.json"]


def test_a_link_to_a_record_is_read_and_one_to_a_secret_tells_nothing_of_it(
    store: RunStore, tmp_path: Path
) -> None:
    run = record(metric(1.0))
    path = store.save(run)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.load_all() == ([run], [])
    (tmp_path / "secret").write_text("hunter2")
    (store.folder / "link.json").symlink_to(tmp_path / "secret")
    assert "hunter2" not in reasons(store)["link.json"]


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
    for use in (
        store.find,
        store.load,
        store.per_sample,
        store.partial_folder,
        store.clear_partial,
        store.files,
    ):
        with pytest.raises(BenchError, match="no run id"):
            use(name)


def test_values_that_would_fill_the_memory_are_not_unpacked(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record(metric(1.0))
    store.save(run, {"zeros": np.zeros(100_000)})
    assert store.values_file(run.id).stat().st_size < 2_000
    monkeypatch.setattr(bench.record_values, "MAX_UNPACKED_BYTES", 100_000)
    with pytest.raises(BenchError, match="would unpack to"):
        store.per_sample(run.id)


def test_values_that_claim_a_shape_they_have_not(store: RunStore) -> None:
    run = record(metric(1.0))
    store.save(run, {"zeros": np.zeros(4)})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(store.values_file(run.id), "w") as packed:
        packed.writestr("zeros.npy", header.getvalue() + b"\0" * 32)
    with pytest.raises(BenchError, match="cannot read the per-sample values"):
        store.per_sample(run.id)


def test_a_picture_with_a_script_for_a_name_is_not_one_of_the_records(store: RunStore) -> None:
    run = record(metric(1.0))
    store.save(run, pictures={"parts": np.zeros((2, 2, 3), np.uint8)})
    (store.folder / f'{run.id}."><img src=x onerror=alert(1)>.png').write_bytes(b"x")
    (store.folder / f"{run.id}.folder.png").mkdir()
    assert list(store.pictures(run.id)) == ["parts"]
