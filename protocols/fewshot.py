"""Landmark regression from frozen features with few annotated images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import FeatureExtractor
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions, Role
from bench.record import RunRecord
from protocols.annotations import (
    annotation_arrays,
    check_landmarks,
    error_arrays,
    scoring_notes,
)
from protocols.fewshot_learner import Learner, predicts_from_support
from protocols.heads.regressor import (
    RegressorOptions,
    chosen_notes,
    direct_notes,
    validation_split,
)
from protocols.pictures.cases import draw_cases
from protocols.scores.landmarks import LANDMARK_METRICS, reported, scores
from protocols.stored import StoredAnnotation
from protocols.support import (
    check_counts,
    counts_that_fit,
    increasing,
    predictions_by_count,
    skipped_notes,
    stacked_by_draw,
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
    "select_epoch": "best_on_validation",
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
        "constant rate and less weight decay; ContrastLandmarks' for CUB, without warps, the best of 2000 epochs.",
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

    Recipe ``birds`` is ContrastLandmarks' for CUB: every regressor is read after the epoch that is best on the
    validation split. Everywhere else the number is that after the last epoch.

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
        # 320 steps of 8 copies, 10 to 16 ms each on one core for 5 landmarks and 64-d features at 24x24; the paper
        # preset takes 1550 of 32. Two draws: a third of the whole run saved, and no bias; seeds give more of them.
        "quick": {
            "draws": 2,
            "copies": 320,
            "epochs": 8,
            "cosine_t_max": 8,
            "batch_size": 8,
            "learning_rate": 0.045,
            "map_stride": 4,
            "feature_scale": "unit",
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = LANDMARK_METRICS

    def roles(self, options: Any) -> tuple[Role, ...]:
        return options.roles()  # type: ignore[no-any-return]

    def check(self, options: Any, data: EvaluationData) -> None:
        check_landmarks(data)
        validation_split(options, data)
        check_counts(options.counts, data.training())

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training(), data.test.cropped()
        validation = validation_split(options, data)
        learner = Learner(extractor, train, test.images, validation, options, run)
        results_by_count: dict[str, list[Arrays]] = {}
        per_sample = annotation_arrays(test)
        counts = counts_that_fit(options.counts, train)
        for count, results in learner.results(counts).items():
            results_by_count[f"annotations = {count}:"] = results
            drawn = [torch.from_numpy(result["predictions"]) for result in results]
            per_sample |= stacked_by_draw(results, [error_arrays(test, each) for each in drawn], count)
        notes = (
            *scoring_notes(train, test),
            *(direct_notes(extractor) if predicts_from_support(extractor) else ()),
            *((_ALL_SEEN,) if extractor.knows_annotations else ()),
            *skipped_notes(options.counts, train),
            *chosen_notes(results_by_count, options, validation),
            *([_LAST_EPOCH] if options.recipe == "birds" and options.select_epoch == "last" else []),
        )
        most = results_by_count[f"annotations = {counts[-1]}:"][0]
        pictures = draw_cases(torch.from_numpy(most["predictions"]), test)
        return Measurement(_values(per_sample, options, run.seed), per_sample, notes, pictures)

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _values(arrays, self.options_of(record), record.seed)


def _values(arrays: Arrays, options: FewShotOptions, seed: int) -> tuple[MetricValue, ...]:
    test = StoredAnnotation.of(arrays)
    values: list[MetricValue] = []
    for count, draws in predictions_by_count(arrays, options.counts).items():
        values += reported([scores(each, test) for each in draws], seed, {"annotations": count})
    return tuple(values)
