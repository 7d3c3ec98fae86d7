"""Landmark regression from frozen features with all annotated training images."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import FeatureExtractor
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions, Role
from bench.record import RunRecord
from protocols.annotations import annotation_arrays, check_landmarks, error_arrays, scoring_notes
from protocols.heads.regressor import RegressorOptions, chosen_notes, direct_notes, predict, validation_split
from protocols.pictures.cases import draw_cases
from protocols.scores.landmarks import (
    DETAIL_METRICS,
    LANDMARK_METRICS,
    detailed_scores,
    draw_curve,
    reported,
    scores,
)
from protocols.stored import StoredAnnotation, required_tensor


class Regression(Protocol):
    """Frozen features are read once; the virtual-keypoint regressor learns from those of the training split.

    The paper's epochs differ by data set: 120 for MAFL, 45 for AFLW, 80 for 300W, and 150 for compact
    features (64 to 256-d) everywhere. 45 is the default; the cosine schedule is that of 200 epochs,
    truncated, as the released README has it (the example script says 150). The number is that after the last
    epoch; ContrastLandmarks reads, for birds, the epoch that is best on the validation split (``select_epoch``).
    A method that predicts annotated landmarks itself is asked for them, and no regressor is trained.

    DVE trains 300 epochs with a rate that falls in steps: ``epochs=300 cosine_t_max=null divide_at=[101,251] beta1=0.9
    amsgrad=true``. Its drops are nominally at 100 and 250, and in effect in the 102nd and the 252nd epoch.

    Reference:
        ContrastLandmarks, Tables 5 and 8; LEAD, Tables 2 and 9. Regressor: DVE, section 4. Accuracies: Rahaman
        et al., section 5.
    """

    name: ClassVar[str] = "regression"
    version: ClassVar[int] = 3
    baselines: ClassVar[tuple[str, ...]] = ("mean-shape", "random")
    summary: ClassVar[str] = "landmarks regressed from frozen features, all training annotations"
    reference: ClassVar[str] = "Cheng et al., ICCV 2021, Table 5; Karmali et al., WACV 2022, Table 2"
    Options: ClassVar[type[ProtocolOptions]] = RegressorOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # 450 steps for 2,400 images. A step on one core: 35 ms for 5 landmarks and 64-d features at 24x24, 0.41 s
        # for 68; 0.05 and 0.68 s for a 480-d hypercolumn. So short a training wants the higher rate.
        # Few steps need a high rate, and that rate more decay: chosen on real faces, a minute on two cores.
        "quick": {
            "epochs": 6,
            "cosine_t_max": 6,
            "learning_rate": 0.06,
            "weight_decay": 0.005,
            "map_stride": 4,
            "feature_scale": "unit",
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = (*LANDMARK_METRICS, *DETAIL_METRICS)

    def roles(self, options: Any) -> tuple[Role, ...]:
        return options.roles()  # type: ignore[no-any-return]

    def check(self, options: Any, data: EvaluationData) -> None:
        check_landmarks(data)
        validation_split(options, data)

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training().cropped(), data.test.cropped()
        validation = validation_split(options, data)
        result = run.step(
            "regression/result",
            lambda: predict(extractor, train, test, options, run, "regression", validation),
        )
        predictions = torch.from_numpy(result["predictions"])
        arrays = {**annotation_arrays(test), **result, **error_arrays(test, predictions)}
        return Measurement(
            values=_values(arrays, run.seed),
            per_sample=arrays,
            notes=(
                *scoring_notes(train, test),
                *direct_notes(extractor),
                *chosen_notes({"": [result]}, options, validation),
            ),
            pictures={"accuracy_curve": draw_curve(predictions, test), **draw_cases(predictions, test)},
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _values(arrays, record.seed)


def _values(arrays: Arrays, seed: int) -> tuple[MetricValue, ...]:
    test = StoredAnnotation.of(arrays)
    predictions = required_tensor(arrays, "predictions")
    return reported([(*scores(predictions, test), *detailed_scores(predictions, test))], seed)
