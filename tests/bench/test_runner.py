"""One cell from names to a record, interrupted and continued, through the public command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import network
from bench.errors import BenchError
from bench.loading import Preprocessing
from bench.method import Preset
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.runner import RunRequest, baseline_requests, run
from bench.store import RunStore
from methods.lead import LEAD
from protocols.matching import Matching
from tests.bench.world import TINY_NETWORK, TINY_RECIPE, UNTRAINED_TINY_NETWORK, write_faces

QUIET = Progress.silent()
FEWSHOT = ("counts=[1,5]", "draws=2", "copies=10", "epochs=2")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def three_splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train, val and test, and one that nobody asks for."""
    folder = write_faces(tmp_path_factory.mktemp("three"))
    others = write_faces(tmp_path_factory.mktemp("others"), train=6, val=4, seed=1)
    (others / "train").rename(folder / "test")
    (others / "val").rename(folder / "spare")
    return folder


@pytest.fixture(scope="module")
def checkpoint(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(_pretraining(faces, tmp_path_factory.mktemp("weights")), QUIET)


def _pretraining(faces: Path, output: Path, **changes: Any) -> PretrainRequest:
    content: dict[str, Any] = {
        "method": "lead",
        "dataset": DatasetRequest(f"coco:{faces}"),
        "method_options": TINY_NETWORK,
        "recipe_options": TINY_RECIPE,
        "output": output,
        "precision": "float32",
        **changes,
    }
    return PretrainRequest(**content)


def _request(faces: Path, runs: Path, **changes: Any) -> RunRequest:
    content: dict[str, Any] = {
        "method": "random",
        "protocol": "matching",
        "dataset": DatasetRequest(f"coco:{faces}"),
        "preprocessing": Preprocessing(image_size=64),
        "method_options": UNTRAINED_TINY_NETWORK,
        "runs": runs,
        **changes,
    }
    return RunRequest(**content)


@pytest.mark.parametrize(
    ("protocol", "options"),
    [("matching", ("pairs=4",)), ("regression", ("epochs=2",)), ("fewshot", FEWSHOT)],
)
def test_every_protocol_measures_every_method(
    protocol: str, options: tuple[str, ...], faces: Path, checkpoint: Path, tmp_path: Path
) -> None:
    trained = run(
        _request(
            faces, tmp_path, method="lead", checkpoint=checkpoint, method_options=(), protocol=protocol,
            protocol_options=options,
        ),
        QUIET,
    ).record  # fmt: skip
    untrained = run(
        _request(
            faces, tmp_path, like=checkpoint, method_options=(), protocol=protocol, protocol_options=options
        ),
        QUIET,
    ).record
    assert trained.status == untrained.status == "ok"
    assert trained.method.feature_dim == untrained.method.feature_dim == 8
    assert trained.id != untrained.id
    assert untrained.method.options["network"] == "lead"
    assert untrained.method.options["options"] == trained.method.options
    for record in (trained, untrained):
        assert record.metrics
        assert all(np.isfinite(part.value) for part in record.metrics)
        for part in record.metrics:
            assert part.low is not None
            assert part.high is not None
            assert part.low <= part.value <= part.high
        assert "errors" in " ".join(RunStore(tmp_path).per_sample(record.id))


BEST_EPOCH = ("epochs=3", "select_epoch=best_on_validation")


def test_a_validation_split_is_read_where_the_options_ask_for_it(
    faces: Path, three_splits: Path, tmp_path: Path
) -> None:
    request = _request(three_splits, tmp_path, protocol="regression", protocol_options=BEST_EPOCH)
    record = run(request, QUIET).record
    assert record.dataset is not None
    assert record.dataset.splits == {"test": "test", "train": "train", "validation": "val"}
    assert record.dataset.counts == {"test": 6, "train": 16, "validation": 8}
    stored = RunStore(tmp_path).per_sample(record.id)
    assert stored["chosen_epoch"] == stored["validation_scores"].argmax() + 1
    assert record.notes[-1].endswith(f"by nme_interocular, of 3: {stored['chosen_epoch']}")
    # What is validated on is part of what the record is about.
    other = run(replace(request, validation_split="spare"), QUIET).record
    assert other.id != record.id
    assert other.dataset is not None
    assert other.dataset.splits["validation"] == "spare"
    plain = run(replace(request, protocol_options=("epochs=3",)), QUIET).record
    assert plain.dataset is not None
    assert plain.dataset.splits == {"test": "test", "train": "train"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_split": "vale"}, "has no split 'vale'"),
        ({"validation_split": "train"}, "validation split is that of role train: 'train'"),
        ({"validation_split": "test"}, "validation split is that of role test: 'test'"),
        ({"test_split": "val"}, "validation split is that of role test: 'val'"),
    ],
)
def test_validation_splits_that_cannot_be(
    changes: dict[str, Any], message: str, three_splits: Path, tmp_path: Path
) -> None:
    request = _request(three_splits, tmp_path, protocol="regression", protocol_options=BEST_EPOCH, **changes)
    with pytest.raises(BenchError, match=message):
        run(request, QUIET)


def test_a_data_set_without_a_validation_split(faces: Path, tmp_path: Path) -> None:
    request = _request(faces, tmp_path, protocol="fewshot", preset="birds")
    with pytest.raises(BenchError, match="its splits are train, val") as caught:
        run(request, QUIET)
    assert "--validation-split" in str(caught.value)


def test_a_finished_cell_is_not_measured_again(faces: Path, tmp_path: Path) -> None:
    request = _request(faces, tmp_path, protocol_options=("pairs=4",))
    first, second = run(request, QUIET), run(request, QUIET)
    assert not first.reused
    assert second.reused
    assert second.record == first.record


def test_baselines_are_measured_beside_the_method(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    changes = {"method": "lead", "checkpoint": checkpoint, "method_options": ()}
    request = _request(faces, tmp_path, protocol="regression", protocol_options=("epochs=1",), **changes)
    lead = run(request, Progress.silent()).record
    wanted = baseline_requests(request, lead)
    shape, random = (run(part, Progress.silent()).record for part in wanted)
    assert [part.method.name for part in (shape, random)] == ["mean-shape", "random"]
    assert random.method.options["options"] == lead.method.options
    assert lead.protocol == shape.protocol == random.protocol
    assert lead.dataset == shape.dataset == random.dataset
    assert [part.method for part in baseline_requests(wanted[0], shape)] == []  # a shape cannot be untrained


def test_results_do_not_depend_on_batch_size(faces: Path, tmp_path: Path) -> None:
    values = []
    for batch_size in (1, 3, 64):
        request = _request(
            faces, tmp_path / str(batch_size), protocol="fewshot", protocol_options=FEWSHOT,
            batch_size=batch_size,
        )  # fmt: skip
        record = run(request, QUIET).record
        values.append([part.value for part in record.metrics])
    np.testing.assert_allclose(values[1], values[0], rtol=1e-3)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-3)


def test_method_options_and_seed_make_other_records(faces: Path, tmp_path: Path) -> None:
    ids = {
        run(_request(faces, tmp_path, protocol_options=("pairs=4",), **changes), QUIET).record.id
        for changes in (
            {},
            {"seed": 1},
            {"method_options": [*UNTRAINED_TINY_NETWORK, "init_seed=1"]},
            {"preprocessing": Preprocessing(image_size=32)},
        )
    }
    assert len(ids) == 4


def test_without_weights_the_default_preset_is_trained_once(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(network, "DEFAULT_DATASET", f"coco:{faces}")
    tiny = Preset("tiny", dict(o.split("=") for o in TINY_NETWORK), dict(o.split("=") for o in TINY_RECIPE))
    monkeypatch.setitem(LEAD.presets, "tiny", tiny)
    monkeypatch.setattr(LEAD, "shipped_presets", ())
    request = _request(
        faces, tmp_path / "runs", method="lead", method_options=(), protocol_options=("pairs=4",)
    )
    first = run(request, QUIET)
    assert first.record.method.weights_label.startswith("tiny preset, trained on 16 images of coco:")
    (weights,) = (tmp_path / "cache").rglob("weights.safetensors")
    written = weights.stat().st_mtime_ns
    again = run(replace(request, runs=tmp_path / "other"), QUIET)
    assert weights.stat().st_mtime_ns == written
    assert again.record.metrics == first.record.metrics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "randon"}, "Did you mean 'random'"),
        ({"protocol": "matchin"}, "Did you mean 'matching'"),
        ({"preset": "papers"}, "Did you mean 'paper'"),
        ({"protocol_options": ("pair=3",)}, "Did you mean 'pairs'"),
        ({"protocol_options": ("pairs=many",)}, "pairs"),
        ({"method_options": ("depth=3",)}, "no option 'depth'"),
        ({"method_options": ('options={"depth":3}',)}, "no option 'depth'"),
        ({"method_options": ("network=randon",)}, "Did you mean 'random'"),
        ({"dataset": DatasetRequest("coco:/nowhere/at/all")}, "nowhere"),
        ({"dataset": DatasetRequest("coco")}, "needs a location"),
        ({"dataset": DatasetRequest("synthetic-face")}, "Did you mean 'synthetic-faces'"),
        ({"test_split": "vale"}, "Did you mean 'val'"),
        ({"test_split": "train", "protocol": "regression"}, "are the same"),
        ({"device": "gpu"}, "no device is called 'gpu'"),
        ({"checkpoint": Path("nothing.safetensors")}, "takes no weights"),
        ({"method": "lead", "checkpoint": Path("nothing.safetensors")}, "no weights at"),
        ({"preprocessing": Preprocessing(image_size=66)}, "multiples of 4"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    changes: dict[str, Any], message: str, faces: Path, tmp_path: Path
) -> None:
    with pytest.raises(BenchError) as caught:
        run(_request(faces, tmp_path, **changes), QUIET)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("*.json"))


def test_a_checkpoint_of_another_architecture(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    request = _request(faces, tmp_path, method="lead", checkpoint=checkpoint, method_options=("width=16",))
    with pytest.raises(BenchError, match="another architecture"):
        run(request, QUIET)


def test_an_unwritable_output_folder(faces: Path, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(BenchError, match="cannot write"):
        run(_request(faces, blocker / "runs"), QUIET)
    with pytest.raises(BenchError, match="cannot write"):
        pretrain(_pretraining(faces, blocker / "weights"), QUIET)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces")
    victim = folder / "val" / "images" / "003.png"
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(BenchError, match=r"003\.png"):
        run(_request(folder, tmp_path / "runs"), QUIET)


def test_a_failed_measurement_is_a_record(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BenchError("the similarity is not finite")

    monkeypatch.setattr(Matching, "measure", fail)
    with pytest.raises(BenchError, match="not finite"):
        run(_request(faces, tmp_path), QUIET)
    (record,), problems = RunStore(tmp_path).load_all()
    assert not problems
    assert (record.status, record.reason, record.metrics) == ("failed", "the similarity is not finite", [])
    monkeypatch.undo()
    assert run(_request(faces, tmp_path), QUIET).record.status == "ok"


def test_pretraining_refuses_to_mix_two_jobs(faces: Path, tmp_path: Path) -> None:
    first = pretrain(_pretraining(faces, tmp_path), QUIET)
    content = first.read_bytes()
    assert pretrain(_pretraining(faces, tmp_path), QUIET).read_bytes() == content
    with pytest.raises(BenchError, match="differs in seed"):
        pretrain(_pretraining(faces, tmp_path, seed=1), QUIET)
    with pytest.raises(BenchError, match="has no preset 'huge'"):
        pretrain(_pretraining(faces, tmp_path / "b", preset="huge"), QUIET)
    with pytest.raises(BenchError, match="nothing to pre-train"):
        pretrain(_pretraining(faces, tmp_path / "c", method="random", method_options=()), QUIET)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench", *words]


def _killed_at_random(command: list[str], environment: dict[str, str], moments: list[float]) -> int:
    """Start a command and SIGKILL it after each of the given seconds; then let it finish."""
    kills = 0
    for seconds in moments:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return kills


@pytest.mark.slow
def test_killed_runs_and_trainings_continue(faces: Path, tmp_path: Path) -> None:
    """SIGKILL at several moments of `bench pretrain` and of `bench run`; the results are those of one go."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    recipe = [word for item in (*TINY_RECIPE, "stage1_epochs=40", "stage2_epochs=20") for word in ("-R", item)
              if not (item in TINY_RECIPE and item.startswith(("stage1_epochs", "stage2_epochs")))]  # fmt: skip
    network = [word for item in TINY_NETWORK for word in ("-M", item)]
    outputs = {}
    for name, moments in (("once", []), ("killed", [4.0, 5.0, 6.0, 7.0])):
        folder = tmp_path / name
        train = _command(
            "pretrain", "-m", "lead", "-d", f"coco:{faces}", *network, *recipe, "-o", str(folder), "-q"
        )
        _killed_at_random(train, environment, moments)
        weights = folder / "weights.safetensors"
        measure = _command(
            "run", "-m", "lead", "-p", "fewshot", "-d", f"coco:{faces}", "-c", str(weights), "-q",
            "--image-size", "64", "-P", "counts=[1,5,10]", "-P", "epochs=40", "-P", "copies=60",
            "--runs", str(folder / "runs"),
        )  # fmt: skip
        _killed_at_random(measure, environment, moments)
        (record,), _ = RunStore(folder / "runs").load_all()
        outputs[name] = (weights.read_bytes(), record)
    assert outputs["killed"][0] == outputs["once"][0]
    once, killed = outputs["once"][1], outputs["killed"][1]
    assert killed.id == once.id
    assert killed.metrics == once.metrics


def test_ctrl_c_says_that_the_work_continues(faces: Path, tmp_path: Path) -> None:
    network = [word for item in TINY_NETWORK for word in ("-M", item)]
    recipe = [word for item in (*TINY_RECIPE[:5], "stage1_epochs=100000") for word in ("-R", item)]
    words = _command(
        "pretrain", "-m", "lead", "-d", f"coco:{faces}", *network, *recipe, "-o", str(tmp_path),
        "--snapshot-every", "5",
    )  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "snapshots" / "stage1-000005.safetensors").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in rest
    assert "Traceback" not in rest
    assert (tmp_path / "stage1.state.safetensors").is_file()


def test_the_command_line_prints_one_clear_message(faces: Path, tmp_path: Path) -> None:
    words = _command("run", "-m", "lead", "-p", "fewshoot", "-d", f"coco:{faces}", "--runs", str(tmp_path))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Did you mean 'fewshot'" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_output_is_the_record(faces: Path, tmp_path: Path) -> None:
    words = _command(
        "run", "-m", "random", "-p", "matching", "-d", f"coco:{faces}", "--runs", str(tmp_path), "--json",
        "-q", "-P", "pairs=4", "--image-size", "64", *[w for o in UNTRAINED_TINY_NETWORK for w in ("-M", o)],
    )  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (record,), _ = RunStore(tmp_path).load_all()
    assert json.loads(done.stdout) == record.model_dump(mode="json")
