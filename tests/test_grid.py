"""Every protocol measures every method that it fits, on rendered data, in its quick preset, from names to a record.

Networks are those of the methods' shortest presets, untrained: what is checked is that the pieces fit. ``imagenet`` is
left out, whose weights are not at hand here; its network is ContrastLandmarks'.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.loading import Preprocessing
from bench.network import NetworkRequest, planned_network
from bench.opening import DatasetRequest, load_method
from bench.progress import Progress
from bench.protocol import Protocol
from bench.runner import RunRequest, run

FACES = ("train=40", "test=24", "size=64")
LEARNERS = ("thewlis", "dve", "contrast", "rahaman", "lead", "supervised")
PROTOCOLS = registry.names("protocols")

# Shorter than quick only where quick's length does not depend on the number of images.
SHORTER = {
    "fewshot": ("counts=[1,5]", "copies=32", "epochs=2", "draws=2"),
    "segmentation": ("counts=[10]", "steps=10", "draws=1"),
    "matching": ("pairs=8",),
    "memory": ("peak_device=none",),
    "parts": ("tsne_points=60",),
    "discovered": ("counts=[5]", "draws=2"),
}
DATA = {
    "scale": (*FACES, "wild=true"),
    "synthetic-bodies": ("train=40", "test=80", "size=64"),
}  # of two signers

CELLS = [(protocol, method) for protocol in PROTOCOLS for method in (*LEARNERS, "mean-shape")]
CELLS.remove(("finetune", "mean-shape"))  # refused: there is nothing to train


def fits(protocol: str, method: str) -> bool:
    needed: type[Protocol] = registry.load("protocols", protocol)
    return needed.requires <= planned_network(NetworkRequest(load_method(method))).capabilities


@pytest.mark.parametrize(("protocol", "method"), [cell for cell in CELLS if fits(*cell)])
def test_every_protocol_measures_every_method_it_fits(protocol: str, method: str, tmp_path: Path) -> None:
    measure(protocol, method, "synthetic-faces", DATA.get(protocol, FACES), tmp_path)


@pytest.mark.parametrize("dataset", ["synthetic-cats", "synthetic-birds", "synthetic-bodies"])
@pytest.mark.parametrize(
    "protocol", [name for name in PROTOCOLS if name not in ("flops", "memory", "scale", "finetune")]
)
def test_every_protocol_measures_what_is_no_face(protocol: str, dataset: str, tmp_path: Path) -> None:
    measure(protocol, "rahaman", dataset, DATA.get(dataset, FACES), tmp_path)


def measure(protocol: str, method: str, dataset: str, options: tuple[str, ...], runs: Path) -> None:
    untrained = method in LEARNERS
    request = RunRequest(
        method="random" if untrained else method,
        protocol=protocol,
        dataset=DatasetRequest(dataset, options),
        method_options=(f"network={method}", "preset=tiny") if untrained else (),
        protocol_options=SHORTER.get(protocol, ()),
        preprocessing=Preprocessing(image_size=64),
        runs=runs,
    )
    result = run(request, Progress.silent())
    record = result.record
    assert record.status == "ok"
    assert record.metrics  # all finite: a record that is not is not written
    assert (record.dataset is None) == (protocol in ("flops", "memory"))
    assert run(request, Progress.silent()).reused
