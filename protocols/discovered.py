"""Landmarks regressed from discovered ones by a linear map: for methods that discover landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.features import Capability, FeatureExtractor
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.record import RunRecord
from protocols.annotations import (
    AnnotatedPoints,
    annotated_images,
    annotation_arrays,
    check_landmarks,
    error_arrays,
    has_normaliser,
    required_normaliser,
    scoring_notes,
)
from protocols.heads.gradient_map import AdamSettings, FitsOnViews
from protocols.heads.ridge import Floats, PointMap, fit_points
from protocols.pictures.cases import draw_cases
from protocols.scores.landmarks import (
    DETAIL_METRICS,
    LANDMARK_METRICS,
    Score,
    detailed_scores,
    draw_curve,
    reported,
    scores,
)
from protocols.scores.metrics import PerPoint, normalised_errors, normaliser_lengths, point_errors
from protocols.stored import StoredAnnotation, required_tensor
from protocols.support import (
    check_counts,
    counts_that_fit,
    draw_seed,
    increasing,
    predictions_by_count,
    skipped_notes,
    stacked_by_draw,
    support_order,
)

NME_BACKWARD = MetricSpec(
    name="nme_interocular_backward",
    definition="Distance between a discovered landmark and its regression from the annotated ones, over the annotated "
    "inter-ocular distance.",
    unit="% of inter-ocular distance",
    direction="lower",
    averaging="mean over the discovered landmarks of the test images that show all annotated ones",
)


class DiscoveredOptions(ProtocolOptions):
    """The linear map, and from how many annotated images it is learned."""

    solver: Literal["closed_form", "adam"] = Field(
        "closed_form",
        description="closed_form: on the images as they are. adam: by gradients, on warped views of them, as "
        "Thewlis et al. do; the detector reads views times the annotated images.",
    )
    alpha: float = Field(
        0.0,
        ge=0,
        description="closed_form: ridge penalty on weights between coordinates in pixels (Rahaman et al.: 0.1; 0: "
        "least squares).",
    )
    views: int = Field(
        10, ge=1, description="adam: warped views of each image. The paper draws new ones in every step."
    )
    steps: int = Field(10_000, ge=1, description="adam: steps of each fit. Not published.")
    batch_size: int = Field(32, ge=1, description="adam: views in a step. Not published.")
    learning_rate: float = Field(
        1e-4, gt=0, description="adam: rate, a tenth for the last quarter of the steps."
    )
    weight_decay: float = Field(5e-4, ge=0, description="adam: L2 penalty, added to the gradient.")
    counts: tuple[int, ...] = Field(
        (), description="Numbers of annotated images, besides all of them, which are always measured."
    )
    draws: int = Field(10, ge=1, description="Support sets drawn for each of the counts.")
    backward: bool = Field(True, description="Also regress the discovered landmarks from the annotated ones.")

    @field_validator("counts")
    @classmethod
    def _counts_increase(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        return increasing(counts)

    @model_validator(mode="after")
    def _one_penalty(self) -> DiscoveredOptions:
        if self.solver == "adam" and self.alpha > 0:
            raise ValueError(f"alpha={self.alpha:g} is for solver=closed_form; of adam, set weight_decay")
        return self

    def settings(self) -> AdamSettings:
        return AdamSettings(**{name: getattr(self, name) for name in AdamSettings.model_fields})


class Discovered(Protocol):
    """Every coordinate of an annotated landmark is a linear function, without intercept, of all discovered ones.

    The map is solved in closed form, in pixels of the image that the method sees (corner origin), as later work and
    Rahaman et al. have it. Where there are fewer annotated images than coefficients, the solution of least norm is
    taken, and noted. Numbers of draws are not published; they cost next to nothing here. The draws are those of
    ``fewshot``. Without a penalty, more images can be worse while they are fewer than the coefficients: 30 landmarks
    of ``thewlis`` gave 16.4 % from 10 video faces and 18.3 % from 20.

    Thewlis et al. learn it by Adam, with the warps of their training (``solver=adam``, preset ``thewlis``): coordinates
    then count from the image's centre, which without an intercept makes it another family of maps. What they do not
    publish, the number of steps, is an option; rate and decay are those of their detector, which the regressor is
    trained like. The test images are not warped, so that with many annotations warps cost more than they give: 30
    landmarks of other weights gave, from 1, 5, 10, 20 and all 2,412 video faces, 18.6, 12.9, 11.2, 10.4 and 9.1 %, and
    in closed form 31.5, 13.3, 11.9, 11.0 and 7.4 % (3 draws; 6 views, 10,000 steps).

    The backward error asks the reverse: whether the discovered landmarks depend on the object's pose only, so that
    annotations tell where they are. Landmarks that stay put in the frame are useless forward and good backward: the
    two are read together.

    Reference:
        Thewlis et al., ICCV 2017, section 4.3, Tables 1, 3, 4 and 5; Rahaman et al. 2021, Tables 1 to 6 and Figure 6.
        Backward: Sanchez and Tzimiropoulos, NeurIPS 2019.
    """

    name: ClassVar[str] = "discovered"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "annotated landmarks as linear functions of discovered ones"
    reference: ClassVar[str] = "Thewlis et al., ICCV 2017, Tables 1 and 4; Rahaman et al. 2021, Tables 1 to 6"
    Options: ClassVar[type[ProtocolOptions]] = DiscoveredOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "thewlis": {"solver": "adam", "counts": (1, 5, 10, 20)},
        "rahaman": {"alpha": 0.1, "counts": (1, 5, 10, 50, 100, 500, 1000)},
        "quick": {"counts": (1, 5, 10, 20)},
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = (*LANDMARK_METRICS, NME_BACKWARD, *DETAIL_METRICS)
    requires: ClassVar[frozenset[Capability]] = frozenset({"landmarks"})

    def check(self, options: Any, data: EvaluationData) -> None:
        check_landmarks(data)
        check_counts(options.counts, data.training())

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training().cropped(), data.test.cropped()
        found = run.step(
            "discovered/landmarks",
            lambda: {"train": discover(extractor, train, run), "test": discover(extractor, test, run)},
        )
        fits = None
        if options.solver == "adam":
            fits = FitsOnViews.read(extractor, data.training(), options.views, options.settings(), run)
        learner = _Learner(
            train, test, _coordinates(found["train"]), _coordinates(found["test"]), options, fits
        )
        full, reverse, drawn = learner.forward(), learner.backward(), learner.limited(run.seed)
        arrays = {**annotation_arrays(test), "discovered": found["test"], **full, **reverse, **drawn}
        return Measurement(
            values=_values(arrays, options, run.seed),
            per_sample=arrays,
            notes=(
                *scoring_notes(train, test),
                *skipped_notes(options.counts, train),
                *learner.remarks,
            ),
            pictures={
                "accuracy_curve": draw_curve(torch.from_numpy(full["predictions"]), test),
                **draw_cases(torch.from_numpy(full["predictions"]), test),
            },
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _values(arrays, self.options_of(record), record.seed)


def _values(arrays: Arrays, options: DiscoveredOptions, seed: int) -> tuple[MetricValue, ...]:
    test = StoredAnnotation.of(arrays)
    predictions = required_tensor(arrays, "predictions")
    values = list(reported([(*scores(predictions, test), *detailed_scores(predictions, test))], seed))
    if "backward_predictions" in arrays:
        reverse = required_tensor(arrays, "backward_predictions")
        errors = _backward_errors(reverse, required_tensor(arrays, "discovered"), test)
        values += reported([[Score(NME_BACKWARD.name, errors)]], seed)
    for count, draws in predictions_by_count(arrays, options.counts).items():
        values += reported([scores(each, test) for each in draws], seed, {"annotations": count})
    return tuple(values)


def _backward_errors(predictions: Tensor, discovered: Tensor, test: AnnotatedPoints) -> PerPoint:
    """Of predictions of the discovered landmarks, (N, K, 2) both, on the images that show all annotated ones."""
    counted = test.visible.all(1)[:, None].expand(predictions.shape[:2])
    distances = torch.where(counted, point_errors(predictions.double(), discovered.double()), 0.0)
    lengths, defined = normaliser_lengths(test.points.double(), required_normaliser(test), test.visible)
    return normalised_errors(distances, counted, lengths, defined)


def discover(extractor: FeatureExtractor, split: LoadedSplit, run: RunContext) -> np.ndarray[Any, Any]:
    """The discovered landmarks of all images, (N, K, 2), float32, pixels, corner origin."""
    extractor.eval()
    with run.phase("landmarks"), torch.no_grad():
        batches = split.images.split(run.batch_size)
        track = run.progress.track(batches, f"landmarks of {split.name}", len(batches))
        found = [extractor.landmarks(batch.to(run.device).float() / 255).float().cpu() for batch in track]
    points: np.ndarray[Any, Any] = torch.cat(found).numpy()
    return points


@dataclass
class _Learner:
    """Fits linear maps between discovered and annotated landmarks, and scores them on the test images.

    Shapes:
        known, unseen: (N, K, 2), float64, discovered landmarks of the training and of the test images.

    Attributes:
        fits: Instead of the closed form.
    """

    train: LoadedSplit
    test: LoadedSplit
    known: Floats
    unseen: Floats
    options: DiscoveredOptions
    fits: FitsOnViews | None = None
    remarks: list[str] = field(default_factory=list)

    def forward(self) -> Arrays:
        """From all annotated images."""
        learned = self._fit(annotated_images(self.train), "all annotations")
        if not learned.determined:
            self.remarks.append(f"all annotated images: {self._least_norm}")
        predictions = torch.from_numpy(learned(self.unseen))
        arrays = {
            "predictions": predictions.numpy(),
            "weights": learned.weights,
            "origin": np.array(learned.origin),
        }
        return arrays | error_arrays(self.test, predictions)

    def limited(self, seed: int) -> Arrays:
        """From support sets of each of the counts."""
        arrays: Arrays = {}
        least_norm = []
        for count in counts_that_fit(self.options.counts, self.train):
            supports = [
                support_order(self.train, draw_seed(seed, draw))[:count] for draw in range(self.options.draws)
            ]
            learned = [
                self._fit(support, f"annotations={count}/draw={draw}")
                for draw, support in enumerate(supports)
            ]
            least_norm += [str(count)] if not all(each.determined for each in learned) else []
            drawn = [torch.from_numpy(each(self.unseen)) for each in learned]
            results = [
                {"predictions": each.numpy(), "support_ids": np.array(self.train.take(support).ids)}
                for each, support in zip(drawn, supports, strict=True)
            ]
            arrays |= stacked_by_draw(results, [error_arrays(self.test, each) for each in drawn], count)
        if least_norm:
            self.remarks.append(f"annotations = {', '.join(least_norm)}: {self._least_norm}")
        return arrays

    def backward(self) -> Arrays:
        """The discovered landmarks from the annotated ones, on the images that show all of these."""
        if not self.options.backward:
            return {}
        whole, whole_test = self.train.visible.all(1), self.test.visible.all(1)
        if not whole.any() or not whole_test.any() or not has_normaliser(self.test):
            self.remarks.append(
                f"{NME_BACKWARD.name} is not reported: it needs images that show all annotated landmarks, in both "
                f"splits, and a distance that normalises errors"
            )
            return {}
        examples = whole.numpy()
        targets = self.known[examples]
        learned = fit_points(
            _coordinates(self.train.points.numpy())[examples],
            targets,
            np.ones(targets.shape[:2], dtype=np.bool_),
            self.options.alpha,
        )
        # What is not visible may stand anywhere, and does not count.
        sources = torch.where(whole_test[:, None, None], self.test.points.double(), 0.0)
        predictions = learned(sources.numpy())
        errors = _backward_errors(torch.from_numpy(predictions), torch.from_numpy(self.unseen), self.test)
        return {
            "backward_predictions": predictions,
            "backward_errors": errors.values.numpy(),
            "backward_counted": errors.counted.numpy(),
        }

    def _fit(self, examples: list[int], name: str) -> PointMap:
        """From the discovered to the annotated landmarks of some training images."""
        if self.fits is not None:
            return self.fits.fit(examples, f"discovered/{name}")
        points = torch.where(self.train.visible.unsqueeze(-1), self.train.points, 0.0).numpy()
        visible = self.train.visible.numpy()
        return fit_points(
            self.known[examples], _coordinates(points)[examples], visible[examples], self.options.alpha
        )

    @property
    def _least_norm(self) -> str:
        unknowns = 2 * self.known.shape[1]
        return f"fewer independent examples than the {unknowns} coefficients, so the solution of least norm is taken"


def _coordinates(points: np.ndarray[Any, Any]) -> Floats:
    return points.astype(np.float64)
