"""A small measurement of every protocol that can be scored again, with its protocol and its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.context import Arrays, EvaluationData, RunContext
from bench.protocol import Measurement, Protocol
from bench.record import RunRecord
from bench.scoring import declared
from bench.store import RunStore
from protocols.discovered import Discovered, DiscoveredOptions
from protocols.equivariance import Equivariance, EquivarianceOptions
from protocols.fewshot import FewShot, FewShotOptions
from protocols.finetune import Finetune, FinetuneOptions
from protocols.heads.regressor import RegressorOptions
from protocols.matching import Matching, MatchingOptions
from protocols.parts import Parts, PartsOptions
from protocols.regression import Regression
from protocols.scale import Scale, ScaleOptions
from protocols.segmentation import Segmentation, SegmentationOptions
from tests.protocols import equivariance_world, matching_world, parts_world, regression_world, test_scale
from tests.protocols.test_discovered import Finds
from tests.protocols.test_finetune import Small
from tests.records import record

SEED = 3


def with_gaps(data: EvaluationData) -> EvaluationData:
    """Some landmarks, and of two images a normalising one, are not visible."""
    visible = data.test.visible.clone()
    visible[1, 2] = visible[4, 0] = visible[7, 1] = False
    return replace(data, test=replace(data.test, visible=visible))


def _faces() -> EvaluationData:
    return with_gaps(regression_world.evaluation_data(20, 14))


def _measured(
    protocol: Protocol, extractor: Any, data: EvaluationData, options: Any
) -> tuple[Measurement, Any]:
    protocol.check(options, data)
    return protocol.measure(extractor, data, options, RunContext(seed=SEED)), options


_SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 10, "map_stride": 4}

MEASURED: dict[type[Protocol], Callable[[], tuple[Measurement, Any]]] = {
    Regression: lambda: _measured(
        Regression(), regression_world.Colours(), _faces(), RegressorOptions(**_SHORT)
    ),
    Finetune: lambda: _measured(Finetune(), Small(), _faces(), FinetuneOptions(**_SHORT)),
    FewShot: lambda: _measured(
        FewShot(),
        regression_world.Colours(),
        _faces(),
        FewShotOptions(**_SHORT, counts=(1, 5, 900), draws=2, copies=10),
    ),
    Discovered: lambda: _measured(
        Discovered(), Finds(), _faces(), DiscoveredOptions(counts=(1, 5, 900), draws=3)
    ),
    Scale: lambda: _measured(
        Scale(), regression_world.Colours(), test_scale.views(train=20, test=20), ScaleOptions(**_SHORT)
    ),
    Matching: lambda: _measured(
        Matching(),
        matching_world.Mixed(),
        EvaluationData(None, matching_world.split_of(12)),
        MatchingOptions(),
    ),
    Equivariance: lambda: _measured(
        Equivariance(),
        equivariance_world.Colours(),
        EvaluationData(None, equivariance_world.split_of(12)),
        EquivarianceOptions(max_distance=5),
    ),
    Segmentation: lambda: _measured(
        Segmentation(),
        parts_world.Oracle(),
        parts_world.parts_data(),
        SegmentationOptions(counts=(2, 5, 900), draws=2, steps=2),
    ),
    Parts: lambda: _measured(
        Parts(),
        parts_world.Oracle(),
        parts_world.parts_data(),
        PartsOptions(n_parts=4, fit_images=20, pixels_per_image=20, tsne_points=60, draws=2),
    ),
}


def record_of(protocol: type[Protocol], measured: Measurement, options: Any, **changes: Any) -> RunRecord:
    """As the runner would write it."""
    return record(
        *declared(measured.values, protocol()),
        protocol=protocol.name,
        version=protocol.version,
        protocol_options=options.model_dump(mode="json"),
        seed=SEED,
        **changes,
    )


def keep(
    folder: Path,
    protocol: type[Protocol],
    arrays: Arrays,
    options: Any,
    **changes: Any,
) -> RunRecord:
    """Store a run of these arrays, whose values are those that they give."""
    blank = record_of(protocol, Measurement(()), options, **changes)
    run = blank.model_copy(update={"metrics": declared(protocol().score(arrays, blank), protocol())})
    RunStore(folder).save(run, arrays)
    return run


def worse(arrays: Arrays, by: float, name: str = "predictions") -> Arrays:
    """The same run with predictions that are off by some pixels more."""
    noise = np.random.default_rng(6).normal(0, by, arrays[name].shape)
    return arrays | {name: (arrays[name] + noise).astype(arrays[name].dtype)}
