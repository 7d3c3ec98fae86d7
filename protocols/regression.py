"""Landmark regression from frozen features with all annotated training images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, Protocol, ProtocolOptions
from bench.seeds import derive_seed, torch_generator
from protocols.annotations import (
    annotation_arrays,
    annotation_notes,
    check_annotations,
    check_landmarks,
    error_arrays,
    errors_on,
    required_normaliser,
    scoring_notes,
)
from protocols.heads.fitting import FitSettings, fit
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor, to_normalised, to_pixels
from protocols.scores.landmarks import (
    DETAIL_METRICS,
    LANDMARK_METRICS,
    NME_INTEROCULAR,
    detailed_scores,
    draw_curve,
    reported,
    scores,
)

__all__ = [
    "NME_INTEROCULAR",
    "Regression",
    "RegressorOptions",
    "annotation_arrays",
    "annotation_notes",
    "check_annotations",
    "errors_on",
    "fit_and_predict",
    "required_normaliser",
    "unit_factor",
]

_SHORTEST = 1e-12
"""Features that are zero everywhere stay zero."""


class RegressorOptions(ProtocolOptions):
    """How the regressor is trained, with the defaults of ContrastLandmarks."""

    epochs: int = Field(45, ge=1, description="Passes over the training images.")
    learning_rate: float = Field(0.001, gt=0, description="Adam's initial rate.")
    weight_decay: float = Field(0.0005, ge=0, description="L2 penalty, added to the gradient.")
    batch_size: int = Field(32, ge=1, description="Images in a training step.")
    cosine_t_max: int | None = Field(
        200, ge=1, description="Epoch at which the cosine schedule ends (null: constant rate)."
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first moment (DVE: 0.9).")
    amsgrad: bool = Field(False, description="AMSGrad variant of Adam (DVE: true).")
    map_stride: int = Field(2, ge=1, description="The feature map is defined at image size / map_stride.")
    feature_scale: Literal["as_is", "unit"] = Field(
        "as_is",
        description="unit: features are divided by the mean length of the training images' descriptors. On long "
        "descriptors the regressor's soft-max begins sharp, and few steps cannot undo that.",
    )

    def settings(self) -> FitSettings:
        return FitSettings(**{name: getattr(self, name) for name in FitSettings.model_fields})

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = image_size
        return max(1, height // self.map_stride), max(1, width // self.map_stride)


class Regression(Protocol):
    """Frozen features are read once; the virtual-keypoint regressor learns from those of the training split.

    The paper's epochs differ by data set: 120 for MAFL, 45 for AFLW, 80 for 300W, and 150 for compact
    features (64 to 256-d) everywhere. 45 is the default; the cosine schedule is that of 200 epochs,
    truncated, as the released README has it (the example script says 150). The number is that after the last
    epoch. A method that predicts annotated landmarks itself is asked for them, and no regressor is trained.

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
        # 450 steps for 2,400 images. A step on one core: 34 ms for 5 landmarks and 64-d features at 24x24, 0.41 s
        # for 68; 0.06 and 0.78 s for a 480-d hypercolumn. So short a training wants the higher rate.
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

    def check(self, options: Any, data: EvaluationData) -> None:
        del options
        check_landmarks(data)

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training().cropped(), data.test.cropped()
        result = run.step(
            "regression/result", lambda: predict(extractor, train, test, options, run, "regression")
        )
        predictions = torch.from_numpy(result["predictions"])
        found = (*scores(predictions, test), *detailed_scores(predictions, test))
        return Measurement(
            values=reported([found], run.seed),
            per_sample={**annotation_arrays(test), **result, **error_arrays(test, predictions)},
            notes=(*scoring_notes(train, test), *direct_notes(extractor)),
            pictures={"accuracy_curve": draw_curve(predictions, test)},
        )


def predict(
    extractor: FeatureExtractor,
    train: LoadedSplit,
    test: LoadedSplit,
    options: RegressorOptions,
    run: RunContext,
    key: str,
) -> Arrays:
    """The landmarks of ``test``, by a regressor trained on frozen features of ``train``, or by the method itself.

    Returns:
        As :func:`fit_and_predict`.
    """
    if predicts_itself(extractor):
        return predict_directly(extractor, run, split=train, unseen=test.images)
    height, width = test.images.shape[-2:]
    size = options.map_size((height, width))
    learned = run.features(extractor, train.images, "training images", size)
    unseen = run.features(extractor, test.images, "test images", size)
    return fit_and_predict(options, run, learned=learned, split=train, unseen=unseen, seed=run.seed, key=key)


def predicts_itself(extractor: FeatureExtractor) -> bool:
    """Whether the method says where annotated landmarks are, so that no regressor is trained."""
    return "annotated" in extractor.capabilities


def direct_notes(extractor: FeatureExtractor) -> tuple[str, ...]:
    own = "no regressor was trained: the method predicts annotated landmarks itself"
    return (own,) if predicts_itself(extractor) else ()


def predict_directly(
    extractor: FeatureExtractor, run: RunContext, *, split: LoadedSplit, unseen: Tensor
) -> Arrays:
    """What the method itself predicts on ``unseen`` (N, 3, S, S), given the annotations of ``split``.

    Returns:
        As :func:`fit_and_predict`; there are no losses.
    """
    points, visible = split.points.to(run.device), split.visible.to(run.device)
    with run.phase("head"), torch.no_grad():
        predicted = [
            extractor.annotated_landmarks(part.to(run.device).float() / 255, points, visible)
            for part in unseen.split(run.batch_size)
        ]
    return {"predictions": torch.cat(predicted).cpu().numpy(), "losses": np.empty(0)}


def unit_factor(learned: FeatureMap) -> float:
    """What the training images' features are multiplied by for a mean length of 1."""
    return 1 / max(learned.mean_length(), _SHORTEST)


def fit_and_predict(
    options: RegressorOptions,
    run: RunContext,
    *,
    learned: FeatureMap,
    split: LoadedSplit,
    unseen: FeatureMap,
    seed: int,
    key: str,
) -> Arrays:
    """Train a new regressor on the ``learned`` features of ``split`` and apply it to the ``unseen`` ones.

    Args:
        learned, unseen: Defined at the size that the options ask for.
        seed: Draws the initial weights and the order of the training images.
        key: Names this training within the run.

    Returns:
        ``predictions`` (N_unseen, K, 2), float32, pixels, corner origin; ``losses`` (epochs,).
    """
    if options.feature_scale == "unit":
        factor = unit_factor(learned)
        learned, unseen = learned.scaled(factor), unseen.scaled(factor)
    generator = torch_generator(seed, "regressor")
    regressor = VirtualKeypointRegressor(learned.channels, split.points.shape[1], generator)
    losses = fit(
        regressor,
        learned,
        to_normalised(split.points, learned.image_size),
        split.visible,
        options.settings(),
        seed=derive_seed(seed, "fit"),
        run=run,
        key=key,
    )
    with run.phase("head"), torch.no_grad():
        predicted = torch.cat([regressor(part.to(run.device)) for part in unseen.split(run.batch_size)])
    return {"predictions": to_pixels(predicted.cpu(), unseen.image_size).numpy(), "losses": losses}
