"""Landmark regression from frozen features with few annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.geometry import SINGLE, TPSWarp
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.seeds import derive_seed, torch_generator
from protocols.metrics import PerPoint
from protocols.regression import (
    NME_INTEROCULAR,
    RegressorOptions,
    annotation_arrays,
    annotation_notes,
    check_annotations,
    errors_on,
    fit_and_predict,
)


class FewShotOptions(RegressorOptions):
    """Which annotations are drawn, how they are augmented, and how the regressor is trained on them."""

    counts: tuple[int, ...] = Field((1, 5, 10, 20, 50, 100), description="Numbers of annotated images.")
    draws: int = Field(3, ge=1, description="Support sets drawn for each count.")
    copies: int = Field(1000, ge=1, description="Warped copies in all: floor(copies / count) of each image.")
    augment: bool = Field(True, description="Warp the copies; false: the plain images, once each.")
    keypoint_warp: Literal["nearest", "exact"] = Field(
        "nearest", description="Landmarks move to the nearest pixel (released code) or exactly."
    )
    epochs: int = Field(50, ge=1, description="Passes over the copies.")
    learning_rate: float = Field(0.01, gt=0, description="Adam's initial rate.")
    weight_decay: float = Field(0.05, ge=0, description="L2 penalty, added to the gradient (DVE: 0.0005).")
    cosine_t_max: int | None = Field(
        50, ge=1, description="Epoch at which the cosine schedule ends (null: constant rate, DVE)."
    )

    @field_validator("counts")
    @classmethod
    def _counts_increase(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if not counts or counts[0] < 1 or list(counts) != sorted(set(counts)):
            raise ValueError(f"counts must be positive and increasing, got {list(counts)}")
        return counts


class FewShot(Protocol):
    """The regression protocol with n annotated images, tiled to many copies with one random warp each.

    A draw is a seeded permutation of the annotated training images; the support set of n images is its first
    n, so that the sets are nested. Each copy has its warp for all epochs (features are read once), as in
    DVE's code. Copy c of an image is warped alike in every support set that has it: the result for one count
    depends neither on the other counts nor on how many draws there are.

    Faces are warped as a whole working frame, cropped, and truncated to 8 bits, as in the released code.
    ContrastLandmarks' README trains 1000 epochs, its example script 50; DVE 50.

    Reference:
        ContrastLandmarks, Table 7; LEAD, Table 5. DVE, section 4 ("limited annotations").
    """

    name: ClassVar[str] = "fewshot"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "landmarks regressed from frozen features, 1 to 100 annotated images"
    reference: ClassVar[str] = "Cheng et al., ICCV 2021, Table 7; Karmali et al., WACV 2022, Table 5"
    Options: ClassVar[type[ProtocolOptions]] = FewShotOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "dve": {
            "copies": 10122,
            "counts": (1, 5, 10, 20),
            "weight_decay": 0.0005,
            "cosine_t_max": None,
            "beta1": 0.9,
            "amsgrad": True,
        },
        # 1,140 steps and 2,079 copies in all; a step on one core: 34 ms for 5 landmarks and 64-d features at 24x24.
        # 300 steps of 16 copies; the paper preset takes 1550 of 32.
        "quick": {
            "copies": 320,
            "epochs": 15,
            "cosine_t_max": 15,
            "batch_size": 16,
            "learning_rate": 0.06,
            "map_stride": 4,
            "feature_scale": "unit",
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = (NME_INTEROCULAR,)

    def check(self, options: Any, data: EvaluationData) -> None:
        check_annotations(data)
        annotated = len(_annotated(data.training()))
        if options.counts[0] > annotated:
            raise BenchError(
                f"the smallest support set has {options.counts[0]} images, and {data.training().name} has "
                f"{annotated} annotated ones",
                hint="Ask for fewer: -P counts=[1,5].",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training(), data.test.cropped()
        learner = _Learner(extractor, train, test.images, options, run)
        counts = [count for count in options.counts if count <= len(learner.annotated)]
        values: list[MetricValue] = []
        per_sample = annotation_arrays(test)
        notes: tuple[str, ...] = ()
        for count in counts:
            results = [learner.result(count, draw) for draw in range(options.draws)]
            errors = [errors_on(test, torch.from_numpy(result["predictions"])) for result in results]
            values.append(_value(errors, count, run.seed))
            for name in ("predictions", "support_ids", "losses"):
                per_sample[f"{name}_{count}"] = np.stack([result[name] for result in results])
            per_sample[f"errors_{count}"] = np.stack([each.values.numpy() for each in errors])
            per_sample["counted"] = errors[0].counted.numpy()
            notes = annotation_notes(train, errors[0])
        skipped = [str(count) for count in options.counts if count not in counts]
        if skipped:
            reason = f"{train.name} has {len(learner.annotated)} annotated images"
            notes = (*notes, f"annotations = {', '.join(skipped)} skipped: {reason}")
        return Measurement(tuple(values), per_sample, notes)


@dataclass
class _Learner:
    """Learns from the support set of one count and one draw after another."""

    extractor: FeatureExtractor
    train: LoadedSplit
    test_images: Tensor
    options: FewShotOptions
    run: RunContext

    @cached_property
    def annotated(self) -> list[int]:
        return _annotated(self.train)

    @cached_property
    def unseen(self) -> FeatureMap:
        return self.run.features(self.extractor, self.test_images, "test images", self._map_size)

    @property
    def _map_size(self) -> tuple[int, int]:
        height, width = self.test_images.shape[-2:]
        return self.options.map_size((height, width))

    def result(self, count: int, draw: int) -> Arrays:
        return self.run.step(f"fewshot/annotations={count}/draw={draw}", lambda: self._learn(count, draw))

    def _learn(self, count: int, draw: int) -> Arrays:
        seed = derive_seed(self.run.seed, "fewshot", draw)
        order = torch.randperm(len(self.annotated), generator=torch_generator(seed, "support"))
        support = self.train.take([self.annotated[int(i)] for i in order[:count]])
        augment = self.options.augment
        split = warped_copies(support, seed, self.options, self.run) if augment else support.cropped()
        name = f"annotations={count}/draw={draw}"
        learned = self.run.features(self.extractor, split.images, f"support images, {name}", self._map_size)
        result = fit_and_predict(
            self.options,
            self.run,
            learned=learned,
            split=split,
            unseen=self.unseen,
            seed=seed,
            key=f"fewshot/{name}",
        )
        return {**result, "support_ids": np.array(support.ids)}


def _annotated(train: LoadedSplit) -> list[int]:
    """The images of which a landmark is visible; only these can support anything."""
    return [int(i) for i in train.visible.any(1).nonzero()]


def warped_copies(support: LoadedSplit, seed: int, options: FewShotOptions, run: RunContext) -> LoadedSplit:
    """``floor(copies / n)`` copies of each of n images, but at least one; each with its own warp, cropped.

    Args:
        seed: Draws the warps: copy c of the image at place r of the support set depends on (seed, r, c) only.
    """
    each = max(1, options.copies // len(support))
    tiled = support.take([place for place in range(len(support)) for _ in range(each)])
    warps = TPSWarp(
        torch.cat(
            [
                TPSWarp.draw(each, SINGLE, torch_generator(seed, "warps", place)).weights
                for place in range(len(support))
            ]
        )
    )
    parts = []
    with run.phase("warps"):
        starts = range(0, len(tiled), run.batch_size)
        for start in run.progress.track(starts, "warping support images", len(starts)):
            indices = list(range(start, min(start + run.batch_size, len(tiled))))
            parts.append(_warp(tiled.take(indices), warps[start : start + run.batch_size], options, run))
    images, points, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return LoadedSplit(
        name=tiled.name,
        fingerprint=tiled.fingerprint,
        ids=tiled.ids,
        identities=tiled.identities,
        images=images,
        points=points,
        visible=visible,
        schema=tiled.schema,
    )


def _warp(
    split: LoadedSplit, warps: TPSWarp, options: FewShotOptions, run: RunContext
) -> tuple[Tensor, Tensor, Tensor]:
    warps = warps.to(run.device)
    m, side = split.margin, split.images.shape[-1]
    kept = slice(m, side - m)
    # The conversion to uint8 truncates, as in the released code.
    images = warps.warp_images(split.images.to(run.device).float())[..., kept, kept].to(torch.uint8).cpu()
    points = torch.where(split.visible.unsqueeze(-1), split.points, 0.0).to(run.device)
    visible = split.visible
    if options.keypoint_warp == "nearest":
        moved = warps.move_points_to_nearest_node(points, (side, side))
    else:
        moved, found = warps.move_points(points, (side, side))
        visible = visible & found.cpu()
    return images, (moved - m).to(split.points).cpu(), visible


def _value(errors: list[PerPoint], count: int, seed: int) -> MetricValue:
    means = [each.mean() for each in errors]
    # The test images are the same in every draw: an image's error is its mean over the draws.
    averaged = PerPoint(torch.stack([each.values for each in errors]).mean(0), errors[0].counted)
    low, high = averaged.interval(seed)
    return MetricValue(
        NME_INTEROCULAR.name,
        float(np.mean(means)),
        condition={"annotations": count},
        low=low,
        high=high,
        std=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        count=averaged.images,
    )
