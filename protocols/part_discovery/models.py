"""Parts of an object found in features without any annotation: clusters, additive factors, principal directions.

All three are fitted on a sample of pixels. Afterwards each reads a whole map through a few linear projections, which
need no dense map: distances to cluster centres, products with factors and coordinates on principal axes are all linear
in the descriptor.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn import functional as F

from bench.context import Arrays
from bench.features import FeatureMap
from bench.interpolation import resize
from bench.least_squares import nonnegative_least_squares
from bench.seeds import derive_seed

Matrix = npt.NDArray[np.float32]

COLOURS = 3  # principal axes that are drawn
_AXES = 64  # on which clusters are sought
_STARTS = 4  # of k-means
_NMF_ITERATIONS = 200
_TINY = 1e-12
_ROUNDING = 1e-10
"""Descriptors that differ by less than this share of their mean square are the same, up to rounding."""


def descriptors_at(features: FeatureMap, points: Tensor) -> Tensor:
    """Descriptors (B, N, C) at points (B, N, 2), scaled as the method compares them: to unit length, or not at all."""
    found = features.sample(points)
    if features.normalisation == "none":
        return found
    channels = (
        [features.channels] if features.normalisation == "joint" else [c for c, _, _ in features.layout]
    )
    parts = [F.normalize(part, dim=-1, eps=_TINY) for part in found.split(channels, dim=-1)]
    return torch.cat(parts, dim=-1)


def read_linear(features: FeatureMap, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight`` times the descriptor plus ``bias`` at every cell, for descriptors as :func:`descriptors_at` scales.

    Shapes:
        weight: (M, C).  bias: (M,).  returns: (B, M, H, W).
    """
    if features.normalisation == "per_level":
        lengths = [norm.clamp_min(_TINY**2).sqrt().unsqueeze(1) for norm in features.squared_norms()]
        natives = features.project_native(weight)
        maps = sum(
            (resize(native, features.size) / length for native, length in zip(natives, lengths, strict=True)),
            start=torch.zeros((), device=weight.device),
        )
    else:
        maps = features.project(weight)
        if features.normalisation == "joint":
            maps = maps / torch.stack(features.squared_norms()).sum(0).clamp_min(_TINY**2).sqrt().unsqueeze(1)
    return maps + bias[:, None, None]


@dataclass(frozen=True, eq=False)
class PartModels:
    """What was fitted, as one projection of the descriptor.

    Shapes:
        weight: (2 P + 3, C), float32: P clusters, P factors, 3 principal axes.  bias: (2 P + 3,).
        gram: (P, P), inner products of the factors.

    Attributes:
        uniform: All descriptors of the sample were the same: everything is one part.
    """

    weight: Tensor
    bias: Tensor
    gram: Tensor
    uniform: bool

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> PartModels:
        """The inverse of :meth:`arrays`."""
        weight, bias, gram = (torch.from_numpy(arrays[name]) for name in ("weight", "bias", "gram"))
        return cls(weight, bias, gram, bool(arrays["uniform"]))

    def arrays(self) -> Arrays:
        tensors = {"weight": self.weight, "bias": self.bias, "gram": self.gram}
        return {name: tensor.numpy() for name, tensor in tensors.items()} | {
            "uniform": np.array(self.uniform)
        }

    @property
    def parts(self) -> int:
        return len(self.gram)

    def read(self, features: FeatureMap) -> tuple[Tensor, Tensor, Tensor]:
        """(clusters (B, H, W) uint8, amounts of the factors (B, P, H, W), principal coordinates (B, 3, H, W))."""
        device = features.levels[0].device
        maps = read_linear(features, self.weight.to(device), self.bias.to(device))
        nearness, products, axes = maps.split([self.parts, self.parts, COLOURS], dim=1)
        gram = self.gram.to(device)
        # One image at a time: what fits into the processor's cache is solved five times as fast.
        solved = [nonnegative_least_squares(gram, image) for image in products.flatten(2)]
        return nearness.argmax(1).to(torch.uint8), torch.stack(solved).view_as(products), axes


def fit_parts(sample: Matrix, parts: int, seed: int) -> PartModels:
    """Fit clusters, factors and principal axes to the descriptors of a sample of pixels.

    Clusters: k-means on the first 64 principal axes. Factors: non-negative matrix factorisation, each of unit length so
    that amounts compare. Where a channel is negative somewhere in the sample, its smallest value is subtracted first:
    a factorisation needs non-negative numbers, and a shift keeps reading linear.

    Shapes:
        sample: (N, C), N > parts.
    """
    channels = sample.shape[1]
    if all_the_same(sample):
        rows = 2 * parts + COLOURS
        return PartModels(torch.zeros(rows, channels), torch.zeros(rows), torch.eye(parts), uniform=True)
    axes = PCA(min(_AXES, *sample.shape), random_state=derive_seed(seed, "pca") % 2**32).fit(sample)
    directions, centre = axes.components_.astype(np.float64), axes.mean_.astype(np.float64)
    near_weight, near_bias = _clusters(axes.transform(sample), parts, seed)
    factors, shift = _factors(sample, parts, seed)
    colours = np.zeros((COLOURS, channels))
    colours[: len(directions[:COLOURS])] = directions[:COLOURS]
    weight = np.concatenate([near_weight @ directions, factors, colours])
    bias = np.concatenate([near_bias, -factors @ shift, np.zeros(COLOURS)])
    bias[:parts] -= near_weight @ directions @ centre
    bias[-COLOURS:] -= colours @ centre
    gram = torch.from_numpy(factors @ factors.T).float()
    return PartModels(torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), gram, uniform=False)


def all_the_same(descriptors: Matrix) -> bool:
    """Whether descriptors (N, C) differ by rounding alone: what is then found in them means nothing."""
    squares = np.einsum("nc,nc->", descriptors, descriptors, dtype=np.float64)
    around = squares - len(descriptors) * np.square(descriptors.mean(0, dtype=np.float64)).sum()
    return bool(around <= _ROUNDING * squares)


def _clusters(
    reduced: Matrix, parts: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nearness y -> c y - |c|^2 / 2 of every centre c: the largest is that of the nearest centre."""
    model = KMeans(parts, n_init=_STARTS, random_state=derive_seed(seed, "k-means") % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct descriptors than parts: some stay empty
        centres = model.fit(reduced).cluster_centers_.astype(np.float64)
    return centres, -np.square(centres).sum(1) / 2


def _factors(
    sample: Matrix, parts: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(factors of unit length (P, C), what is subtracted from a descriptor first (C,))."""
    shift = np.minimum(sample.min(0), 0)
    # Singular vectors, the usual start, are no more than there are channels.
    model = NMF(
        parts,
        init="nndsvda" if parts <= min(sample.shape) else "random",
        max_iter=_NMF_ITERATIONS,
        random_state=derive_seed(seed, "nmf") % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of iterations is the recipe
        factors = model.fit(sample - shift).components_.astype(np.float64)
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    return factors / np.maximum(lengths, _TINY), shift.astype(np.float64)
