"""Run one cell: method x weights x data set x protocol x seed, from names to a stored record."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from filelock import FileLock

from bench import provenance, registry
from bench.allocator import retain_heap
from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.feature_cache import FeatureCache
from bench.features import FeatureExtractor
from bench.files import require_writable
from bench.image_cache import ImageCache
from bench.landmarks import LandmarkDataset
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.method import Method
from bench.network import NetworkRequest, open_network, planned_network
from bench.opening import (
    DatasetRequest,
    OpenedDataset,
    choose_device,
    load_method,
    open_dataset,
    preset_of,
    resolve_options,
)
from bench.precision import forbid_tf32
from bench.progress import Progress
from bench.protocol import Measurement, Protocol, ProtocolOptions, Role
from bench.record import DatasetPart, FeatureType, MethodPart, ProtocolPart, RunRecord
from bench.scoring import declared
from bench.store import RunStore


@dataclass(frozen=True)
class RunRequest:
    """What ``bench run`` was asked for.

    Attributes:
        checkpoint: Weights of bench or an official checkpoint; None: shipped, released or default ones.
        like: Build the network that this weights file describes, without its weights (for untrained baselines).
        weights: Preset whose shipped weights are measured, where the method ships several.
        feature_dtype: float16 rounds features, so that they take half the room on disk; it changes numbers.
        force: Measure again where the record is already there.
    """

    method: str
    protocol: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    preset: str = "quick"
    checkpoint: Path | None = None
    like: Path | None = None
    weights: str | None = None
    method_options: Sequence[str] = ()
    protocol_options: Sequence[str] = ()
    train_split: str | None = None
    test_split: str | None = None
    validation_split: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    runs: Path = Path("runs")
    seed: int = 0
    device: str = "auto"
    batch_size: int = 64
    workers: int = 0
    feature_dtype: FeatureType = "float32"
    force: bool = False


@dataclass(frozen=True)
class RunResult:
    """The record, where it lies, and whether it had been there before."""

    record: RunRecord
    path: Path
    reused: bool


def run(request: RunRequest, progress: Progress) -> RunResult:
    """Measure one cell, or find its record.

    Everything that can be known to fail is found before anything long is computed. A cell whose measurement
    fails is stored as a failed record with the reason, and the error is raised.

    Raises:
        BenchError: for whatever the user can mend.
    """
    retain_heap()
    forbid_tf32()
    method = load_method(request.method)
    protocol: Protocol = registry.load("protocols", request.protocol)()
    what = f"protocol {protocol.name!r}"
    preset = preset_of(protocol.presets, request.preset, what)
    options = resolve_options(protocol.Options, request.protocol_options, what, base=preset)
    device = choose_device(request.device)
    options = protocol.resolve(options, device)
    store = RunStore(request.runs)
    require_writable(request.runs)
    dataset = open_dataset(request.dataset) if protocol.uses_data else None
    wanted = NetworkRequest(
        method,
        request.checkpoint,
        request.like,
        request.weights,
        request.method_options,
        request.device,
        request.workers,
        weights_matter=protocol.uses_weights,
    )
    network = open_network(wanted, device, progress) if wanted.is_at_hand else None
    _require_capabilities(protocol, network.extractor if network else planned_network(wanted), method)
    opened = {} if dataset is None else _open_splits(protocol, dataset, request, options)
    cache = ImageCache.from_environment()
    loaded = {
        role: load_split(
            split, request.preprocessing, workers=request.workers, progress=progress, cache=cache
        )
        for role, split in opened.items()
    }
    data = EvaluationData(
        train=loaded.get("train"),
        test=loaded.get("test") or LoadedSplit.empty(),
        validation=loaded.get("validation"),
    )
    protocol.check(options, data)
    if network is None:
        network = open_network(wanted, device, progress)
    network.extractor.half_precision = request.feature_dtype == "float16"
    progress.say(f"[bold]{method.name}[/bold]: {network.label}")
    record = RunRecord(
        status="ok",
        method=MethodPart(
            name=method.name,
            options=network.options,
            weights_sha256=network.sha256,
            weights_label=network.label
            if request.feature_dtype == "float32"
            else f"{network.label}; features in float16",
            feature_dim=_feature_dim(network.extractor, request.preprocessing, device),
            feature_dtype=request.feature_dtype,
        ),
        protocol=ProtocolPart(
            name=protocol.name,
            version=protocol.version,
            preset=request.preset,
            options=options.model_dump(mode="json"),
            baselines=list(protocol.baselines),
        ),
        dataset=None if dataset is None else _describe(dataset, opened, request.preprocessing),
        seed=request.seed,
    )
    partial = store.partial_folder(record.id)
    partial.mkdir(parents=True, exist_ok=True)
    # A second process on the same cell waits and then finds the record.
    with FileLock(partial.parent / f"{record.id}.lock"):
        found = None if request.force else store.find(record.id)
        if found is not None and found.status == "ok":
            return RunResult(found, request.runs / f"{record.id}.json", reused=True)
        kept = FeatureCache.from_environment(
            network.extractor, {"method": method.name, "options": network.options}
        )
        context = RunContext(request.seed, device, request.batch_size, progress, partial, feature_cache=kept)
        record.provenance = provenance.collect(
            device=device, batch_size=request.batch_size, command=sys.argv, precision="float32"
        )
        if network.origin:
            record.provenance["weights"] = network.origin
        try:
            with context.phase("total"):
                measurement = protocol.measure(network.extractor, data, options, context)
            finished = _finish(record, measurement, protocol, context)
            path = store.save(finished, measurement.per_sample, measurement.pictures)
        except (BenchError, torch.OutOfMemoryError) as error:
            reason = error.message if isinstance(error, BenchError) else "out of device memory"
            store.save(record.model_copy(update={"status": "failed", "reason": reason}))
            raise error if isinstance(error, BenchError) else BenchError(reason) from error
        store.clear_partial(record.id)
        return RunResult(finished, path, reused=False)


def baseline_requests(request: RunRequest, record: RunRecord) -> list[RunRequest]:
    """The same cell for the protocol's baselines; ``random`` is the untrained network of the very same shape."""
    options = {"random": (f"network={record.method.name}", f"options={json.dumps(record.method.options)}")}
    untrainable = not registry.load("methods", record.method.name).presets
    return [
        replace(
            request,
            method=name,
            checkpoint=None,
            like=None,
            weights=None,
            method_options=options.get(name, ()),
        )
        for name in record.protocol.baselines
        if name != record.method.name and not (name == "random" and untrainable)
    ]


def _require_capabilities(protocol: Protocol, extractor: FeatureExtractor, method: Method) -> None:
    missing = sorted(protocol.requires - extractor.capabilities)
    if missing:
        raise BenchError(
            f"protocol {protocol.name!r} needs {' and '.join(missing)} features, "
            f"and method {method.name!r} gives {' and '.join(sorted(extractor.capabilities))}"
        )


def _open_splits(
    protocol: Protocol, dataset: OpenedDataset, request: RunRequest, options: ProtocolOptions
) -> dict[Role, LandmarkDataset]:
    train, test = dataset.provider.evaluation_splits(dataset.location, dataset.options)
    roles = protocol.roles(options)
    names: dict[Role, str] = {"test": request.test_split or test}
    if "train" in roles:
        names["train"] = request.train_split or train
    if names.get("train") == names["test"]:
        raise BenchError(
            f"training and test split are the same: {names['test']!r}", hint="Give --test-split."
        )
    if "validation" in roles:
        names["validation"] = _validation_split(protocol, dataset, request, names)
    return {
        role: protocol.view(dataset.open(name), role, options, request.seed)
        for role, name in sorted(names.items())
    }


def _validation_split(
    protocol: Protocol, dataset: OpenedDataset, request: RunRequest, others: dict[Role, str]
) -> str:
    chosen = request.validation_split or dataset.provider.validation_split(dataset.location, dataset.options)
    if chosen is None:
        there = ", ".join(dataset.provider.splits(dataset.location, dataset.options))
        raise BenchError(
            f"protocol {protocol.name!r} with these options needs a validation split, and data set "
            f"{dataset.request.spec!r} has none of its own; its splits are {there}",
            hint="Name one with --validation-split, or choose other options of the protocol.",
        )
    if chosen in others.values():
        (role,) = (role for role, name in others.items() if name == chosen)
        raise BenchError(
            f"the validation split is that of role {role}: {chosen!r}",
            hint="Give another --validation-split.",
        )
    return chosen


def _describe(
    dataset: OpenedDataset, opened: dict[Role, LandmarkDataset], preprocessing: Preprocessing
) -> DatasetPart:
    test = opened["test"]
    return DatasetPart(
        name=test.name,
        tier=test.info.tier,
        options=dataset.options.model_dump(mode="json"),
        preprocessing=preprocessing.model_dump(mode="json"),
        splits={str(role): split.split for role, split in opened.items()},
        fingerprints={str(role): split.fingerprint for role, split in opened.items()},
        counts={str(role): len(split) for role, split in opened.items()},
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
            "metrics": declared(measurement.values, protocol),
            "notes": list(measurement.notes),
            "provenance": provenance_part,
        }
    )
