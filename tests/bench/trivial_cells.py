"""A distribution of a method and protocols whose cells are trivial, and go wrong on demand; processes find it."""

from __future__ import annotations

from pathlib import Path

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
    at_seed: int = -1


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
        if options.at_seed in (-1, run.seed):
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
        "methods": {"trivial": "trivial_cells_plugin:Trivial"},
        "protocols": {"draw": "trivial_cells_plugin:Draw"},
    }
    distribute(site, "trivial-cells", entries, {"trivial_cells_plugin": SOURCE})
