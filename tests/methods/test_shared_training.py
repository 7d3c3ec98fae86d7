"""Two processes train as one does, method by method; whoever is killed, any number of processes continues."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checkpoint import load_state
from bench.weights import read_weights
from tests.killing import KilledError, Killer
from tests.launching import finish, start, torchrun
from tests.methods.shared_trainings import TRAININGS

WORKER = "tests.methods.shared_trainings"
TOLERANCE = 1e-4
HALF_PRECISION = {"lead-bfloat16": 0.1}  # of a loss of about 7, of which bfloat16 has three digits
TWENTY_STEPS = ("lead-byol", "contrast-moco", "contrast-nt_xent")
SHORT = ("lead-byol", "contrast-moco")
NAMES = [name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in TRAININGS]


def _curve(folder: Path) -> dict[tuple[str, int], float]:
    with (folder / "log.csv").open(newline="") as stream:
        return {(row["stage"], int(row["step"])): float(row["loss"]) for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What two processes have left of a training; the short ones run in one launch, all others in another."""
    launched: dict[bool, Path] = {}

    def folder(name: str) -> Path:
        short = name in SHORT
        if short not in launched:
            launched[short] = tmp_path_factory.mktemp("two")
            names = [name for name in TRAININGS if (name in SHORT) is short]
            [(status, _, errors)] = finish([torchrun(2, WORKER, [str(launched[short]), *names])])
            assert status == 0, errors
        return launched[short] / name

    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one(name: str, together: Callable[[str], Path], tmp_path: Path) -> None:
    alone = read_weights(TRAININGS[name].run(tmp_path))
    one, two = _curve(tmp_path), _curve(together(name))
    assert one.keys() == two.keys()
    tolerance = HALF_PRECISION.get(name, TOLERANCE)
    # Thewlis et al. weigh a term by 500, so its loss is in the thousands.
    assert two == {step: pytest.approx(loss, abs=tolerance, rel=1e-5) for step, loss in one.items()}
    if name in TWENTY_STEPS:
        assert max(step for stage, step in one if stage == "stage1") == 20
    shared = read_weights(together(name) / "weights.safetensors")
    assert shared.options == alone.options
    assert shared.provenance == alone.provenance
    for key, tensor in alone.tensors.items():
        if "running_" in key and name not in HALF_PRECISION:
            torch.testing.assert_close(shared.tensors[key], tensor, rtol=1e-3, atol=1e-3)
        elif "num_batches" in key:
            assert torch.equal(shared.tensors[key], tensor)


@pytest.mark.parametrize("name", ["lead-byol", pytest.param("contrast-nt_xent", marks=pytest.mark.slow)])
def test_the_tolerance_is_small_beside_what_is_learned(
    name: str, together: Callable[[str], Path], tmp_path: Path
) -> None:
    training = TRAININGS[name]
    still = training._replace(recipe={**training.recipe, "learning_rate": 0.0})
    still.run(tmp_path)
    untrained, trained = _curve(tmp_path), _curve(together(name))
    assert abs(untrained["stage1", 20] - trained["stage1", 20]) > 100 * TOLERANCE


def _killed_in_two(folder: Path, name: str, stage: str, step: int, rank: int) -> None:
    """Two processes train, or continue, until one is killed after so many steps; the other then gives up."""
    results = finish(start(2, WORKER, [str(folder), f"{name}:{stage}:{step}:{rank}:killed"]), timeout=120)
    killed, other = results[rank], results[1 - rank]
    assert killed[0] == -signal.SIGKILL
    assert other[0] == 1
    assert "the connection to another process of this training is lost" in other[2]
    assert (folder / name / f"{stage}.state.safetensors").is_file()
    assert not (folder / name / "weights.safetensors").exists()


@pytest.mark.slow
def test_one_fails_and_the_others_end(tmp_path: Path) -> None:
    """A bug, or memory that is full in one process: its traceback is seen, and nobody waits."""
    failed, other = finish(start(2, WORKER, [str(tmp_path), "lead-byol:stage1:4:0:failed"]), timeout=120)
    assert (failed[0], other[0]) == (1, 1)
    assert "tests.killing.KilledError" in failed[2]
    assert "KilledError" not in other[2]
    assert "another process of this training has stopped, and said why" in other[2]


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_continues_in_two(
    together: Callable[[str], Path], tmp_path: Path
) -> None:
    _killed_in_two(tmp_path, "contrast-moco", "stage1", 9, rank=0)
    for status, _, errors in finish(start(2, WORKER, [str(tmp_path), "contrast-moco"])):
        assert status == 0, errors
    # The very same numbers: what a killed step had done is done again, in the same way.
    assert _curve(tmp_path / "contrast-moco") == _curve(together("contrast-moco"))


def test_a_checkpoint_continues_in_another_number_of_processes(
    together: Callable[[str], Path], tmp_path: Path
) -> None:
    """One process, killed; then two, of which one is killed; then one again."""
    training, folder = TRAININGS["lead-byol"], tmp_path / "lead-byol"
    with pytest.raises(KilledError):
        training.run(folder, checkpoint_seconds=-1.0, progress=Killer("stage1", 6))
    assert _numbers(folder)["step"] == 5
    _killed_in_two(tmp_path, "lead-byol", "stage1", 4, rank=1)
    assert _numbers(folder)["step"] in (8, 9)  # the first process may have saved the step before it noticed
    training.run(folder)
    expected = _curve(together("lead-byol"))
    assert _curve(folder) == {step: pytest.approx(loss, abs=TOLERANCE) for step, loss in expected.items()}


def _numbers(folder: Path) -> dict[str, Any]:
    found = load_state(folder / "stage1.state.safetensors", {}, None)
    assert found is not None
    return found
