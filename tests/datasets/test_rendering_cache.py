"""Rendered splits on disk: shared, checked, rendered again where they are damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.errors import BenchError
from datasets.procedural import cache as disk
from tests.datasets.faces_on_stage import opened

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("own_cache")


_CHILD = """
from bench.progress import Progress
from datasets.procedural.cache import open_split
from datasets.synthetic_faces.job import Job
job = Job(split="test", count=6, size=64, seed=0, wild=False)
print(int(open_split(job, Progress.silent(), workers=1)["images"].sum(dtype="int64")))
"""


def test_two_processes_share_one_empty_cache(own_cache: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(2)
    ]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert outputs[0] == outputs[1]
    assert int(outputs[0]) == sum(int(s.image.sum()) for s in opened())
    folders = [p for p in (own_cache / "synthetic-faces").iterdir() if p.is_dir()]
    assert len(folders) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "manifest"])
def test_a_damaged_cache_is_rendered_again(own_cache: Path, damage: str) -> None:
    whole = [sample.image for sample in opened()]
    (folder,) = (p for p in (own_cache / "synthetic-faces").iterdir() if p.is_dir())
    target = folder / "images.npy"
    if damage == "truncated":
        os.truncate(target, target.stat().st_size // 2)
    elif damage == "flipped":
        content = bytearray(target.read_bytes())
        content[-10] ^= 0xFF
        target.write_bytes(bytes(content))
    elif damage == "missing":
        (folder / "points.npy").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    for before, after in zip(whole, opened(), strict=True):
        assert torch.equal(before, after.image)


def test_what_a_killed_process_left_is_swept_away(own_cache: Path) -> None:
    dataset = opened()
    abandoned = own_cache / "synthetic-faces" / f".{dataset.job.key}.killed"
    abandoned.mkdir(parents=True)
    (abandoned / "images.npy").write_bytes(b"half")
    dataset.prepare(workers=1)
    assert not abandoned.exists()


def test_an_intact_cache_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened()[0].image

    def refuse(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(disk, "_render", refuse)
    assert torch.equal(opened()[0].image, before)


def test_a_failing_worker_is_reported_and_leaves_nothing(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_ALONE", 0)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(BenchError, match="rendering process failed"):
        opened().prepare(workers=2)
    assert [p for p in (own_cache / "synthetic-faces").iterdir() if p.is_dir()] == []
