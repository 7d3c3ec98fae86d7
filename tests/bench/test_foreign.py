"""Checkpoints of other code: what is read of them, and that nothing in them is ever run."""

from __future__ import annotations

import argparse
import io
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import types
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from bench.errors import BenchError
from bench.foreign import Inert, read_foreign, tensors_of

FORMATS = pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])


def _save(content: object, path: Path, as_zip: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    return path


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict())


@pytest.fixture
def vanished(monkeypatch: pytest.MonkeyPatch) -> object:
    """An object of a module that will not be there when the file is read, as DVE's parse_config.ConfigParser is."""
    module = types.ModuleType("parse_config")
    kind = type("ConfigParser", (), {"__module__": "parse_config"})
    module.ConfigParser = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "parse_config", module)
    configuration = kind()
    configuration.save_dir = pathlib.Path("data/saved")
    configuration.args = argparse.Namespace(resume=None, device="0,1")
    configuration.logger = logging.getLogger("trainer")
    configuration.config = OrderedDict(arch=OrderedDict(type="SmallNet"))
    return configuration


@FORMATS
def test_an_official_checkpoint(
    as_zip: bool,
    tmp_path: Path,
    state: dict[str, torch.Tensor],
    vanished: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = nn.Conv2d(3, 4, 3)
    optimiser = torch.optim.Adam(network.parameters(), amsgrad=True)
    network(torch.ones(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    content = {
        "arch": "SmallNet",
        "epoch": 100,
        "state_dict": OrderedDict(state),
        "optimizer": optimiser.state_dict(),
        "monitor_best": np.float64(0.5),
        "opt": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "config": vanished,
        "history": {"seen": {1, 2}, "loss": (0.5, None, True)},
    }
    path = _save(content, tmp_path / "checkpoint-epoch100.pth", as_zip)
    monkeypatch.delitem(sys.modules, "parse_config")
    read = read_foreign(path)
    assert list(read.content) == list(content)
    assert all(torch.equal(read.content["state_dict"][name], value) for name, value in state.items())
    assert (read.content["arch"], read.content["epoch"]) == ("SmallNet", 100)
    assert read.content["history"] == content["history"]
    for name in ("monitor_best", "opt", "config"):
        assert isinstance(read.content[name], Inert)
        assert not vars(read.content[name])
    assert repr(read.content["config"]) == "<parse_config.ConfigParser, not loaded>"
    assert {"argparse.Namespace", "parse_config.ConfigParser"} <= set(read.inert)
    assert "parse_config" not in sys.modules
    moments = [name for name in tensors_of(read.content) if name.endswith("exp_avg")]
    assert moments == ["optimizer.state.0.exp_avg", "optimizer.state.1.exp_avg"]


class _Hostile:
    """Unpickled carelessly, this calls a function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.function, self.arguments


@FORMATS
@pytest.mark.parametrize(
    ("way", "refused"),
    [
        ("os.system", True),
        ("os.popen", True),
        ("rebuild", True),
        ("eval", False),
        ("exec", False),
        ("getattr", False),
        ("import", False),
        ("subprocess", False),
    ],
)
def test_nothing_is_run(way: str, refused: bool, as_zip: bool, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    code = f"open({str(proof)!r}, 'w')"
    hostile = {
        "os.system": _Hostile(os.system, f"touch {proof}"),
        "os.popen": _Hostile(os.popen, f"touch {proof}"),
        "rebuild": _Hostile(torch._tensor._rebuild_from_type_v2, eval, torch.Tensor, (code,), {}),
        "eval": _Hostile(eval, code),
        "exec": _Hostile(exec, code),
        "getattr": _Hostile(getattr, _Hostile(__import__, "os"), "system"),
        "import": _Hostile(__import__, "antigravity"),
        "subprocess": _Hostile(subprocess.check_call, ["touch", str(proof)]),
    }[way]
    path = _save({"weight": torch.ones(2), "opt": hostile}, tmp_path / "hostile.pth", as_zip)
    if refused:
        with pytest.raises(BenchError, match=r"hostile\.pth"):
            read_foreign(path)
    else:
        content = read_foreign(path).content
        assert isinstance(content["opt"], Inert)
        assert torch.equal(content["weight"], torch.ones(2))
    assert not proof.exists()
    assert "antigravity" not in sys.modules


def test_the_hostile_files_are_hostile(tmp_path: Path) -> None:
    """Python's own unpickling does run them, so the test above tests something."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(_Hostile(eval, f"open({str(proof)!r}, 'w').close()"), protocol=2))
    assert proof.exists()


def test_what_torch_blocks_is_named(tmp_path: Path) -> None:
    path = _save({"opt": _Hostile(os.system, "true")}, tmp_path / "hostile.pth")
    with pytest.raises(BenchError, match=r"cannot be read safely: .*system") as caught:
        read_foreign(path)
    assert "weights_only=False" not in str(caught.value)
    assert "arbitrary code" not in str(caught.value)


def test_a_subclass_of_dict_is_told(tmp_path: Path) -> None:
    path = _save({"meters": defaultdict(list, {"loss": [1.0]})}, tmp_path / "meters.pth")
    with pytest.raises(BenchError, match=r"cannot be read safely: .*defaultdict"):
        read_foreign(path)


@FORMATS
@pytest.mark.parametrize("kept", [1, 3, 10, 100, 700, -30])
def test_a_truncated_file(kept: int, as_zip: bool, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = _save({"state_dict": state, "opt": argparse.Namespace(a=1)}, tmp_path / "cut.pth", as_zip)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BenchError, match=r"cut\.pth"):
        read_foreign(path)


def test_a_flipped_byte_is_noticed_in_a_zip(tmp_path: Path) -> None:
    path = _save({"weight": torch.arange(1000.0)}, tmp_path / "flipped.pth")
    content = bytearray(path.read_bytes())
    where = bytes(content).index(torch.tensor(500.0).numpy().tobytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"flipped\.pth is damaged: flipped/data/0"):
        read_foreign(path)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("checkpoint.pth"))
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("128d.pth", "")
    return buffer.getvalue()


def _pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _program() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about scripts
        torch.jit.save(torch.jit.script(nn.Identity()), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b"", "is empty"),
        (lambda: b"\n <!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "is a web page"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (_tar, "tar or gzip"),
        (lambda: b"\x1f\x8b\x08" + bytes(60), "tar or gzip"),
        (_zip, r"holds 128d\.pth"),
        (_program, "TorchScript"),
        (lambda: b"MATLAB 5.0 MAT-file" + bytes(500), "not a checkpoint that torch can read"),
        (lambda: pickle.dumps({"weight": 1}), "not a checkpoint that torch can read"),
        (lambda: _pickled(nn.Conv2d(1, 1, 1)), r"whole pickled object \(torch\.nn\.modules\.conv\.Conv2d\)"),
        (lambda: _pickled(torch.ones(3)), "holds a Tensor"),
        (lambda: _pickled({0: torch.ones(3)}), "names as keys"),
        (lambda: _pickled({"a": torch.ones(3).to_sparse()}), "sparse"),
        (lambda: _pickled({"a": torch.ones(3, device="meta")}), "meta"),
    ],
)
def test_other_files_are_told_apart(make: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(make())
    with pytest.raises(BenchError, match=message):
        read_foreign(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(BenchError, match="no checkpoint at"):
            read_foreign(path)


@FORMATS
def test_tensors_of_a_gpu_come_to_the_cpu(
    as_zip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    path = _save({"weight": torch.arange(3.0)}, tmp_path / "gpu.pth", as_zip)
    monkeypatch.undo()
    weight = read_foreign(path).content["weight"]
    assert weight.device.type == "cpu"
    assert weight.tolist() == [0.0, 1.0, 2.0]


@FORMATS
def test_a_bare_state_dict(as_zip: bool, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    read = read_foreign(_save(OrderedDict(state), tmp_path / "bare.pth", as_zip))
    assert list(tensors_of(read.content)) == list(state)
    assert read.inert == ()


def test_safetensors_of_others(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(state, path)
    read = read_foreign(path)
    assert all(torch.equal(read.content[name], value) for name, value in state.items())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BenchError, match="damaged safetensors"):
        read_foreign(path)


def test_containers_that_hold_themselves_or_each_other_many_times() -> None:
    circle: dict[str, Any] = {"weight": torch.ones(1)}
    circle["again"] = circle
    assert list(tensors_of(circle)) == ["weight"]
    layers: list[Any] = [torch.ones(1)]
    for _ in range(200):
        layers = [layers, layers]
    assert len(tensors_of(layers)) == 1
