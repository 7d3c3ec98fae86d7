"""Records and stored values for tests of figures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from bench.record import MetricPart, RunRecord
from bench.report import Runs
from bench.store import RunStore
from tests.records import metric, record

METHODS = ("contrast", "dve", "imagenet", "lead", "rahaman", "supervised", "thewlis", "random")


def few_shot(method: str = "lead", offset: float = 0.0, **changes: Any) -> RunRecord:
    parts = [
        metric(20.0 / count + 5 + offset, condition={"annotations": count}, std=0.5)
        for count in (1, 5, 10, 100)
    ]
    return record(*parts, method=method, protocol="fewshot", **changes)


def equivariance(method: str = "lead", error: float = 4.0) -> RunRecord:
    def part(predictor: str, distance: int, value: float) -> MetricPart:
        condition = {"predictor": predictor, "distance": distance}
        return metric(
            value,
            "equivariance_acc",
            condition=condition,
            unit="%",
            direction="higher",
            low=value - 1,
            high=value + 1,
        )

    parts = [
        part(predictor, distance, 100 * (1 - float(np.exp(-distance / scale))))
        for predictor, scale in (("features", error), ("random", 60.0))
        for distance in range(1, 21)
    ]
    return record(*parts, method=method, protocol="equivariance")


def scale(method: str = "lead", slope: float = 5.0) -> RunRecord:
    edges = [round(1 + i / 10, 1) for i in range(11)]
    bins = [
        metric(5 + slope * (low - 1), condition={"zoom": f"{low:g}-{high:g}"}, low=4.0, high=12.0)
        for low, high in itertools.pairwise(edges)
    ]
    pooled = [metric(6.0, condition={"scales": "seen"}), metric(6 + slope, condition={"scales": "unseen"})]
    options = {"train_zoom": [1.0, 1.5], "test_zoom": [1.0, 2.0]}
    return record(*pooled, *bins, method=method, protocol="scale", protocol_options=options)


def costs(method: str, macs: float) -> list[RunRecord]:
    """Of the network that ``tests.records`` gives to the method."""
    size = {"image_size": 96}
    flops = record(
        metric(macs, "backbone_gmacs", condition=size), method=method, protocol="flops", weights="none"
    )
    memory = record(
        metric(macs * 10, "params_m"),
        metric(macs * 100, "activation_proxy_mb", condition=size),
        method=method,
        protocol="memory",
        weights="none",
    )
    return [part.model_copy(update={"dataset": None}) for part in (flops, memory)]


def regression(method: str = "lead", value: float = 8.0, **changes: Any) -> RunRecord:
    return record(metric(value, low=value - 0.5, high=value + 0.5), method=method, **changes)


def predictions(error: float, images: int = 50, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Predictions of 3 landmarks, off to the right by ``error`` px on average, more for later landmarks.

    The distance that normalises is 50 px; the last landmark is hidden in every other image.
    """
    stream = np.random.default_rng(seed)
    targets = np.array([[20.0, 30.0], [70.0, 30.0], [45.0, 70.0]]) + stream.normal(0, 2, (images, 3, 2))
    size = error * np.array([0.5, 1.0, 1.5]) * stream.uniform(0.5, 1.5, (images, 1))
    found = targets + np.stack([size, np.zeros_like(size)], -1)
    visible = np.ones((images, 3), dtype=np.bool_)
    visible[::2, 2] = False
    return {
        "ids": np.array([f"image{i}" for i in range(images)]),
        "targets": targets.astype(np.float32),
        "predictions": found.astype(np.float32),
        "visible": visible,
        "distances": np.where(visible, size, 0),
        "errors": np.where(visible, 2 * size, 0),
        "counted": visible,
        "image_size": np.array([96, 96]),
    }


def stored(folder: Path, errors: dict[str, float]) -> Runs:
    """Regression records of methods with predictions that are so many pixels off."""
    store = RunStore(folder)
    for method, error in errors.items():
        store.save(regression(method, 2 * error), predictions(error))
    return Runs.of(store)
