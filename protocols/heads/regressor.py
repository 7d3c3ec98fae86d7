"""The landmark regressor's settings, its training on frozen features, and what stands in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from bench.protocol import ProtocolOptions, Role
from bench.seeds import derive_seed, torch_generator
from protocols.heads.best_epoch import BestEpoch
from protocols.heads.fitting import FitSettings, check_schedule, fit
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor, to_normalised, to_pixels
from protocols.scores.landmarks import selection_rule, selection_score

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
    divide_at: tuple[int, ...] = Field(
        (),
        description="Instead of the cosine: epochs, counted from 0, from which on the rate is a tenth of what it was "
        "(DVE with all annotations: 101 and 251).",
    )
    select_epoch: Literal["last", "best_on_validation"] = Field(
        "last",
        description="After which epoch the regressor is read: the last, or the one that is best on the data set's "
        "validation split, by the error where it can be normalised, else by the PCK of ContrastLandmarks' code.",
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's first moment (DVE: 0.9).")
    amsgrad: bool = Field(False, description="AMSGrad variant of Adam (DVE: true).")
    map_stride: int = Field(2, ge=1, description="The feature map is defined at image size / map_stride.")
    feature_scale: Literal["as_is", "unit"] = Field(
        "as_is",
        description="unit: features are divided by the mean length of the training images' descriptors. On long "
        "descriptors the regressor's soft-max begins sharp, and few steps cannot undo that.",
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> RegressorOptions:
        check_schedule(self.cosine_t_max, self.divide_at)
        return self

    def roles(self) -> tuple[Role, ...]:
        """The splits that a training with these options reads."""
        validation: tuple[Role, ...] = ("validation",) if self.select_epoch == "best_on_validation" else ()
        return ("train", *validation, "test")

    def settings(self) -> FitSettings:
        return FitSettings(**{name: getattr(self, name) for name in FitSettings.model_fields})

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = image_size
        return max(1, height // self.map_stride), max(1, width // self.map_stride)


def predict(
    extractor: FeatureExtractor,
    train: LoadedSplit,
    test: LoadedSplit,
    options: RegressorOptions,
    run: RunContext,
    key: str,
    validation: LoadedSplit | None = None,
) -> Arrays:
    """The landmarks of ``test``, by a regressor trained on frozen features of ``train``, or by the method itself.

    Args:
        validation: Chooses the epoch; None: the last.

    Returns:
        As :func:`fit_and_predict`.
    """
    if predicts_itself(extractor):
        return predict_directly(extractor, run, split=train, unseen=test.images)
    height, width = test.images.shape[-2:]
    size = options.map_size((height, width))
    learned = run.features(extractor, train.images, "training images", size, keep=True)
    unseen = run.features(extractor, test.images, "test images", size, keep=True)
    return fit_and_predict(
        options,
        run,
        learned=learned,
        split=train,
        unseen=unseen,
        seed=run.seed,
        key=key,
        validation=Validation.read(extractor, validation, options, run),
    )


@dataclass(frozen=True, eq=False)
class Validation:
    """What the epochs of a training are judged on.

    Shapes:
        features: Of the N images of ``split``, defined at the size that the options ask for.
    """

    features: FeatureMap
    split: LoadedSplit

    @classmethod
    def read(
        cls,
        extractor: FeatureExtractor,
        split: LoadedSplit | None,
        options: RegressorOptions,
        run: RunContext,
    ) -> Validation | None:
        """None where there is no ``split``: the last epoch is read."""
        if split is None:
            return None
        height, width = split.images.shape[-2:]
        size = options.map_size((height, width))
        return cls(run.features(extractor, split.images, "validation images", size, keep=True), split)


def validation_split(options: RegressorOptions, data: EvaluationData) -> LoadedSplit | None:
    """What epochs are judged on, as a method sees it; None where the options read the last one.

    Raises:
        BenchError: where the options choose an epoch and there is nothing to choose it by.
    """
    return data.validating().cropped() if options.select_epoch == "best_on_validation" else None


def chosen_notes(
    results: Mapping[str, Sequence[Arrays]], options: RegressorOptions, validation: LoadedSplit | None
) -> tuple[str, ...]:
    """After which epochs regressors were read, where it was not the last; ``results`` by what they are called."""
    chosen = [
        f"{name} {', '.join(str(each['chosen_epoch']) for each in same)}".strip()
        for name, same in results.items()
        if "chosen_epoch" in same[0]
    ]
    if not chosen or validation is None:
        return ()
    rule = selection_rule(validation).name
    return (
        f"read after the epoch that is best on {validation.name} by {rule}, of {options.epochs}: {'; '.join(chosen)}",
    )


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
    validation: Validation | None = None,
) -> Arrays:
    """Train a new regressor on the ``learned`` features of ``split`` and apply it to the ``unseen`` ones.

    Args:
        learned, unseen: Defined at the size that the options ask for.
        seed: Draws the initial weights and the order of the training images.
        key: Names this training within the run.
        validation: None: the regressor is read after the last epoch, else after the one that is best by it.

    Returns:
        ``predictions`` (N_unseen, K, 2), float32, pixels, corner origin; ``losses`` (epochs,). With ``validation``,
        ``validation_scores`` (epochs,), more being better, and ``chosen_epoch`` (), counted from 1.
    """
    judged = None if validation is None else validation.features.to(run.device)
    if options.feature_scale == "unit":
        factor = unit_factor(learned)
        learned, unseen = learned.scaled(factor), unseen.scaled(factor)
        judged = judged and judged.scaled(factor)
    generator = torch_generator(seed, "regressor")
    regressor = VirtualKeypointRegressor(learned.channels, split.points.shape[1], generator)

    def read(features: FeatureMap, batch_size: int) -> Tensor:
        with torch.no_grad():
            predicted = torch.cat([regressor(part.to(run.device)) for part in features.split(batch_size)])
        return to_pixels(predicted.cpu(), features.image_size)

    def score() -> float:
        assert judged is not None
        assert validation is not None
        # In batches of a step: what an epoch is chosen by does not depend on the batch size of the run.
        return selection_score(read(judged, options.batch_size), validation.split)

    best = None if validation is None else BestEpoch(score)
    losses = fit(
        regressor,
        learned,
        to_normalised(split.points, learned.image_size),
        split.visible,
        options.settings(),
        seed=derive_seed(seed, "fit"),
        run=run,
        key=key,
        best=best,
    )
    with run.phase("head"):
        result = {"predictions": read(unseen, run.batch_size).numpy(), "losses": losses}
    if best is not None:
        result |= {"validation_scores": np.array(best.scores), "chosen_epoch": np.array(best.epoch)}
    return result
