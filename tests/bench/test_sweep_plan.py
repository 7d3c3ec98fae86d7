"""Plans say which cells are done before anything runs; their ids are those of the records that come."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.identity import Identities
from bench.loading import Preprocessing
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.record_index import read_index
from bench.run_request import RunRequest
from bench.runner import run
from bench.shard import Shard
from bench.sweep_plan import SweepPlan, label_of, plan_sweep
from tests.bench.trivial_cells import trivial_request
from tests.bench.world import UNTRAINED_TINY_NETWORK, write_faces

QUIET = Progress.silent()


@pytest.fixture
def trivial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    return trivial_request(tmp_path, monkeypatch)


def planned(requests: list[RunRequest], **changes: object) -> SweepPlan:
    return plan_sweep(requests, Identities(QUIET), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "matching", "protocol_options": ("pairs=4",)},
        {"protocol": "regression", "protocol_options": ("epochs=1",), "seed": 3},
        {"protocol": "matching", "protocol_options": ("pairs=4",), "feature_dtype": "float16"},
        {"protocol": "flops"},
    ],
)
def test_the_id_is_known_before(changes: dict[str, object], tmp_path: Path) -> None:
    request = RunRequest(
        **{
            "method": "random",
            "dataset": DatasetRequest(f"coco:{write_faces(tmp_path / 'faces')}"),
            "preprocessing": Preprocessing(image_size=64),
            "method_options": UNTRAINED_TINY_NETWORK,
            "runs": tmp_path / "runs",
            **changes,
        }  # type: ignore[arg-type]
    )
    before = Identities(QUIET).find(request).record
    identities = Identities(QUIET)
    record = run(request, QUIET).record
    assert before == record.id
    failed = identities.unmeasured(request, "it was killed")
    assert (failed.id, failed.status, failed.reason) == (record.id, "failed", "it was killed")
    assert failed.method == record.method
    assert failed.dataset == record.dataset


def test_done_failed_repeated_and_impossible_cells(trivial: RunRequest) -> None:
    broken = replace(trivial, protocol_options=("fault=raise",))
    run(trivial, QUIET)
    failed = Identities(QUIET).unmeasured(broken, "two apples")
    (trivial.runs / f"{failed.id}.json").write_text(failed.model_dump_json())
    requests = [
        trivial,
        replace(trivial, seed=1),
        replace(trivial, seed=1),
        broken,
        replace(trivial, protocol_options=("falt=raise",)),
        replace(trivial, protocol="matching", dataset=DatasetRequest("coco:/nowhere")),
    ]
    plan = planned(requests)
    states = [one.state for one in plan.cells]
    assert states == ["done", "to do", "repeated", "failed", "cannot run", "cannot run"]
    assert plan.cells[3].reason == "two apples"
    assert "no option 'falt'" in plan.cells[4].reason
    assert "nowhere" in plan.cells[5].reason
    assert [one.state for one in planned(requests, retry=True).cells][3] == "to do"
    # A record that is cut short is no record.
    (record,) = (file for file in trivial.runs.glob("*.json") if file.stem != failed.id)
    record.write_bytes(record.read_bytes()[:100])
    assert planned(requests).cells[0].state == "to do"


def test_a_protocol_that_a_method_cannot_serve(trivial: RunRequest) -> None:
    (cell,) = planned([replace(trivial, protocol="discovered")]).cells
    assert cell.state == "cannot run"
    assert "landmarks" in cell.reason


def test_time_is_estimated_from_the_median_of_earlier_records(trivial: RunRequest) -> None:
    assert planned([trivial]).seconds() == (0, 1)
    for seed, seconds in ((0, 2.0), (1, 4.0), (2, 60.0)):
        record = run(replace(trivial, seed=seed), QUIET)
        content = json.loads(record.path.read_text())
        content["provenance"]["seconds"]["total"] = seconds
        record.path.write_text(json.dumps(content))
    plan = planned([replace(trivial, seed=seed) for seed in range(5)])
    assert plan.seconds() == (8.0, 0)
    assert plan.seconds(places=2) == (4.0, 0)


def test_shards_are_disjoint_and_whole(trivial: RunRequest) -> None:
    requests = [replace(trivial, seed=seed) for seed in range(10)]
    shards = [planned(requests, shard=Shard.parse(f"{index}/3")) for index in (1, 2, 3)]
    seeds = [one.cell.request.seed for shard in shards for one in shard.cells]
    assert sorted(seeds) == list(range(10))
    run(requests[0], QUIET)
    again = planned(requests, shard=Shard(2, 3))
    assert [one.cell.request.seed for one in again.cells] == [
        one.cell.request.seed for one in shards[1].cells
    ]
    for wrong in ("0/3", "4/3", "1", "a/b", "1/0"):
        with pytest.raises(BenchError, match="I/N"):
            Shard.parse(wrong)


def test_the_index_follows_the_folder(trivial: RunRequest) -> None:
    assert read_index(trivial.runs) == {}
    first = run(trivial, QUIET)
    assert read_index(trivial.runs)[first.record.id].protocol == "draw"
    second = run(replace(trivial, seed=1), QUIET)
    first.path.unlink()
    assert set(read_index(trivial.runs)) == {second.record.id}
    (trivial.runs / ".sweep" / "index.json").write_text("{")
    assert set(read_index(trivial.runs)) == {second.record.id}


def test_a_plan_of_many_finished_cells_is_quick(trivial: RunRequest) -> None:
    """A tenth of the size that matters, in a tenth of the time, with an index that is a thousandth out of date."""
    requests = [replace(trivial, seed=seed) for seed in range(10_000)]
    text = run(trivial, QUIET).path.read_text()
    identities = Identities(QUIET)
    for request in requests[:9_900]:
        name = identities.find(request).record
        (trivial.runs / f"{name}.json").write_text(text.replace('"seed": 0', f'"seed": {request.seed}'))
    read_index(trivial.runs)
    changed = trivial.runs / f"{identities.find(requests[5]).record}.json"
    os.utime(changed, (time.time(), time.time() + 5))
    started = time.process_time()
    plan = planned(requests)
    took = time.process_time() - started
    assert plan.counts == {"done": 9_900, "to do": 100}
    assert took < 1.0


def test_a_label_names_a_cell_in_few_words() -> None:
    request = RunRequest(
        "lead",
        "fewshot",
        dataset=DatasetRequest("coco:/somewhere/far/faces"),
        checkpoint=Path("a/b/weights.safetensors"),
        protocol_options=("draws=5",),
        seed=3,
    )
    assert label_of(request) == "lead · b/weights.safetensors · fewshot · draws=5 · coco:faces · seed 3"
    assert label_of(replace(request, checkpoint=None, weights="shipped-faces"), reads_images=False) == (
        "lead · shipped-faces · fewshot · draws=5 · seed 3"
    )
