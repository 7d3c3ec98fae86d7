"""`bench pretrain --all`: every method that has a preset, one after another, and what each training took."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from typer.testing import CliRunner

from bench import pretraining_all, training_cost
from bench.cli import app
from bench.errors import BenchError
from bench.method import Method, Preset, PretrainJob
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain
from bench.pretraining_all import pretrain_all
from bench.progress import Progress
from bench.training_cost import COST_FILE, CostMeter, read_cost, repeating_command
from bench.weights import read_weights
from tests.bench.conforming import TRAINING, Honest
from tests.bench.test_registry import distribute
from tests.bench.world import write_faces

QUIET = Progress.silent()
PRESET = "all-of-us"


class First(Honest):
    name = "first"
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("Long."),
        PRESET: Preset("Short.", recipe=TRAINING),
    }


class Second(First):
    name = "second"


class Fails(First):
    name = "fails"
    works: ClassVar[bool] = False

    def pretrain(self, job: PretrainJob) -> Path:
        if not self.works:
            raise BenchError("stage 'only' diverged")
        return super().pretrain(job)


class Elsewhere(Honest):
    name = "elsewhere"


METHODS: dict[str, type[Method]] = {m.name: m for m in (First, Second, Fails, Elsewhere)}


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    distribute(
        site,
        "methods-of-tests",
        {"methods": {name: f"{__name__}:{m.__name__}" for name, m in METHODS.items()}},
    )
    distribute(site, "broken-methods", {"methods": {"broken": "no_such_module_anywhere:Broken"}})
    monkeypatch.syspath_prepend(str(site))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("world") / "faces")


def _request(faces: Path, output: Path, **changes: Any) -> PretrainRequest:
    content: dict[str, Any] = {
        "method": "", "dataset": DatasetRequest(f"coco:{faces}"), "preset": PRESET, "output": output,
        "precision": "float32", "device": "cpu", **changes,
    }  # fmt: skip
    return PretrainRequest(**content)


def test_every_method_with_the_preset_is_trained_and_what_is_finished_is_kept(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    with pytest.raises(
        BenchError, match=r"1 of 3 methods could not be trained:\s+fails: stage 'only' diverged"
    ):
        pretrain_all(_request(faces, output), QUIET)
    finished = {name: output / name / "weights.safetensors" for name in ("first", "second")}
    written = {name: path.stat().st_mtime_ns for name, path in finished.items()}
    assert not (output / "elsewhere").exists()

    monkeypatch.setattr(Fails, "works", True)
    paths = pretrain_all(_request(faces, output), QUIET)
    assert [read_weights(path).method for path in paths] == ["fails", "first", "second"]
    assert [path.parent.name for path in paths] == ["fails", "first", "second"]
    assert {name: path.stat().st_mtime_ns for name, path in finished.items()} == written


def test_another_job_in_the_same_folders_is_refused(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fails, "works", True)
    pretrain_all(_request(faces, tmp_path), QUIET)
    with pytest.raises(
        BenchError, match=r"3 of 3 methods .*\s+fails: .*another pre-training job.*differs in seed"
    ):
        pretrain_all(_request(faces, tmp_path, seed=1), QUIET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "all-of-them"}, "Did you mean 'all-of-us'"),
        ({"variant": "wide"}, "--variant is for one of them"),
        ({"method_options": ("width=2",), "recipe_options": ("steps=1",)}, "-M and -R is for one of them"),
    ],
)
def test_what_cannot_be_meant_for_all(
    changes: dict[str, Any], message: str, faces: Path, tmp_path: Path
) -> None:
    with pytest.raises(BenchError) as caught:
        pretrain_all(_request(faces, tmp_path / "out", **changes), QUIET)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "works", True)
    words = [
        "pretrain",
        "--all",
        "--preset",
        PRESET,
        "-d",
        f"coco:{faces}",
        "-o",
        str(tmp_path / "out"),
        "-q",
    ]
    done = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert [Path(line).parent.name for line in done.stdout.split()] == ["fails", "first", "second"]
    for wrong in (["pretrain"], ["pretrain", "--all", "--method", "first"]):
        assert "either --method NAME or --all" in str(CliRunner().invoke(app, wrong).exception)


def test_shipped_faces_is_a_preset_of_every_method_that_learns() -> None:
    methods = {method.name: method for method in pretraining_all._methods(QUIET)}
    learners = {"thewlis", "dve", "contrast", "rahaman", "lead", "supervised"}
    assert {name for name, method in methods.items() if "shipped-faces" in method.presets} == learners
    assert all(methods[name].shipped_presets[0] == "shipped-faces" for name in learners)


# --- what a training took ------------------------------------------------------------------------------------------


def test_sittings_add_up_and_a_killed_one_counts_to_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    killed = CostMeter(tmp_path, ["bench", "pretrain"], torch.device("cpu"))
    now[0] += 60
    killed.write()
    now[0] += 5  # not seen by anybody

    def interrupted() -> None:
        with CostMeter(tmp_path, ["bench", "pretrain"], torch.device("cpu")) as meter:
            now[0] += 10
            meter.write()
            now[0] += 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    cost = read_cost(tmp_path)
    assert [sitting.seconds for sitting in cost.sittings] == [60, 12]
    assert cost.seconds == 72
    assert cost.device == cost.sittings[0].device


def test_a_training_writes_its_cost_and_its_command(faces: Path, tmp_path: Path) -> None:
    path = pretrain(_request(faces, tmp_path / "out", method="first", seed=3), QUIET)
    cost = read_cost(path.parent)
    (sitting,) = cost.sittings
    assert sitting.seconds > 0
    assert shlex.split(cost.command) == [
        "bench", "pretrain", "--method", "first", "--preset", PRESET, "--dataset", "coco:.../faces", "--seed", "3",
        "--precision", "float32",
    ]  # fmt: skip
    # Found again, it has not been trained any longer.
    pretrain(_request(faces, tmp_path / "out", method="first", seed=3), QUIET)
    assert read_cost(path.parent) == cost


def test_the_command_repeats_every_choice(tmp_path: Path) -> None:
    request = PretrainRequest(
        "lead", DatasetRequest("mafl", ("train=2020",)), "tiny", variant="no-head", method_options=("dim=8",),
        recipe_options=("temperature=1",), splits=("a", "b"), share=0.25,
    )  # fmt: skip
    assert shlex.join(repeating_command(request, "bfloat16")) == (
        "bench pretrain --method lead --preset tiny --variant no-head --dataset mafl -D train=2020 -M dim=8 "
        "-R temperature=1 --split a --split b --share 0.25 --seed 0 --precision bfloat16"
    )


@pytest.mark.parametrize(
    ("sittings", "now", "expected"),
    [
        ([({"commit": "a", "dirty": False}, "x")], None, "a"),
        ([({"commit": "a", "dirty": False}, "x"), ({"commit": "b", "dirty": False}, "y")], None, None),
        ([({"commit": "a", "dirty": True}, "x")], None, None),
        ([(None, "now")], {"commit": "c", "dirty": False}, "c"),
        ([({"commit": "a", "dirty": True}, "now")], {"commit": "c", "dirty": False}, "c"),
        ([(None, "now")], {"commit": "c", "dirty": True}, None),
        ([(None, "x")], {"commit": "c", "dirty": False}, None),
        ([(None, "now"), (None, "x")], {"commit": "c", "dirty": False}, None),
    ],
)
def test_the_commit_is_told_only_where_the_sources_are_its(
    sittings: list[tuple[Any, str]], now: Any, expected: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(training_cost, "git_state", lambda: now)
    monkeypatch.setattr(training_cost, "sources_sha256", lambda: "now")
    common = {"started": "2030-01-01T00:00:00Z", "seconds": 1.0, "device": "cpu", "bench": "1"}
    content = [{**common, "git": git, "sources_sha256": sources} for git, sources in sittings]
    (tmp_path / COST_FILE).write_text(json.dumps({"command": "bench pretrain", "sittings": content}))
    assert read_cost(tmp_path).commit == expected
