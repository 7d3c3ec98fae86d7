"""Landmark regression from frozen features with all annotated training images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.seeds import derive_seed, torch_generator
from protocols.fitting import FitSettings, fit
from protocols.metrics import Normaliser, PerPoint, nme_interocular, normaliser_lengths
from protocols.virtual_keypoints import VirtualKeypointRegressor, to_normalised, to_pixels

NME_INTEROCULAR = MetricSpec(
    name="nme_interocular",
    definition="Distance between regressed and annotated landmark over the annotated inter-ocular distance.",
    unit="% of inter-ocular distance",
    direction="lower",
    averaging="mean over the visible landmarks of all test images",
)


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
    epoch.

    Reference:
        ContrastLandmarks, Table 5; LEAD, Table 2. Regressor: DVE, section 4.
    """

    name: ClassVar[str] = "regression"
    version: ClassVar[int] = 2
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
    metrics: ClassVar[tuple[MetricSpec, ...]] = (NME_INTEROCULAR,)

    def check(self, options: Any, data: EvaluationData) -> None:
        del options
        check_annotations(data)

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training().cropped(), data.test.cropped()

        def compute() -> Arrays:
            height, width = test.images.shape[-2:]
            size = options.map_size((height, width))
            learned = run.features(extractor, train.images, "training images", size)
            unseen = run.features(extractor, test.images, "test images", size)
            return fit_and_predict(
                options, run, learned=learned, split=train, unseen=unseen, seed=run.seed, key="regression"
            )

        result = run.step("regression/result", compute)
        errors = errors_on(test, torch.from_numpy(result["predictions"]))
        low, high = errors.interval(run.seed)
        value = MetricValue(NME_INTEROCULAR.name, errors.mean(), low=low, high=high, count=errors.images)
        return Measurement(
            values=(value,),
            per_sample={
                **annotation_arrays(test),
                **result,
                "errors": errors.values.numpy(),
                "counted": errors.counted.numpy(),
            },
            notes=annotation_notes(train, errors),
        )


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
        factor = 1 / max(learned.mean_length(), _SHORTEST)
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


# --- annotated data, as both regression protocols read them
# ---------------------------------------------------


def check_annotations(data: EvaluationData) -> None:
    """Raise BenchError where landmarks cannot be learned or their errors cannot be normalised."""
    train, test = data.training(), data.test
    normaliser = required_normaliser(test)
    if not test.schema.names:
        raise BenchError(f"{test.name} has no landmarks; a landmark regression needs at least one")
    if train.schema.names != test.schema.names:
        raise BenchError(
            f"{train.name} has {len(train.schema.names)} landmarks and {test.name} {len(test.schema.names)}, "
            f"or their names or order differ",
            hint="Choose the same landmarks in both splits.",
        )
    for split in (train, test):
        if not split.visible.any():
            raise BenchError(
                f"{split.name} has no annotated image: none of its landmarks is visible",
                hint="Choose another split, or add annotations.",
            )
        broken = (~torch.isfinite(split.points).all(2) & split.visible).any(1)
        if broken.any():
            first = split.ids[int(broken.nonzero()[0])]
            raise BenchError(
                f"{split.name}: {int(broken.sum())} images have visible landmarks that are not finite, "
                f"first {first!r}",
                hint="Correct the annotation, or mark these landmarks as not visible.",
            )
    _, defined = normaliser_lengths(test.points, normaliser, test.visible)
    if not defined.any():
        raise BenchError(
            f"{test.name}: no image shows both ends of the normaliser ({test.schema.normaliser_name})",
            hint="Choose other landmarks to normalise by: -D normaliser=[[...], [...]].",
        )


def required_normaliser(split: LoadedSplit) -> Normaliser:
    schema: LandmarkSchema = split.schema
    if schema.normaliser is None:
        raise BenchError(
            f"{split.name} does not say which distance normalises errors, and nme_interocular needs one",
            hint="Name two landmarks, or two groups, between which to measure: -D normaliser=[[0], [1]].",
        )
    return schema.normaliser


def errors_on(test: LoadedSplit, predictions: Tensor) -> PerPoint:
    """Errors (N, K) of predictions (N, K, 2) in percent of the inter-ocular distance."""
    return nme_interocular(
        predictions.double(), test.points.double(), test.visible, required_normaliser(test)
    )


def annotation_arrays(test: LoadedSplit) -> Arrays:
    """What the errors can be recomputed from, besides predictions."""
    return {
        "ids": np.array(test.ids),
        "targets": test.points.numpy(),
        "visible": test.visible.numpy(),
    }


def annotation_notes(train: LoadedSplit, errors: PerPoint) -> tuple[str, ...]:
    notes = []
    if errors.excluded:
        notes.append(f"{errors.excluded} test images left out: their inter-ocular distance is not annotated")
    seen = train.visible.any(0).tolist()
    unlearned = [name for name, ever in zip(train.schema.names, seen, strict=True) if not ever]
    if unlearned:
        notes.append(f"never visible in {train.name}, so not learned: {', '.join(unlearned)}")
    return tuple(notes)
