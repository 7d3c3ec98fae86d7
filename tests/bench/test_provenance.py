"""Provenance says what produced a number, and nothing about who or where."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench import provenance


def collected(command: list[str] | None = None) -> dict[str, object]:
    return provenance.collect(device=torch.device("cpu"), batch_size=32, command=command or ["bench", "run"])


def test_versions_device_and_flags_are_there_and_json_able() -> None:
    found = json.loads(json.dumps(collected(), allow_nan=False))
    assert found["versions"]["bench"] == bench.__version__
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["torch"] == str(torch.__version__)
    assert found["versions"]["numpy"] == np.__version__
    assert found["device"]["type"] == "cpu"
    assert found["device"]["name"]
    assert found["batch_size"] == 32
    assert found["threads"] == torch.get_num_threads()
    assert found["precision"]["requested"] == "float32"
    assert found["precision"]["deterministic"] is torch.are_deterministic_algorithms_enabled()
    assert found["command"] == ["bench", "run"]


def test_flags_set_through_torchs_newer_interface_do_not_break_it() -> None:
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has only the older interface")
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        flags = collected()["precision"]
    finally:
        matmul.fp32_precision = before
    assert isinstance(flags, dict)
    assert flags["tf32_matmul"] in (True, "set per operator")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("coco:/data/alice/faces", "coco:.../faces"),
        ("--output=/tmp/out/", "--output=.../out"),
        ("~/faces", ".../faces"),
        ("~alice/faces", ".../faces"),
        (r"coco:C:\Users\alice\faces", "coco:.../faces"),
        ("D:/alice/faces", ".../faces"),
        ('pretrain=["/a/alice/b", "c"]', 'pretrain=[".../b", "c"]'),
        ("coco:my/faces", "coco:my/faces"),
        ("rate=1/3", "rate=1/3"),
        ("landmarks=5", "landmarks=5"),
        ("/", "..."),
    ],
)
def test_absolute_paths_are_cut_down(word: str, expected: str) -> None:
    assert provenance.sanitised(["/home/alice/.venv/bin/bench", word]) == ["bench", expected]


def test_no_person_and_no_host_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "zaphod"))
    text = json.dumps(collected(["/opt/x/bench", str(Path.home()), f"coco:{Path.home()}/faces"]))
    assert "zaphod" not in text
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, env=clean)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_commit_and_dirtiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "bench").mkdir(parents=True)
    source = checkout / "bench" / "a.py"
    source.write_text("1\n")
    assert provenance.git_state(checkout) is None
    git(checkout, "init")
    assert provenance.git_state(checkout) is None  # no commit yet
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "first")
    clean = provenance.git_state(checkout)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (checkout / "runs").mkdir()
    (checkout / "runs" / "record.json").write_text("{}")
    assert provenance.git_state(checkout) == clean  # results are no source
    (checkout / "bench" / "b.py").write_text("2\n")
    assert provenance.git_state(checkout) == clean | {"dirty": True}
    (checkout / "bench" / "b.py").unlink()
    source.write_text("3\n")
    assert provenance.git_state(checkout) == clean | {"dirty": True}
    # An environment inside a repository is not a checkout of bench.
    assert provenance.git_state(checkout / "bench") is None
    # A hook's environment does not redirect the question.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert provenance.git_state(checkout) == clean | {"dirty": True}


def test_without_git_there_is_no_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state() is None
