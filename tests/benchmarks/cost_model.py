"""How the cost of each protocol grows with images, landmarks, feature dimension and resolution: a model, and its check.

The model of a protocol is a short sum of terms, each proportional to a count of work that follows from the sizes, such
as pixels seen by the network. What a unit of each costs is fitted to runs at three sizes along each of the four axes,
and the model is as good as its worst prediction of them.

``python -m tests.benchmarks.cost_model > cost_model.json``, by hand, on an otherwise idle machine (about 20 minutes);
``python -m tests.benchmarks.document`` turns the file into a page.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from bench import registry
from bench.allocator import retain_heap
from bench.context import EvaluationData, RunContext
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.network import NetworkRequest, open_network
from bench.opening import load_method
from bench.progress import Progress
from bench.protocol import Protocol
from tests.benchmarks.pair import peak_since, reset_peak

CELLS_PER_PIXEL = 1 / 16
"""Of the networks that are measured: one cell for 4 x 4 pixels."""


@dataclass(frozen=True)
class Sizes:
    """Of a data set and of features.

    Attributes:
        images: In each of the two splits.
        side: Of the images, in pixels.
    """

    images: int = 128
    landmarks: int = 5
    dim: int = 64
    side: int = 96

    @property
    def pixels(self) -> float:
        """Of all images of one split."""
        return self.images * self.side**2

    @property
    def numbers(self) -> float:
        """In the features of one split."""
        return self.pixels * CELLS_PER_PIXEL * self.dim


AXES: dict[str, tuple[int, ...]] = {
    "images": (64, 128, 256),
    "landmarks": (5, 20, 68),
    "dim": (32, 64, 256),
    "side": (64, 96, 128),
}
SIZES = tuple(
    dict.fromkeys(replace(Sizes(), **{axis: value}) for axis, values in AXES.items() for value in values)
)

Terms = Callable[[Sizes], dict[str, float]]

_FEW_SHOT_COPIES, _FEW_SHOT_READ = 640, 608
"""Copies of two counts, 1 and 10, which share 32; and those that are read."""


def _head(sizes: Sizes, images: float) -> dict[str, float]:
    """Training of the virtual-keypoint regressor on so many images, counted once for each epoch."""
    maps = 50 * sizes.landmarks * images * sizes.side**2 * CELLS_PER_PIXEL
    return {"score maps: products": maps * sizes.dim, "score maps: soft-argmax": maps}


def _matching(sizes: Sizes, reads: float) -> dict[str, float]:
    return {
        "pixels through the network": reads * sizes.pixels,
        "similarity maps": sizes.pixels * sizes.landmarks,
        "lengths of descriptors": sizes.numbers,
    }


TIME: dict[str, Terms] = {
    "matching": lambda s: _matching(s, 3),
    "equivariance": lambda s: _matching(s, 2),
    "regression": lambda s: {"pixels through the network": 2 * s.pixels, **_head(s, 6 * s.images)},
    "fewshot": lambda s: {
        "pixels through the network": s.pixels + _FEW_SHOT_READ * s.side**2,
        **_head(s, 8 * _FEW_SHOT_COPIES),
    },
    # Forward for the scale of the features and for the test; forward and backward (twice that) in each of 6 epochs.
    "finetune": lambda s: {"pixels through the network": 20 * s.pixels, **_head(s, 6 * s.images)},
    "discovered": lambda s: {"pixels through the network": 2 * s.pixels},
    "segmentation": lambda s: {
        "pixels through the network": s.pixels,
        "pixels classified": s.pixels * s.dim,
    },
    "parts": lambda s: {
        "pixels through the network": s.pixels,
        "pixels compared with parts": s.pixels * s.dim,
        "descriptors fitted": s.images * s.dim,
    },
}


def memory(sizes: Sizes) -> dict[str, float]:
    """What is held: both splits' images and features, the weights of the head, and the working set of a batch."""
    batch = min(sizes.images, 64)
    return {
        "images": 2 * sizes.pixels,
        "features": 2 * sizes.numbers,
        "weights of the head": sizes.landmarks * sizes.dim,
        "maps of a batch": batch * sizes.side**2 * sizes.landmarks,
        "activations of a batch": batch * sizes.side**2,
    }


OPTIONS: dict[str, Callable[[Sizes], dict[str, Any]]] = {
    "matching": lambda s: {"pairs": s.images},
    "equivariance": lambda s: {"images": s.images},
    "fewshot": lambda s: {"counts": (1, 10), "draws": 1},
    "segmentation": lambda s: {"counts": (10,), "draws": 1},
    "parts": lambda s: {"fit_images": s.images, "test_images": s.images},
}


def split(name: str, sizes: Sizes, seed: int) -> LoadedSplit:
    """Smooth random images with random landmarks and masks, each of an individual of its own."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(sizes.images, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(sizes.side, sizes.side), mode="bilinear")
    shape = (sizes.images, sizes.landmarks, 2)
    return LoadedSplit(
        name=name,
        fingerprint=name,
        ids=tuple(f"{name}{i}" for i in range(sizes.images)),
        identities=tuple(f"{name}{i}" for i in range(sizes.images)),
        images=(images * 255).to(torch.uint8),
        points=torch.rand(shape, generator=generator) * (sizes.side - 1),
        visible=torch.ones(shape[:2], dtype=torch.bool),
        schema=LandmarkSchema(tuple(f"p{k}" for k in range(sizes.landmarks)), ((0,), (1,)), "first two"),
        masks=(images[:, 0] > 0.5).to(torch.uint8),
    )


def measure(protocol_name: str, sizes: Sizes) -> tuple[float, float]:
    """(seconds, bytes added to the resident memory) of one run of a protocol's quick preset, on one thread."""
    torch.set_num_threads(1)
    retain_heap()
    protocol: Protocol = registry.load("protocols", protocol_name)()
    network, options = (
        ("thewlis", f'{{"landmarks":{sizes.dim}}}')
        if protocol_name == "discovered"
        else (
            "lead",
            f'{{"dim":{sizes.dim}}}',
        )
    )
    request = NetworkRequest(
        load_method("random"),
        options=(f"network={network}", "preset=tiny", f"options={options}"),
    )
    device = torch.device("cpu")
    extractor = open_network(request, device, Progress.silent()).extractor
    data = EvaluationData(train=split("train", sizes, 0), test=split("test", sizes, 1))
    chosen = protocol.presets["quick"] | (OPTIONS[protocol_name](sizes) if protocol_name in OPTIONS else {})
    before = reset_peak()
    started = perf_counter()
    protocol.measure(extractor, data, protocol.Options(**chosen), RunContext(device=device))
    return perf_counter() - started, float(peak_since(before))


def _report(sender: Connection, protocol: str, sizes: Sizes) -> None:
    sender.send(measure(protocol, sizes))


def in_fresh_process(protocol: str, sizes: Sizes) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, protocol, sizes), daemon=True)
    process.start()
    sender.close()
    found: tuple[float, float] = answer.recv()
    process.join()
    return found


def fit(terms: list[dict[str, float]], measured: list[float]) -> tuple[dict[str, float], list[float]]:
    """Unit costs that no term has below zero, least squares of relative errors; and the predictions."""
    names = ["always", *terms[0]]
    work = np.array([[1.0, *term.values()] for term in terms])
    wanted = np.array(measured)
    scale = work.max(0)
    found, _ = nnls(work / scale / wanted[:, None], np.ones(len(wanted)))
    units = found / scale
    return dict(zip(names, units.tolist(), strict=True)), (work @ units).tolist()


def model(protocol: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Runs at all sizes, and the models of time and memory fitted to them."""
    runs = []
    for sizes in SIZES:
        runs.append(in_fresh_process(protocol, sizes))
        progress(f"{protocol} {asdict(sizes)}: {runs[-1][0]:.2f} s, {runs[-1][1] / 1e6:.0f} MB")
    seconds, held = ([float(value) for value in column] for column in zip(*runs, strict=True))
    time_units, time_predicted = fit([TIME[protocol](sizes) for sizes in SIZES], seconds)
    memory_units, memory_predicted = fit([memory(sizes) for sizes in SIZES], held)
    return {
        "sizes": [asdict(sizes) for sizes in SIZES],
        "seconds": {"measured": seconds, "predicted": time_predicted, "units": time_units},
        "bytes": {"measured": held, "predicted": memory_predicted, "units": memory_units},
    }


def main() -> None:
    wanted = sys.argv[1:] or list(TIME)
    found = {protocol: model(protocol, lambda line: print(line, file=sys.stderr)) for protocol in wanted}
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
