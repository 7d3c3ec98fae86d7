"""Records for tests: valid ones, in which a test names only what it is about."""

from __future__ import annotations

from typing import Any, Literal

from bench.record import DatasetPart, MethodPart, MetricPart, ProtocolPart, RunRecord


def metric(value: float, name: str = "nme_interocular", **changes: Any) -> MetricPart:
    fields: dict[str, Any] = {
        "condition": {},
        "unit": "% of inter-ocular distance",
        "direction": "lower",
        "definition": "mean distance over landmarks and images",
        "averaging": "over visible landmarks, then images",
    }
    return MetricPart(metric=name, value=value, **(fields | changes))


def record(
    *metrics: MetricPart,
    method: str = "lead",
    options: dict[str, Any] | None = None,
    weights: str = "a" * 64,
    label: str = "shipped, synthetic-faces",
    protocol: str = "regression",
    version: int = 1,
    protocol_options: dict[str, Any] | None = None,
    preset: str = "quick",
    dataset: str = "synthetic-faces",
    fingerprint: str = "f" * 64,
    preprocessing: dict[str, Any] | None = None,
    seed: int = 0,
    reason: str | None = None,
    provenance: dict[str, Any] | None = None,
) -> RunRecord:
    """An ok record of the metrics, or a failed one where there is a reason."""
    status: Literal["ok", "failed"] = "ok" if reason is None else "failed"
    return RunRecord(
        status=status,
        reason=reason,
        method=MethodPart(
            name=method,
            options=options or {"features": "projected"},
            weights_sha256=weights,
            weights_label=label,
            feature_dim=64,
        ),
        protocol=ProtocolPart(
            name=protocol, version=version, preset=preset, options=protocol_options or {"points": 50}
        ),
        dataset=DatasetPart(
            name=dataset,
            tier="procedural",
            options={"landmarks": 10},
            preprocessing=preprocessing or {"image_size": 96, "margin": 0},
            splits={"train": "train", "test": "test"},
            fingerprints={"train": "e" * 64, "test": fingerprint},
            counts={"train": 400, "test": 200},
            landmarks=10,
        ),
        seed=seed,
        metrics=list(metrics),
        provenance=provenance or {},
    )
