"""A distribution of a method and protocols whose cells are trivial, and go wrong on demand; processes find it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.record import RunRecord
from bench.run_request import RunRequest
from bench.store import RunStore
from tests.bench.test_registry import distribute

SOURCE = """
import os, signal, time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, MethodOptions
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.seeds import numpy_generator


class Network(FeatureExtractor):
    def forward(self, images: Tensor) -> FeatureMap:
        raise NotImplementedError

    def extract(self, images: Tensor) -> FeatureMap:
        return FeatureMap((images[:, :1].float(),), images.shape[-2:], images.shape[-2:], "none")


class Counted(FeatureExtractor):
    # notes how many images it reads, and takes its time
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 4, stride=4)

    def forward(self, images: Tensor) -> FeatureMap:
        with open(os.environ["COUNTED_LOG"], "a") as log:
            print(len(images), file=log)
        time.sleep(0.02 * len(images))
        return FeatureMap((self.layer(images),), images.shape[-2:], images.shape[-2:], "joint")


class CountedMethod(Method):
    name = "counted"
    summary = "notes what it reads"
    reference = "none"
    Options = MethodOptions

    def build(self, options):
        return Counted()


class TrivialOptions(MethodOptions):
    scale: float = 1.0


class Trivial(Method):
    name = "trivial"
    summary = "does nothing"
    reference = "none"
    Options = TrivialOptions

    def build(self, options):
        return Network()


class Options(ProtocolOptions):
    fault: str = ""
    mark: str = ""
    seconds: float = 0.0


class Draw(Protocol):
    name = "draw"
    version = 1
    summary = "draws a number"
    reference = "none"
    Options = Options
    presets = {"quick": {}, "paper": {}}
    metrics = (MetricSpec("number", "a number that is drawn", "none", "higher", "none"),)
    uses_data = False
    uses_weights = False
    baselines = ()

    def check(self, options, data):
        pass

    def measure(self, extractor, data, options, run):
        mark = Path(options.mark or "/nonexistent")
        if options.fault == "raise":
            raise ValueError("two apples")
        if options.fault == "hang":
            time.sleep(600)
        if options.fault == "memory":
            held = [np.ones(20_000_000) for _ in range(10)]
            time.sleep(600)
        if options.fault == "memory error":
            np.ones(10**15)
        if options.fault == "kill" or (options.fault == "kill once" and not mark.exists()):
            if options.mark:
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(options.seconds)
        numbers = numpy_generator(run.seed, "draw").random(3)
        return Measurement((MetricValue("number", float(numbers.mean())),), {"numbers": numbers})
"""


def install(site: Path) -> None:
    """Into a folder of the search path."""
    entries = {
        "methods": {
            "trivial": "trivial_cells_plugin:Trivial",
            "counted": "trivial_cells_plugin:CountedMethod",
        },
        "protocols": {"draw": "trivial_cells_plugin:Draw"},
    }
    distribute(site, "trivial-cells", entries, {"trivial_cells_plugin": SOURCE})


def trivial_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    """A trivial cell, known to this process and to those that it starts; records go below the folder."""
    install(folder / "site")
    monkeypatch.syspath_prepend(folder / "site")
    paths = [str(folder / "site"), str(Path(__file__).resolve().parents[2])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("BENCH_CACHE", str(folder / "cache"))
    return RunRequest("trivial", "draw", runs=folder / "runs", device="cpu")


def records(runs: Path) -> dict[str, RunRecord]:
    """Id -> record; all are whole."""
    found, problems = RunStore(runs).load_all()
    assert not problems
    return {record.id: record for record in found}


def check_equal_records(ours: Path, theirs: Path, count: int) -> None:
    """Cell by cell: the same ids, statuses, values, and per-sample values to the last bit."""
    found, expected = records(ours), records(theirs)
    assert len(found) == count
    assert {name: (one.status, one.metrics) for name, one in found.items()} == {
        name: (one.status, one.metrics) for name, one in expected.items()
    }
    for name in found:
        arrays, wanted = (RunStore(runs).per_sample(name) for runs in (ours, theirs))
        assert arrays.keys() == wanted.keys()
        assert all(array.tobytes() == wanted[key].tobytes() for key, array in arrays.items())
