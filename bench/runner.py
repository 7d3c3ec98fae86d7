"""Run one cell: method x weights x data set x protocol x seed, from names to a stored record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from bench import provenance, registry
from bench.allocator import retain_heap
from bench.context import EvaluationData, RunContext
from bench.errors import BenchError, did_you_mean
from bench.features import FeatureExtractor
from bench.files import cache_folder, require_writable
from bench.landmarks import LandmarkDataset
from bench.loading import Preprocessing, load_split
from bench.method import Method
from bench.opening import (
    DEFAULT_DATASET,
    DatasetRequest,
    OpenedDataset,
    choose_device,
    load_method,
    open_dataset,
    preset_of,
    resolve_options,
)
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.protocol import Measurement, MetricValue, Protocol
from bench.record import DatasetPart, MethodPart, MetricPart, ProtocolPart, RunRecord, content_hash
from bench.store import RunStore
from bench.weights import Weights, load_into, read_weights, state_sha256


@dataclass(frozen=True)
class RunRequest:
    """What ``bench run`` was asked for.

    Attributes:
        checkpoint: Weights of the method; None: shipped or default ones.
        like: Build the network that this weights file describes, without its weights (for untrained baselines).
        force: Measure again where the record is already there.
    """

    method: str
    protocol: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    preset: str = "quick"
    checkpoint: Path | None = None
    like: Path | None = None
    method_options: Sequence[str] = ()
    protocol_options: Sequence[str] = ()
    train_split: str | None = None
    test_split: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    runs: Path = Path("runs")
    seed: int = 0
    device: str = "auto"
    batch_size: int = 64
    workers: int = 0
    force: bool = False


@dataclass(frozen=True)
class RunResult:
    """The record, where it lies, and whether it had been there before."""

    record: RunRecord
    path: Path
    reused: bool


@dataclass(frozen=True, eq=False)
class _Network:
    extractor: FeatureExtractor
    options: dict[str, Any]
    sha256: str
    label: str


def run(request: RunRequest, progress: Progress) -> RunResult:
    """Measure one cell, or find its record.

    Everything that can be known to fail is found before anything long is computed. A cell whose measurement
    fails is stored as a failed record with the reason, and the error is raised.

    Raises:
        BenchError: for whatever the user can mend.
    """
    retain_heap()
    method = load_method(request.method)
    protocol: Protocol = registry.load("protocols", request.protocol)()
    what = f"protocol {protocol.name!r}"
    preset = preset_of(protocol.presets, request.preset, what)
    options = resolve_options(protocol.Options, request.protocol_options, what, base=preset)
    device = choose_device(request.device)
    store = RunStore(request.runs)
    require_writable(request.runs)
    dataset = open_dataset(request.dataset)
    network = _build(method, request, device) if _has_weights(method, request) else None
    _require_capabilities(protocol, network.extractor if network else None, method)
    opened = _open_splits(protocol, dataset, request)
    loaded = {
        role: load_split(split, request.preprocessing, workers=request.workers, progress=progress)
        for role, split in opened.items()
    }
    data = EvaluationData(train=loaded.get("train"), test=loaded["test"])
    protocol.check(options, data)
    if network is None:
        network = _build_default(method, request, device, progress)
    progress.say(f"[bold]{method.name}[/bold]: {network.label}")
    record = RunRecord(
        status="ok",
        method=MethodPart(
            name=method.name,
            options=network.options,
            weights_sha256=network.sha256,
            weights_label=network.label,
            feature_dim=_feature_dim(network.extractor, request.preprocessing, device),
        ),
        protocol=ProtocolPart(
            name=protocol.name,
            version=protocol.version,
            preset=request.preset,
            options=options.model_dump(mode="json"),
        ),
        dataset=_describe(dataset, opened, request.preprocessing),
        seed=request.seed,
    )
    partial = store.partial_folder(record.id)
    partial.mkdir(parents=True, exist_ok=True)
    # A second process on the same cell waits and then finds the record.
    with FileLock(partial.parent / f"{record.id}.lock"):
        found = None if request.force else store.find(record.id)
        if found is not None and found.status == "ok":
            return RunResult(found, request.runs / f"{record.id}.json", reused=True)
        context = RunContext(request.seed, device, request.batch_size, progress, partial)
        record.provenance = provenance.collect(
            device=device, batch_size=request.batch_size, command=sys.argv, precision="float32"
        )
        try:
            with context.phase("total"):
                measurement = protocol.measure(network.extractor, data, options, context)
            finished = _finish(record, measurement, protocol, context)
            path = store.save(finished, measurement.per_sample)
        except (BenchError, torch.OutOfMemoryError) as error:
            reason = error.message if isinstance(error, BenchError) else "out of device memory"
            store.save(record.model_copy(update={"status": "failed", "reason": reason}))
            raise error if isinstance(error, BenchError) else BenchError(reason) from error
        store.clear_partial(record.id)
        return RunResult(finished, path, reused=False)


def _has_weights(method: Method, request: RunRequest) -> bool:
    return request.checkpoint is not None or request.like is not None or method.default_preset is None


def _build(method: Method, request: RunRequest, device: torch.device) -> _Network:
    weights = None
    if request.checkpoint is not None:
        if request.like is not None:
            raise BenchError("--checkpoint and --like exclude each other")
        if not method.presets:
            raise BenchError(
                f"method {method.name!r} takes no weights",
                hint="To build the network that a checkpoint describes, untrained, use --like.",
            )
        weights = read_weights(request.checkpoint, method=method.name)
    described = weights or (read_weights(request.like) if request.like is not None else None)
    return _assemble(method, request, device, weights, described)


def _assemble(
    method: Method,
    request: RunRequest,
    device: torch.device,
    weights: Weights | None,
    described: Weights | None,
) -> _Network:
    base = described.options if described else {}
    options = resolve_options(method.Options, request.method_options, f"method {method.name!r}", base=base)
    extractor = method.build(options)
    if weights is not None:
        load_into(extractor, weights)
    return _Network(
        extractor=extractor.to(device).eval(),
        options=options.model_dump(mode="json"),
        sha256=weights.sha256 if weights else state_sha256(extractor),
        label=weights.label if weights else "initial weights, not trained",
    )


def _build_default(method: Method, request: RunRequest, device: torch.device, progress: Progress) -> _Network:
    """Where no weights are given and none are shipped: train a small network once, and keep it."""
    assert method.default_preset is not None
    job = PretrainRequest(
        method=method.name,
        dataset=DatasetRequest(DEFAULT_DATASET),
        preset=method.default_preset,
        device=request.device,
        workers=request.workers,
    )
    folder = cache_folder("pretrained", f"{method.name}-{job.preset}-{content_hash(_preset_content(method))}")
    if not (folder / "weights.safetensors").is_file():
        progress.say(
            f"No weights are given for {method.name!r} and none are shipped: its '{job.preset}' preset is trained "
            f"once on {job.dataset.spec} (under 10 minutes on 2 cores) and kept in the cache."
        )
    path = pretrain(replace(job, output=folder), progress)
    weights = read_weights(path, method=method.name)
    return _assemble(method, request, device, weights, weights)


def _preset_content(method: Method) -> dict[str, Any]:
    preset = method.presets[method.default_preset or ""]
    return {
        "options": method.Options(**preset.options).model_dump(mode="json"),
        "recipe": method.Recipe(**preset.recipe).model_dump(mode="json"),
    }


def _require_capabilities(protocol: Protocol, extractor: FeatureExtractor | None, method: Method) -> None:
    if extractor is None:
        return
    missing = sorted(protocol.requires - extractor.capabilities)
    if missing:
        raise BenchError(
            f"protocol {protocol.name!r} needs {' and '.join(missing)} features, "
            f"and method {method.name!r} gives {' and '.join(sorted(extractor.capabilities))}"
        )


def _open_splits(
    protocol: Protocol, dataset: OpenedDataset, request: RunRequest
) -> dict[str, LandmarkDataset]:
    train, test = dataset.provider.evaluation_splits(dataset.location, dataset.options)
    names = {"test": request.test_split or test}
    if protocol.uses_training_split:
        names["train"] = request.train_split or train
    if names.get("train") == names["test"]:
        raise BenchError(
            f"training and test split are the same: {names['test']!r}", hint="Give --test-split."
        )
    return {role: dataset.open(name) for role, name in sorted(names.items())}


def _describe(
    dataset: OpenedDataset, opened: dict[str, LandmarkDataset], preprocessing: Preprocessing
) -> DatasetPart:
    test = opened["test"]
    return DatasetPart(
        name=test.name,
        tier=test.info.tier,
        options=dataset.options.model_dump(mode="json"),
        preprocessing=preprocessing.model_dump(mode="json"),
        splits={role: split.split for role, split in opened.items()},
        fingerprints={role: split.fingerprint for role, split in opened.items()},
        counts={role: len(split) for role, split in opened.items()},
        landmarks=len(test.schema.names),
    )


def _feature_dim(extractor: FeatureExtractor, preprocessing: Preprocessing, device: torch.device) -> int:
    side = preprocessing.image_size
    return extractor.extract(torch.zeros(1, 3, side, side, device=device)).channels


def _finish(
    record: RunRecord, measurement: Measurement, protocol: Protocol, context: RunContext
) -> RunRecord:
    provenance_part = {**record.provenance, "seconds": {k: round(v, 3) for k, v in context.seconds.items()}}
    return record.model_copy(
        update={
            "metrics": [_declare(value, protocol) for value in measurement.values],
            "notes": list(measurement.notes),
            "provenance": provenance_part,
        }
    )


def _declare(value: MetricValue, protocol: Protocol) -> MetricPart:
    known = {spec.name: spec for spec in protocol.metrics}
    if value.metric not in known:
        raise BenchError(
            f"protocol {protocol.name!r} reports {value.metric!r}, which it does not declare",
            hint=did_you_mean(value.metric, known),
        )
    spec = known[value.metric]
    return MetricPart(
        metric=value.metric,
        condition=dict(value.condition),
        value=value.value,
        low=value.low,
        high=value.high,
        std=value.std,
        count=value.count,
        unit=spec.unit,
        direction=spec.direction,
        definition=spec.definition,
        averaging=spec.averaging,
    )
