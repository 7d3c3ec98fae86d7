"""Annotated splits as the protocols that predict landmarks read them: checks, errors, and what is stored and said."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays, EvaluationData
from bench.errors import BenchError
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from protocols.scores.metrics import Normaliser, PerPoint, nme_interocular, normaliser_lengths, point_errors
from protocols.stored import schema_arrays


class AnnotatedPoints(Protocol):
    """What scores read of test images: a loaded split has it, and so has a run that stored it."""

    @property
    def name(self) -> str: ...
    @property
    def points(self) -> Tensor: ...
    @property
    def visible(self) -> Tensor: ...
    @property
    def schema(self) -> LandmarkSchema: ...
    @property
    def image_size(self) -> tuple[int, int]: ...


def check_landmarks(data: EvaluationData) -> None:
    """Raise BenchError where landmarks cannot be learned or predictions of them not be judged."""
    train, test = data.training(), data.test
    if not test.schema.names:
        raise BenchError(f"{test.name} has no landmarks; a landmark regression needs at least one")
    others = (test,) if data.validation is None else (data.validation, test)
    for other in others:
        if train.schema.names != other.schema.names:
            raise BenchError(
                f"{train.name} has {len(train.schema.names)} landmarks and {other.name} "
                f"{len(other.schema.names)}, or their names or order differ",
                hint="Choose the same landmarks in all splits.",
            )
    for split in (train, *others):
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


def check_annotations(data: EvaluationData) -> None:
    """:func:`check_landmarks`, for protocols whose errors must be normalised."""
    test = data.test
    required_normaliser(test)
    check_landmarks(data)
    if not has_normaliser(test):
        raise BenchError(
            f"{test.name}: no image shows both ends of the normaliser ({test.schema.normaliser_name})",
            hint="Choose other landmarks to normalise by: -D normaliser=[[...], [...]].",
        )


def annotated_images(train: LoadedSplit) -> list[int]:
    """The images of which a landmark is visible; only these can support anything."""
    return [int(i) for i in train.visible.any(1).nonzero()]


# --- errors in parts of the distance that normalises ---------------------------------------------------------


def has_normaliser(test: AnnotatedPoints) -> bool:
    """Whether a distance that normalises errors is defined on any image."""
    if test.schema.normaliser is None:
        return False
    _, defined = normaliser_lengths(test.points, test.schema.normaliser, test.visible)
    return bool(defined.any())


def required_normaliser(split: AnnotatedPoints) -> Normaliser:
    schema: LandmarkSchema = split.schema
    if schema.normaliser is None:
        raise BenchError(
            f"{split.name} does not say which distance normalises errors, and nme_interocular needs one",
            hint="Name two landmarks, or two groups, between which to measure: -D normaliser=[[0], [1]].",
        )
    return schema.normaliser


def errors_on(test: AnnotatedPoints, predictions: Tensor) -> PerPoint:
    """Errors (N, K) of predictions (N, K, 2) in percent of the inter-ocular distance."""
    return nme_interocular(
        predictions.double(), test.points.double(), test.visible, required_normaliser(test)
    )


# --- what is stored, and what is said ------------------------------------------------------------------------


def annotation_arrays(test: LoadedSplit) -> Arrays:
    """What the errors can be recomputed from, besides predictions."""
    return {
        "ids": np.array(test.ids),
        "targets": test.points.numpy(),
        "visible": test.visible.numpy(),
        "image_size": np.array(test.image_size),
        **schema_arrays(test.schema),
    }


def error_arrays(test: LoadedSplit, predictions: Tensor) -> Arrays:
    """Errors of predictions (N, K, 2) point by point, for whoever draws or tabulates them.

    Returns:
        ``distances`` (N, K), pixels, 0 where not visible; and, where errors can be normalised, ``errors`` (N, K),
        percent, with ``counted`` (N, K).
    """
    distances = point_errors(predictions.double(), test.points.double())
    arrays = {"distances": torch.where(test.visible, distances, 0.0).numpy()}
    if has_normaliser(test):
        errors = errors_on(test, predictions)
        arrays |= {"errors": errors.values.numpy(), "counted": errors.counted.numpy()}
    return arrays


def scoring_notes(train: LoadedSplit, test: LoadedSplit) -> tuple[str, ...]:
    """Which images and landmarks the values do not speak of, and whether nme_interocular is left out."""
    if has_normaliser(test):
        return annotation_notes(train, errors_on(test, test.points))
    why = "no image shows both ends of it" if test.schema.normaliser else "the landmarks have none"
    missing = f"nme_interocular is not reported: it needs a distance that normalises errors, and {why}"
    return (missing, *_unlearned(train))


def annotation_notes(train: LoadedSplit, errors: PerPoint) -> tuple[str, ...]:
    """Which test images errors leave out, and which landmarks could not be learned."""
    left_out = f"{errors.excluded} test images left out: their inter-ocular distance is not annotated"
    return (*([left_out] if errors.excluded else []), *_unlearned(train))


def _unlearned(train: LoadedSplit) -> tuple[str, ...]:
    seen = train.visible.any(0).tolist()
    unlearned = [name for name, ever in zip(train.schema.names, seen, strict=True) if not ever]
    return (f"never visible in {train.name}, so not learned: {', '.join(unlearned)}",) if unlearned else ()
