"""Processes that a launcher has started: who they are, what they tell the user, and what they leave behind."""

from __future__ import annotations

import csv
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from bench.checkpoint import load_state
from bench.distributed import Place, process_count, team_of
from bench.errors import BenchError
from bench.training_cost import read_cost
from bench.weights import read_weights
from tests.bench.world import TINY_NETWORK, TINY_RECIPE, write_faces
from tests.launching import finish, free_port, python, start, torchrun


def _launched(monkeypatch: pytest.MonkeyPatch, **told: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def test_a_process_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _launched(monkeypatch)
    assert Place.from_environment() == Place(0, 1, 0)
    _launched(monkeypatch, RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    with team_of("cpu") as team:
        assert team.is_main
        assert team.from_main(lambda: {"a": 1}) == {"a": 1}
        team.require_same("job", {"a": 1})
        assert process_count() == 1


def test_the_launcher_tells_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    _launched(monkeypatch, RANK="5", WORLD_SIZE="8", LOCAL_RANK="1")
    assert Place.from_environment() == Place(5, 8, 1)
    assert not Place.from_environment().is_main


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a number"),
        ({"WORLD_SIZE": "2"}, "RANK is None, expected a number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 of WORLD_SIZE=2, expected 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "1"}, "process 1 of 2, and MASTER_ADDR is not set"),
    ],
)
def test_a_launch_that_makes_no_sense_is_told(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], message: str
) -> None:
    _launched(monkeypatch, **told)
    with pytest.raises(BenchError, match=message), team_of("cpu"):
        pass


@pytest.mark.parametrize("rank", ["0", "1"])
def test_processes_that_do_not_come_are_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    port = str(free_port())
    _launched(monkeypatch, RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    monkeypatch.setattr("bench.distributed._JOINING", timedelta(seconds=1))
    message = f"this is process {rank} of 2, and .* did not meet the others at 127.0.0.1, port {port}"
    with pytest.raises(BenchError, match=message), team_of("cpu"):
        pass


@pytest.mark.parametrize(
    ("device", "place", "message"),
    [
        ("cuda:1", Place(1, 2, 1), "--device cuda:1 is one GPU, and there are 2 processes"),
        ("cuda", Place(2, 3, 2), "process 2 of this host needs a GPU of its own, and there are 2"),
    ],
)
def test_every_process_needs_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, place: Place, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BenchError, match=message):
        place.device(device)


def test_gpus_are_dealt_out_by_the_number_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Place(3, 4, 1).device("auto") == torch.device("cuda", 1)
    assert Place(3, 4, 1).device("cpu") == torch.device("cpu")
    assert chosen == [1]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"))


def _command(faces: Path, output: Path, *more: str, recipe: str = "") -> list[str]:
    """``recipe`` takes the place of the little world's option of that name."""
    words = ["pretrain", "--method", "lead", "--dataset", f"coco:{faces}", "--output", str(output)]
    words += [word for option in TINY_NETWORK for word in ("-M", option)]
    kept = [option for option in TINY_RECIPE if option.partition("=")[0] != recipe.partition("=")[0]]
    words += [word for option in (*kept, *filter(None, [recipe])) for word in ("-R", option)]
    return [*words, "--precision", "float32", "--device", "cpu", *more]


@pytest.mark.slow
def test_torchrun_trains_writes_once_and_finds_it_again(faces: Path, tmp_path: Path) -> None:
    [(status, printed, errors)] = finish([torchrun(2, "bench", _command(faces, tmp_path, "--quiet"))])
    assert status == 0, errors
    path = tmp_path / "weights.safetensors"
    assert printed.split() == [str(path)]
    assert read_weights(path).provenance["images"] == 16
    # The job is the same in any number of processes; what it took is not.
    assert "processes" not in (tmp_path / "job.json").read_text()
    assert read_cost(tmp_path).device.startswith("2 processes on ")
    assert not list(tmp_path.rglob("*.tmp"))
    results = finish(start(2, "bench", _command(faces, tmp_path)))
    assert [status for status, _, _ in results] == [0, 0]
    assert [printed.split() for _, printed, _ in results] == [[str(path)], []]
    assert sum("finished weights of this very job" in errors for _, _, errors in results) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("batch_sise=4", "has no option 'batch_sise'"),
        ("batch_size=2", "a batch of 2 cannot be shared by 3 processes"),
    ],
)
def test_a_mistake_is_told_once(faces: Path, tmp_path: Path, recipe: str, message: str) -> None:
    results = finish(start(3, "bench", _command(faces, tmp_path, "--quiet", recipe=recipe)))
    assert [status for status, _, _ in results] == [1, 1, 1]
    told = "".join(errors for _, _, errors in results)
    assert told.count(message) == 1
    assert told.count("error: ") == 1
    assert "Traceback" not in told


@pytest.mark.slow
def test_ctrl_c_keeps_the_step_that_all_have_finished(faces: Path, tmp_path: Path) -> None:
    endless = _command(faces, tmp_path, "--quiet", "--snapshot-every", "2", recipe="stage1_epochs=10000")
    job = torchrun(2, "bench", endless)
    deadline = time.monotonic() + 120
    while not (tmp_path / "snapshots" / "stage1-000002.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    [(_, printed, errors)] = finish([job])
    assert errors.count("interrupted; the same command continues where it stopped") == 1
    assert printed == ""
    found = load_state(tmp_path / "stage1.state.safetensors", {}, None)
    assert found is not None
    with (tmp_path / "log.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == found["step"] >= 2


@pytest.mark.slow
def test_processes_that_see_other_data_do_not_train(faces: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "other", seed=1)
    first = _command(faces, tmp_path / "out", "--quiet")
    second = [word.replace(str(faces), str(other)) for word in first]
    results = finish(start(2, "bench", first, second))
    assert {status for status, _, _ in results} == {1}
    told = "".join(errors for _, _, errors in results)
    assert told.count("process 1 sees another pre-training job than process 0: they differ in data") == 1


@pytest.mark.slow
def test_accelerate_launches_it(faces: Path, tmp_path: Path) -> None:
    """Its option for several GPUs starts several processes on a host without any, too."""
    options = ["--multi_gpu", "--num_processes", "2", "--main_process_port", str(free_port())]
    launcher = [*options, "--mixed_precision", "bf16", "-m", "bench"]
    mistaken, right = (
        _command(faces, tmp_path, "--quiet", "--precision", name) for name in ("float32", "bfloat16")
    )
    for command, status in ((mistaken, 1), (right, 0)):
        [(found, _, errors)] = finish([python("accelerate.commands.launch", [*launcher, *command])])
        assert found == status, errors
        told = "accelerate was told --mixed_precision bf16, and this training computes in float32"
        assert errors.count(told) == status
    assert read_weights(tmp_path / "weights.safetensors").provenance["precision"] == "bfloat16"
    assert read_cost(tmp_path).device.startswith("2 processes on ")
