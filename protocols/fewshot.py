"""Landmark regression from frozen features with few annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.geometry import SINGLE, TPSWarp
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.seeds import torch_generator
from protocols.annotations import (
    annotation_arrays,
    check_landmarks,
    error_arrays,
    scoring_notes,
)
from protocols.regression import (
    RegressorOptions,
    direct_notes,
    fit_and_predict,
    predict_directly,
    predicts_itself,
)
from protocols.scores.landmarks import LANDMARK_METRICS, reported, scores
from protocols.support import (
    check_counts,
    counts_that_fit,
    draw_seed,
    increasing,
    skipped_notes,
    stacked_by_draw,
    support_order,
)

_DVE: dict[str, Any] = {
    "counts": (1, 5, 10, 20),
    "copies": 10122,
    "weight_decay": 0.0005,
    "cosine_t_max": None,
    "beta1": 0.9,
    "amsgrad": True,
}
_BIRDS: dict[str, Any] = {
    "counts": (10, 50, 100, 250, 500, 1241),
    "augment": False,
    "epochs": 2000,
    "cosine_t_max": 2000,
    "weight_decay_above_100": 0.005,
}
RECIPES: dict[str, dict[str, Any]] = {"contrast": {}, "dve": _DVE, "birds": _BIRDS}
"""What each recipe changes of the defaults, which are ContrastLandmarks' for faces."""

_LAST_EPOCH = (
    "read after the last epoch; ContrastLandmarks reads the epoch that is best on CUB's validation split"
)


_ALL_SEEN = "the features were learned with all training annotations, not with the few of a draw"


class FewShotOptions(RegressorOptions):
    """Which annotations are drawn, how they are augmented, and how the regressor is trained on them.

    A recipe fills in the options that are not given; those that are given win.
    """

    recipe: Literal["contrast", "dve", "birds"] = Field(
        "contrast",
        description="Whose numbers fill in what is not given: ContrastLandmarks' for faces; DVE's, with AMSGrad, a "
        "constant rate and less weight decay; ContrastLandmarks' for CUB, without warps, for 2000 epochs.",
    )
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
    weight_decay_above_100: float | None = Field(
        None, ge=0, description="The same with more than 100 annotated images (null: no other; CUB: 0.005)."
    )
    cosine_t_max: int | None = Field(
        50, ge=1, description="Epoch at which the cosine schedule ends (null: constant rate, DVE)."
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        recipe = given.get("recipe", "contrast")
        return {**RECIPES.get(recipe, {}), **given} if isinstance(recipe, str) else given

    @field_validator("counts")
    @classmethod
    def _counts_increase(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if not counts:
            raise ValueError("counts must be positive and increasing, and at least one, got []")
        return increasing(counts)

    def for_count(self, count: int) -> FewShotOptions:
        """The options with which ``count`` annotated images are learned from."""
        if count <= 100 or self.weight_decay_above_100 is None:
            return self
        return self.model_copy(update={"weight_decay": self.weight_decay_above_100})


class FewShot(Protocol):
    """The regression protocol with n annotated images, tiled to many copies with one random warp each.

    A draw is a seeded permutation of the annotated training images; the support set of n images is its first
    n, so that the sets are nested. Each copy has its warp for all epochs (features are read once), as in
    DVE's code. Copy c of an image is warped alike in every support set that has it: the result for one count
    depends neither on the other counts nor on how many draws there are.

    Faces are warped as a whole working frame, cropped, and truncated to 8 bits, as in the released code.
    ContrastLandmarks' README trains 1000 epochs, its example script 50; DVE 50.

    Recipe ``birds`` is ContrastLandmarks' for CUB. Its paper reads the epoch that is best on the validation split;
    here, as everywhere, the number is that after the last epoch.

    Reference:
        ContrastLandmarks, Tables 7 and 8; LEAD, Table 5. DVE, section 4 ("limited annotations").
    """

    name: ClassVar[str] = "fewshot"
    version: ClassVar[int] = 2
    baselines: ClassVar[tuple[str, ...]] = ("mean-shape", "random")
    summary: ClassVar[str] = "landmarks regressed from frozen features, 1 to 100 annotated images"
    reference: ClassVar[str] = "Cheng et al., ICCV 2021, Table 7; Karmali et al., WACV 2022, Table 5"
    Options: ClassVar[type[ProtocolOptions]] = FewShotOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "dve": {"recipe": "dve"},
        "birds": {"recipe": "birds"},
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
    metrics: ClassVar[tuple[MetricSpec, ...]] = LANDMARK_METRICS

    def check(self, options: Any, data: EvaluationData) -> None:
        check_landmarks(data)
        check_counts(options.counts, data.training())

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training(), data.test.cropped()
        learner = _Learner(extractor, train, test.images, options, run)
        values: list[MetricValue] = []
        per_sample = annotation_arrays(test)
        counts = counts_that_fit(options.counts, train)
        for count in counts:
            results = [learner.result(count, draw) for draw in range(options.draws)]
            drawn = [torch.from_numpy(result["predictions"]) for result in results]
            values += reported([scores(each, test) for each in drawn], run.seed, {"annotations": count})
            per_sample |= stacked_by_draw(results, [error_arrays(test, each) for each in drawn], count)
        notes = (
            *scoring_notes(train, test),
            *(direct_notes(extractor) if _predicts_from_support(extractor) else ()),
            *((_ALL_SEEN,) if extractor.knows_annotations else ()),
            *skipped_notes(options.counts, train),
            *([_LAST_EPOCH] if options.recipe == "birds" else []),
        )
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
    def unseen(self) -> FeatureMap:
        return self.run.features(self.extractor, self.test_images, "test images", self._map_size)

    @property
    def _map_size(self) -> tuple[int, int]:
        height, width = self.test_images.shape[-2:]
        return self.options.map_size((height, width))

    def result(self, count: int, draw: int) -> Arrays:
        return self.run.step(f"fewshot/annotations={count}/draw={draw}", lambda: self._learn(count, draw))

    def _learn(self, count: int, draw: int) -> Arrays:
        seed = draw_seed(self.run.seed, draw)
        support = self.train.take(support_order(self.train, seed)[:count])
        return {**self._predictions(support, seed, count, draw), "support_ids": np.array(support.ids)}

    def _predictions(self, support: LoadedSplit, seed: int, count: int, draw: int) -> Arrays:
        if _predicts_from_support(self.extractor):
            return predict_directly(
                self.extractor, self.run, split=support.cropped(), unseen=self.test_images
            )
        augment = self.options.augment
        split = warped_copies(support, seed, self.options, self.run) if augment else support.cropped()
        name = f"annotations={count}/draw={draw}"
        learned = self.run.features(self.extractor, split.images, f"support images, {name}", self._map_size)
        return fit_and_predict(
            self.options.for_count(count),
            self.run,
            learned=learned,
            split=split,
            unseen=self.unseen,
            seed=seed,
            key=f"fewshot/{name}",
        )


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


def _predicts_from_support(extractor: FeatureExtractor) -> bool:
    """A network that was trained with all annotations would give the same, however few are given."""
    return predicts_itself(extractor) and not extractor.knows_annotations
