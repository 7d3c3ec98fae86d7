"""Equivariance of features: does the descriptor of a point still find it after the image has been deformed?

An image x is turned and deformed elastically, x' = g(x). For a point y of x, the cell of x' whose feature is most
similar to the feature of x at y is the prediction of g(y), and Acc(d) is the share of points predicted within d pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.geometry.elastic import STEEPEST, ElasticWarp
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.record import RunRecord
from bench.seeds import numpy_generator, torch_generator
from protocols.pairs.correspondence import match
from protocols.scores.equivariance import EQUIVARIANCE_METRICS, drawing, score
from protocols.scores.metrics import point_errors
from protocols.stored import required_array, schema_arrays, stored_schema

_IMAGES_PER_STEP = 512
_ON_THE_BORDER = 1e-6
"""Pixels; far above the rounding of a warped point, far below anything that can be seen."""


class EquivarianceOptions(ProtocolOptions):
    """The paper gives neither the range of its rotations nor the strength of its elastic deformations."""

    points: Literal["landmarks", "grid"] = Field(
        default="landmarks",
        description="landmarks: the visible annotated ones, as in the paper; grid: a regular grid over the image, "
        "for sets without annotation.",
    )
    grid: int = Field(default=8, ge=1, le=64, description="Points along a side of that grid.")
    images: int | None = Field(
        default=None, ge=1, description="How many test images, drawn by the seed; null: all of them."
    )
    rotation: float = Field(
        default=30, ge=0, le=180, description="Largest rotation in degrees, uniform either way (not given)."
    )
    elastic: float = Field(
        default=0.4,
        ge=0,
        lt=1 / STEEPEST,
        description="Largest displacement of the deformation's control points along an axis, in units of their "
        "spacing, uniform (not given). 0.4 of 4 cells moves points of a 128-pixel image by 4.6 px on average.",
    )
    elastic_cells: int = Field(
        default=4, ge=1, le=32, description="Cells of the deformation's spline along a side (not given)."
    )
    max_distance: int = Field(
        default=20,
        ge=1,
        le=1024,
        description="The curve is reported for d = 1, 2, ... px, and its area to here.",
    )
    scale_to: int | None = Field(
        default=None,
        ge=1,
        description="Distances are those of an image of this side (the paper's: 128); null: of the image that the "
        "method sees.",
    )
    normalisation: Literal["joint", "method", "per_level", "none"] = Field(
        default="joint",
        description="Of descriptors before the dot product: joint is the paper's cosine; method: as the method says.",
    )


class Equivariance(Protocol):
    """Equations 4 to 6 of the paper, which measures on the test images of BBC Pose, at 128 pixels, with J = 7.

    Feature maps are brought bilinearly to the size of the image, so that the cells are its pixels. The warp acts on
    the working frame, outside of which is black; both views are then cropped. The feature at y is that of the pixel
    that y falls on. A point counts where it is visible, inside the image (its border included), and still inside after
    the warp. A prediction at exactly d pixels is within d.

    Values are of two predictors: ``features``, and ``random``, a pixel drawn uniformly from the image, in exact
    expectation. The latter depends on the data and the warps, not on the method. Pixels are those of the image that
    the method sees, or of an image of side ``scale_to``; the paper's has 128.
    """

    name: ClassVar[str] = "equivariance"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "find points again after a rotation and an elastic deformation of the image"
    reference: ClassVar[str] = "Rahaman et al., 2021, section 3, Figures 1 and 2"
    Options: ClassVar[type[ProtocolOptions]] = EquivarianceOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "quick": {"images": 500}}
    metrics: ClassVar[tuple[MetricSpec, ...]] = EQUIVARIANCE_METRICS
    uses_training_split: ClassVar[bool] = False

    def check(self, options: EquivarianceOptions, data: EvaluationData) -> None:
        split = data.test
        if len(split) == 0:
            raise BenchError(f"equivariance needs at least one image, and {split.name} has none")
        if options.points == "grid":
            side = split.images.shape[-1] - 2 * split.margin
            if options.grid > side:
                raise BenchError(
                    f"a grid of {options.grid} points a side does not fit images of {side} pixels"
                )
            return
        if not bool(split.visible.any()):
            raise BenchError(
                f"equivariance needs visible landmarks, and {split.name} has none",
                hint="Measure at a regular grid of points instead: -P points=grid.",
            )
        broken = (split.visible & ~split.points.isfinite().all(2)).any(1)
        if bool(broken.any()):
            first = split.ids[int(broken.nonzero()[0])]
            raise BenchError(
                f"{split.name}: {int(broken.sum())} images have visible landmarks that are not finite, first {first!r}",
                hint="Correct the annotation, or mark these landmarks as not visible.",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: EquivarianceOptions, run: RunContext
    ) -> Measurement:
        split = data.test
        warps = ElasticWarp.draw(
            len(split),
            torch_generator(run.seed, "equivariance", "warps"),
            rotation=options.rotation,
            elastic=options.elastic,
            cells=options.elastic_cells,
        )
        chosen = _chosen(len(split), options, run.seed)
        parts = []
        for start in range(0, len(chosen), _IMAGES_PER_STEP):
            images = chosen[start : start + _IMAGES_PER_STEP]
            find = partial(_find_again, extractor, split.take(images), warps[images], options, run)
            parts.append(run.step(f"equivariance/images={start}", find))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        side = split.images.shape[-1] - 2 * split.margin
        arrays |= {"image_size": np.array((side, side)), **schema_arrays(split.schema)}
        values = _values(arrays, options, run.seed)
        return Measurement(
            values,
            arrays,
            _notes(arrays, options, side),
            {"accuracy_curve": drawing(values, f"px of a {options.scale_to or side}-px image")},
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _values(arrays, self.options_of(record), record.seed)


def _values(arrays: Arrays, options: EquivarianceOptions, seed: int) -> tuple[MetricValue, ...]:
    side = int(required_array(arrays, "image_size")[1])
    return score(
        arrays,
        side=side,
        scale_to=options.scale_to or side,
        max_distance=options.max_distance,
        seed=seed,
        landmarks=stored_schema(arrays).names if options.points == "landmarks" else (),
    )


def _chosen(count: int, options: EquivarianceOptions, seed: int) -> list[int]:
    """Which images, in their own order; those of fewer are among those of more."""
    order = numpy_generator(seed, "equivariance", "images").permutation(count)
    return sorted(int(i) for i in order[: options.images])


def _find_again(
    extractor: FeatureExtractor,
    split: LoadedSplit,
    warps: ElasticWarp,
    options: EquivarianceOptions,
    run: RunContext,
) -> Arrays:
    """Named arrays of N images and K points, in pixels of the images that the method sees; the errors too."""
    frame = split.images.shape[-1]
    margin, side = split.margin, frame - 2 * split.margin
    points, visible = _grid(len(split), side, options.grid) if options.points == "grid" else _landmarks(split)
    targets = warps.move_points(points + margin, (frame, frame)) - margin
    predicted = []
    starts = range(0, len(split), run.batch_size)
    for start in run.progress.track(starts, "finding points again", len(starts)):
        part = slice(start, start + run.batch_size)
        with run.phase("warps"):
            warped = warps[part].warp_images(split.images[part].float()).round().clamp(0, 255).to(torch.uint8)
        with run.phase("features"):
            source, target = (
                _features(
                    extractor, images[..., margin : frame - margin, margin : frame - margin], options, run
                )
                for images in (split.images[part], warped)
            )
        with run.phase("matching"):
            predicted.append(match(source, points[part], target).points)
    found = torch.cat(predicted)
    counted = visible & _inside(points, side) & _inside(targets, side)
    return {
        "ids": np.array(split.ids),
        "points": points.numpy(),
        "targets": targets.numpy(),
        "predicted": found.numpy(),
        "errors": torch.where(counted, point_errors(found, targets), 0).numpy(),
        "visible": visible.numpy(),
        "counted": counted.numpy(),
    }


def _landmarks(split: LoadedSplit) -> tuple[Tensor, Tensor]:
    """Points (N, K, 2), float64, in the cropped image, and which are visible; what stands elsewhere is dropped."""
    points = split.points.double() - split.margin
    return torch.where(split.visible.unsqueeze(-1), points, 0), split.visible


def _grid(images: int, side: int, count: int) -> tuple[Tensor, Tensor]:
    """The same evenly spread pixel centres in every image, x fastest; all visible."""
    along = ((torch.arange(count, dtype=torch.float64) + 0.5) * side / count).floor() + 0.5
    y, x = torch.meshgrid(along, along, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], -1).expand(images, -1, -1).contiguous()
    return points, torch.ones(images, count**2, dtype=torch.bool)


def _inside(points: Tensor, side: int) -> Tensor:
    return ((points >= -_ON_THE_BORDER) & (points <= side + _ON_THE_BORDER)).all(-1)


def _features(
    extractor: FeatureExtractor, images: Tensor, options: EquivarianceOptions, run: RunContext
) -> FeatureMap:
    features = extractor.extract(images.to(run.device))
    features = features.defined_at(features.image_size)
    if options.normalisation == "method":
        return features
    return features.with_normalisation(options.normalisation)


def _notes(arrays: Arrays, options: EquivarianceOptions, side: int) -> tuple[str, ...]:
    visible, counted = arrays["visible"], arrays["counted"]
    width = options.scale_to or side
    scaled = "pixels of these" if width == side else f"pixels of images of {width} px"
    notes = [f"the method sees images of {side} px; distances are in {scaled}"]
    outside = int(visible.sum() - counted.sum())
    if outside:
        notes.append(
            f"{outside} of {int(visible.sum())} points lie outside the image or are moved out of it: left out"
        )
    unused = int((~counted.any(1)).sum())
    if unused:
        notes.append(f"{unused} of {len(counted)} images have no point that counts")
    return tuple(notes)
