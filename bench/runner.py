"""Run one cell: method x weights x data set x protocol x seed, from names to a stored record."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock

from bench import provenance, registry
from bench.allocator import retain_heap
from bench.context import RunContext
from bench.errors import BenchError
from bench.feature_cache import FeatureCache
from bench.files import UnwritableError, require_writable
from bench.identity import (
    dataset_part,
    feature_dim,
    method_part,
    network_request,
    protocol_part,
    require_capabilities,
)
from bench.ingredients import Ingredients
from bench.network import open_network, planned_network
from bench.opening import choose_device
from bench.precision import forbid_tf32
from bench.progress import Progress
from bench.protocol import Measurement, Protocol
from bench.record import RunRecord
from bench.run_request import RunRequest
from bench.scoring import declared
from bench.store import RunStore

__all__ = ["RunRequest", "RunResult", "baseline_requests", "run"]


@dataclass(frozen=True)
class RunResult:
    """The record, where it lies, and whether it had been there before."""

    record: RunRecord
    path: Path
    reused: bool


def run(request: RunRequest, progress: Progress, ingredients: Ingredients | None = None) -> RunResult:
    """Measure one cell, or find its record.

    Everything that can be known to fail is found before anything long is computed. A cell whose measurement
    fails is stored as a failed record with the reason, and the error is raised.

    Args:
        ingredients: Of the cells that this process ran before; None: everything is opened anew.

    Raises:
        BenchError: for whatever the user can mend.
    """
    retain_heap()
    forbid_tf32()
    ingredients = ingredients or Ingredients()
    method = ingredients.method(request.method)
    device = choose_device(request.device)
    procedure = ingredients.procedure(request, device)
    protocol, options = procedure.protocol, procedure.options
    store = RunStore(request.runs)
    require_writable(request.runs)
    if protocol.uses_data:
        ingredients.dataset(request.dataset)
    wanted = network_request(request, method, protocol)
    network = open_network(wanted, device, progress) if wanted.is_at_hand else None
    extractor = network.extractor if network else planned_network(wanted)
    require_capabilities(protocol, extractor.capabilities, method.name)
    opened = ingredients.splits(procedure, request)
    data = ingredients.load(procedure, request, progress)
    protocol.check(options, data)
    if network is None:
        network = open_network(wanted, device, progress)
    network.extractor.half_precision = request.feature_dtype == "float16"
    progress.say(f"[bold]{method.name}[/bold]: {network.label}")
    record = RunRecord(
        status="ok",
        method=method_part(network, request, feature_dim(network.extractor, request.preprocessing, device)),
        protocol=protocol_part(procedure, request),
        dataset=dataset_part(opened, ingredients, request),
        seed=request.seed,
    )
    partial = store.partial_folder(record.id)
    partial.mkdir(parents=True, exist_ok=True)
    # A second process on the same cell waits and then finds the record.
    with FileLock(store.lock_file(record.id)):
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
        except UnwritableError:
            raise  # the measurement is not what failed
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
