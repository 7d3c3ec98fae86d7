"""Which network a run measures: with weights that are given, shipped, released, or trained once; or without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bench.conversion import open_weights
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.files import cache_folder
from bench.method import Method
from bench.opening import DEFAULT_DATASET, DatasetRequest, resolve_options
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.record import content_hash
from bench.seeds import seeded_initialisation
from bench.shipped import read_shipped, shipped_entry
from bench.weights import Weights, load_into, read_weights, state_sha256

NO_WEIGHTS = "none"
"""What stands for the hash of weights that play no part."""


@dataclass(frozen=True)
class NetworkRequest:
    """What a run was asked to measure.

    Attributes:
        checkpoint: Weights of bench or an official checkpoint; None: those that are shipped with the method, else
            released ones, else those of its default preset, which is trained for it.
        like: Build the network that this weights file describes, without its weights (for untrained baselines).
        shipped: Preset whose shipped weights are taken; None: where neither of the two above is given, the first.
        weights_matter: False: only the architecture is measured; no weights are fetched or trained for it, and those
            that are given have to fit it, no more.
    """

    method: Method
    checkpoint: Path | None = None
    like: Path | None = None
    shipped: str | None = None
    options: Sequence[str] = ()
    device: str = "auto"
    workers: int = 0
    weights_matter: bool = True

    @property
    def is_at_hand(self) -> bool:
        """Whether nothing has to be fetched or trained first."""
        if not self.weights_matter:
            return True
        given = self.checkpoint is not None or self.like is not None
        if given or not (self.method.fetches_weights or self.method.default_preset):
            return True
        return shipped_entry(self.method, self.shipped) is not None


@dataclass(frozen=True, eq=False)
class Network:
    """A network, ready to be measured, and what its record says of it.

    Attributes:
        origin: How its weights were trained, as far as they tell.
    """

    extractor: FeatureExtractor
    options: dict[str, Any]
    sha256: str
    label: str
    origin: dict[str, Any] = field(default_factory=dict)


def open_network(request: NetworkRequest, device: torch.device, progress: Progress) -> Network:
    """The network with its weights, which may be fetched or trained for it.

    Raises:
        BenchError: for weights that cannot be read or had, or that belong to another network.
    """
    method = request.method
    given = {"--checkpoint": request.checkpoint, "--like": request.like, "--weights": request.shipped}
    flags = [flag for flag, value in given.items() if value is not None]
    if len(flags) > 1:
        raise BenchError(f"{' and '.join(flags)} exclude each other", hint="Give one of them.")
    if request.like is not None:
        return _assemble(request, device, None, method.like(read_weights(request.like)))
    if request.checkpoint is not None:
        if not method.presets and not method.checkpoint_formats:
            raise BenchError(
                f"method {method.name!r} takes no weights",
                hint="To build the network that a checkpoint describes, untrained, use --like.",
            )
        weights = open_weights(request.checkpoint, method, request.options)
        return _assemble(request, device, weights, weights.options)
    if not request.weights_matter:
        return _assemble(request, device, None, _architecture(request))
    found = _own_weights(request, progress)
    return _assemble(request, device, found, found.options if found is not None else {})


def planned_network(request: NetworkRequest) -> FeatureExtractor:
    """The network that :func:`open_network` will fill after something long: for checks that need no weights."""
    return request.method.build(_options(request, _architecture(request)))


def _own_weights(request: NetworkRequest, progress: Progress) -> Weights | None:
    """What is measured where no weights are given: shipped, released, or trained once; None: initial ones."""
    method = request.method
    shipped = read_shipped(method, request.shipped)
    if shipped is not None:
        return shipped
    released = method.default_checkpoint(_options(request, {}), progress)
    if released is not None:
        return open_weights(released, method, request.options)
    return _trained_once(request, progress) if method.default_preset is not None else None


def _architecture(request: NetworkRequest) -> dict[str, Any]:
    return default_architecture(request.method, request.shipped)


def default_architecture(method: Method, shipped_preset: str | None = None) -> dict[str, Any]:
    """That of the weights which are taken where none are given; without any, the method's defaults."""
    shipped = shipped_entry(method, shipped_preset)
    if shipped is not None:
        return shipped.options
    preset = method.presets.get(method.default_preset or "")
    return preset.options if preset else {}


def _options(request: NetworkRequest, base: dict[str, Any]) -> Any:
    method = request.method
    return resolve_options(method.Options, request.options, f"method {method.name!r}", base=base)


def _assemble(
    request: NetworkRequest, device: torch.device, weights: Weights | None, base: dict[str, Any]
) -> Network:
    method, options = request.method, _options(request, base)
    with seeded_initialisation(0, "initial weights"):
        extractor = method.build(options)
    if weights is not None:
        load_into(extractor, weights)
    if not request.weights_matter:
        sha256, label = NO_WEIGHTS, "the architecture alone, whatever its weights"
    elif weights is not None:
        sha256, label = weights.sha256, weights.label
    else:
        sha256, label = state_sha256(extractor), method.untrained_label(options)
    origin = weights.origin if weights is not None and request.weights_matter else {}
    return Network(extractor.to(device).eval(), method.describe(options), sha256, label, origin)


def _trained_once(request: NetworkRequest, progress: Progress) -> Weights:
    """Where no weights are given and none are shipped: train a small network once, and keep it."""
    method = request.method
    job = PretrainRequest(
        method=method.name,
        dataset=DatasetRequest(DEFAULT_DATASET),
        preset=method.default_preset or "",
        device=request.device,
        workers=request.workers,
    )
    folder = cache_folder("pretrained", f"{method.name}-{job.preset}-{content_hash(_preset_content(method))}")
    if not (folder / "weights.safetensors").is_file():
        progress.say(
            f"No weights are given for {method.name!r} and none are shipped: its '{job.preset}' preset is trained "
            f"once on {job.dataset.spec} (under 10 minutes on 2 cores) and kept in the cache."
        )
    return read_weights(pretrain(replace(job, output=folder), progress), method=method.name)


def _preset_content(method: Method) -> dict[str, Any]:
    preset = method.presets[method.default_preset or ""]
    return {
        "options": method.Options(**preset.options).model_dump(mode="json"),
        "recipe": method.Recipe(**preset.recipe).model_dump(mode="json"),
    }
