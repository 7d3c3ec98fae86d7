"""Errors of points, kept per image and landmark; means are taken last.

Convention: points are (x, y) in pixels of the image that the method sees, corner origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.samples import Ratio
from bench.statistics import bootstrap_interval

Normaliser = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class PerPoint:
    """A value for every image and landmark, and which of them count.

    Shapes:
        values: (N, K), finite; 0 where not counted.  counted: (N, K), bool.  weights: (N, K) or None.

    Attributes:
        excluded: Number of images left out because the value is not defined there.
        weights: What each value counts in the mean; None: all the same.
    """

    values: Tensor
    counted: Tensor
    excluded: int = 0
    weights: Tensor | None = None

    @property
    def images(self) -> int:
        """Number of images of which at least one landmark counts."""
        return int(self.counted.any(1).sum())

    def mean(self) -> float:
        """Over everything that counts, by ``weights``.

        Raises:
            BenchError: where nothing counts.
        """
        if not self.counted.any():
            raise BenchError("no landmark is visible in the evaluated images: there is nothing to average")
        values, weights = self._weighted()
        return float(values.sum()) / float(weights.sum())

    def interval(self, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval of :meth:`mean` over images; weights stay with their images."""
        values, weights = self._weighted()
        return bootstrap_interval(values.sum(1).cpu().numpy(), weights.sum(1).cpu().numpy(), seed=seed)

    def samples(self, names: Sequence[str] = ()) -> Ratio:
        """:meth:`mean` image by image and, where the K landmarks are named, that of each landmark."""
        values, weights = self._weighted()
        by_name = {name: self.landmark(k).samples() for k, name in enumerate(names)}
        return Ratio(values.sum(1).cpu().numpy(), weights.sum(1).cpu().numpy(), parts=by_name)

    def balanced(self) -> PerPoint:
        """The same values, weighted so that each landmark weighs the same, however often it is visible."""
        seen = self.counted.sum(0).double()
        weights = torch.where(seen > 0, len(self.values) / seen.clamp_min(1), 0.0)
        return replace(self, weights=weights.expand(self.values.shape))

    def landmark(self, index: int) -> PerPoint:
        """The values of one landmark, (N, 1)."""
        return PerPoint(self.values[:, index : index + 1], self.counted[:, index : index + 1])

    def _weighted(self) -> tuple[Tensor, Tensor]:
        """Values and what each counts, (N, K), float64."""
        values, counted = self.values.double(), self.counted.double()
        return (values, counted) if self.weights is None else (values * self.weights, counted * self.weights)


def point_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distances: (N, K, 2), (N, K, 2) -> (N, K).

    Raises:
        BenchError: where the shapes differ or do not end in 2.
    """
    if predicted.shape != target.shape or predicted.ndim != 3 or predicted.shape[-1] != 2:
        raise BenchError(
            f"predicted and target points must both be (N, K, 2), got {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
    return (predicted - target).square().sum(-1).sqrt()


def counted_values(values: Tensor, visible: Tensor) -> PerPoint:
    """Values (N, K) that count where ``visible`` (N, K); whatever stands elsewhere is dropped."""
    return PerPoint(torch.where(visible, values, torch.zeros_like(values)), visible)


def normaliser_lengths(points: Tensor, normaliser: Normaliser, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Distance between the means of the two groups of landmarks, e.g. between the eyes.

    Shapes:
        points: (N, K, 2).  visible: (N, K).
        returns: lengths (N,) and defined (N,), bool: all landmarks of both groups are visible, and not in one
        place. Lengths are 1 where not defined.

    Raises:
        BenchError: where the normaliser names landmarks that the points lack.
    """
    first, second = (list(group) for group in normaliser)
    if not first or not second or not all(0 <= index < points.shape[1] for index in first + second):
        raise BenchError(f"normaliser {normaliser} does not fit {points.shape[1]} landmarks")
    apart = points[:, first].mean(1) - points[:, second].mean(1)
    lengths = apart.square().sum(-1).sqrt()
    defined = visible[:, first + second].all(1) & (lengths > 0)
    return torch.where(defined, lengths, torch.ones_like(lengths)), defined


def normalised_errors(errors: Tensor, counted: Tensor, lengths: Tensor, defined: Tensor) -> PerPoint:
    """Errors (N, K) in percent of each image's length (N,); images without one are left out and counted."""
    percent = 100 * errors / lengths[:, None]
    left_out = int((counted.any(1) & ~defined).sum())
    kept = counted & defined[:, None]
    return PerPoint(torch.where(kept, percent, torch.zeros_like(percent)), kept, left_out)


def nme_interocular(predicted: Tensor, target: Tensor, visible: Tensor, normaliser: Normaliser) -> PerPoint:
    """Distance between prediction and annotation, in percent of the annotated inter-ocular distance.

    Landmarks that are not visible do not count. Images whose own normaliser is not visible, or has no length,
    are left out; their number is ``excluded``.

    Shapes:
        predicted, target: (N, K, 2).  visible: (N, K).

    Reference:
        Equal, for square images, to the released DVE and ContrastLandmarks code (in normalised coordinates).
    """
    lengths, defined = normaliser_lengths(target, normaliser, visible)
    return normalised_errors(point_errors(predicted, target), visible, lengths, defined)


def px70(distances: Tensor, image_size: int) -> Tensor:
    """Pixels of an image of side ``image_size`` -> pixels of a 70-pixel image (factor 70 / side, as DVE)."""
    return distances * (70 / image_size)


def px128(distances: Tensor, image_size: int) -> Tensor:
    """Pixels of an image of side ``image_size`` -> pixels of a 128-pixel image, as Rahaman et al. count."""
    return distances * (128 / image_size)


def accuracy_within(distances: Tensor, limit: float, visible: Tensor) -> PerPoint:
    """100 where a distance (N, K) is at most ``limit``, else 0: the mean is the accuracy in percent."""
    return counted_values(100 * (distances <= limit).double(), visible)
