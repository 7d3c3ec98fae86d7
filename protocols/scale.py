"""How a regressor trained on faces of one range of sizes does on smaller faces than it has seen."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.landmarks import LandmarkDataset
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions, Role, Scalar
from bench.record import RunRecord
from bench.seeds import derive_seed
from bench.zoom import zoomed
from protocols.annotations import annotation_arrays, annotation_notes, check_annotations, errors_on
from protocols.heads.regressor import RegressorOptions, chosen_notes, direct_notes, predict, validation_split
from protocols.regression import Regression
from protocols.scores.landmarks import NME_INTEROCULAR
from protocols.scores.metrics import PerPoint, counted_values
from protocols.scores.scale_curve import draw_zoom_curve
from protocols.stored import StoredAnnotation, required_array, required_tensor


def _ordered(factors: tuple[float, float]) -> tuple[float, float]:
    if not 0 < factors[0] <= factors[1] < math.inf:
        raise ValueError(f"expected two positive factors, the smaller first, got {list(factors)}")
    return factors


Values = list[MetricValue | None]
Factors = Annotated[tuple[float, float], AfterValidator(_ordered)]


class ScaleOptions(RegressorOptions):
    """How far images are zoomed out, and how the regressor is trained."""

    train_zoom: Factors = Field(
        (1.0, 1.5), description="Box sides of training images are multiplied by one factor from this range."
    )
    test_zoom: Factors = Field((1.0, 2.0), description="The same for test images.")
    bin_width: float = Field(0.1, gt=0, description="Width of the bins of zoom-out factors.")
    epochs: int = Field(150, ge=1, description="Passes over the training images.")

    def seen(self, factors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which factors lie in the range of the training images, its ends included."""
        low, high = self.train_zoom
        return (factors >= low) & (factors <= high)

    def edges(self) -> list[float]:
        """Of the bins, from one end of ``test_zoom`` to the other; the last bin may be narrower."""
        low, high = self.test_zoom
        count = math.ceil((high - low) / self.bin_width)
        # Rounded, so that 1 + 5 * 0.1 is the 1.5 at which the seen range ends.
        inner = (round(low + i * self.bin_width, 9) for i in range(1, count))
        return [low, *(edge for edge in inner if low < edge < high), high]


class Scale(Protocol):
    """The regression protocol on cuts around each object's box, whose sides are multiplied by a random factor.

    The regressor learns from factors between 1 and 1.5; the test images have 1 to 2. Errors are reported for bins of
    factors, and for all seen and all unseen ones. They are in percent of the distance between the eyes *in the cut*,
    so that a smaller face has no smaller errors for its size alone.

    A factor depends on the seed, the role (training or test) and the image's id. A factor on the edge of two bins
    counts in the lower one, as does the end of the seen range. Cuts keep the ratio of the box's sides, as
    ``mafl-unaligned`` does; that set brings factors of its own and is not cut again. Where an image ends within a cut,
    the cut is black; of the procedural sets, those with ``-D wild=true`` show the surroundings that cuts need.

    The paper plots curves only, of 64-d features. Its training settings are ContrastLandmarks': 150 epochs for
    compact features, the cosine schedule being that of 200 epochs, truncated.

    Reference:
        LEAD, section 4.4, Figures 9 and 10 (unaligned MAFL).
    """

    name: ClassVar[str] = "scale"
    version: ClassVar[int] = 1
    baselines: ClassVar[tuple[str, ...]] = ("mean-shape", "random")
    summary: ClassVar[str] = (
        "landmarks regressed on faces smaller than those learned from, by zoom-out factor"
    )
    reference: ClassVar[str] = "Karmali et al., WACV 2022, Figures 9 and 10"
    Options: ClassVar[type[ProtocolOptions]] = ScaleOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "quick": Regression.presets["quick"]}
    metrics: ClassVar[tuple[MetricSpec, ...]] = (NME_INTEROCULAR,)

    def roles(self, options: Any) -> tuple[Role, ...]:
        return options.roles()  # type: ignore[no-any-return]

    def view(self, dataset: LandmarkDataset, role: Role, options: Any, seed: int) -> LandmarkDataset:
        # A validation split stands for what is learned from: unseen sizes are for the test alone.
        factors = options.test_zoom if role == "test" else options.train_zoom
        return zoomed(dataset, factors, derive_seed(seed, "scale", role))

    def check(self, options: Any, data: EvaluationData) -> None:
        check_annotations(data)
        validation_split(options, data)
        _check_factors(data.training(), "train", options.train_zoom)
        factors = _check_factors(data.test, "test", options.test_zoom)
        if options.test_zoom[1] > options.train_zoom[1] and options.seen(factors).all():
            raise BenchError(
                f"no image of {data.test.name} is zoomed out further than what is learned from: the largest "
                f"factor is {factors.max():.3g}, train_zoom ends at {options.train_zoom[1]:g}",
                hint="Take more test images, or a set that is not cut yet, such as celeba-wild.",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        train, test = data.training().cropped(), data.test.cropped()
        validation = validation_split(options, data)
        result = run.step(
            "scale/result", lambda: predict(extractor, train, test, options, run, "scale", validation)
        )
        errors = errors_on(test, torch.from_numpy(result["predictions"]))
        factors = factors_of(test)
        arrays = {
            **annotation_arrays(test),
            **result,
            "errors": errors.values.numpy(),
            "counted": errors.counted.numpy(),
            "zoom_factors": factors,
        }
        pooled, bins = _values(arrays, options, run.seed)
        return Measurement(
            values=_reported(pooled, bins),
            per_sample=arrays,
            notes=(
                *annotation_notes(train, errors),
                *direct_notes(extractor),
                *chosen_notes({"": [result]}, options, validation),
                *_notes(data),
            ),
            pictures={"zoom_curve": draw_zoom_curve(options.edges(), bins, options.train_zoom)},
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _reported(*_values(arrays, self.options_of(record), record.seed))


def _values(arrays: Arrays, options: ScaleOptions, seed: int) -> tuple[Values, Values]:
    """Of all seen and all unseen factors, and of the bins; None where nothing counts."""
    test = StoredAnnotation.of(arrays)
    errors = errors_on(test, required_tensor(arrays, "predictions"))
    factors = required_array(arrays, "zoom_factors")
    seen, edges = options.seen(factors), options.edges()

    def value(chosen: np.ndarray[Any, Any], condition: dict[str, Scalar]) -> MetricValue | None:
        return _value(errors, chosen, condition, seed, test.schema.names)

    pooled = [value(seen, {"scales": "seen"}), value(~seen, {"scales": "unseen"})]
    bins = [
        value(chosen, {"zoom": f"{low:g}-{high:g}"})
        for low, high, chosen in zip(edges, edges[1:], in_bins(factors, edges), strict=False)
    ]
    return pooled, bins


def _reported(pooled: Values, bins: Values) -> tuple[MetricValue, ...]:
    return tuple(value for value in (*pooled, *bins) if value is not None)


def factors_of(split: LoadedSplit) -> np.ndarray[Any, Any]:
    """(N,), float64.

    Raises:
        BenchError: where the split is not cut around boxes.
    """
    if split.zoom_factors is None:
        raise BenchError(
            f"{split.name} is not cut around boxes, so that nothing is known of its zoom",
            hint="Load what Scale.view gives.",
        )
    return np.array(split.zoom_factors)


def _check_factors(split: LoadedSplit, role: str, promised: tuple[float, float]) -> np.ndarray[Any, Any]:
    factors = factors_of(split)
    low, high = float(factors.min()), float(factors.max())
    if low < promised[0] or high > promised[1]:
        raise BenchError(
            f"{split.name} has zoom-out factors of its own, from {low:.3g} to {high:.3g}, and {role}_zoom says "
            f"{promised[0]:g} to {promised[1]:g}",
            hint=f"Say which they are, e.g. -P {role}_zoom=[{math.floor(10 * low) / 10},{math.ceil(10 * high) / 10}], "
            f"or change the data set's options.",
        )
    return factors


def in_bins(factors: np.ndarray[Any, Any], edges: list[float]) -> list[np.ndarray[Any, Any]]:
    """(N,), bool, for every bin: low < factor <= high; the first one has its lower edge too."""
    place = np.searchsorted(edges[1:-1], factors, side="left")
    return [place == i for i in range(len(edges) - 1)]


def _value(
    errors: PerPoint,
    chosen: np.ndarray[Any, Any],
    condition: dict[str, Scalar],
    seed: int,
    landmarks: tuple[str, ...],
) -> MetricValue | None:
    """The mean over the chosen images; None where none of them counts."""
    rows = torch.from_numpy(chosen)
    part = PerPoint(errors.values[rows], errors.counted[rows])
    if part.images == 0:
        return None
    low, high = part.interval(seed)
    whole = counted_values(errors.values, errors.counted & rows[:, None])
    return MetricValue(
        NME_INTEROCULAR.name,
        part.mean(),
        condition,
        low=low,
        high=high,
        count=part.images,
        samples=whole.samples(landmarks),
    )


def _notes(data: EvaluationData) -> tuple[str, ...]:
    notes = []
    images, margin = data.test.images, data.test.margin
    beyond = black_frames(images)
    if beyond.any():
        notes.append(
            f"{int((beyond > 0).sum())} of {len(images)} test cuts reach beyond their image; the "
            f"{100 * float(beyond.mean()):.2g} % of all their pixels that lie there are black"
        )
    if margin:
        share = 1 - 2 * margin / images.shape[-1]
        notes.append(
            f"the preprocessing cuts a margin off: a method sees {share:.2f} of the sides that a factor says"
        )
    return tuple(notes)


def black_frames(images: Tensor) -> Tensor:
    """(N, 3, S, S) -> (N,): the share of each image outside the smallest rectangle that holds all that is not black."""
    side = images.shape[-1]
    lit = images.amax(1) > 0
    extents = []
    for axis in (1, 2):
        along = lit.any(axis).int()
        first, last = along.argmax(1), side - 1 - along.flip(1).argmax(1)
        extents.append(torch.where(along.any(1), last - first + 1, 0))
    return 1 - (extents[0] * extents[1]).double() / side**2
