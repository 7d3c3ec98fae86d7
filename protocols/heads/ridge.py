"""Linear maps without intercept from points to points, in closed form.

Reference: Thewlis et al., ICCV 2017, section 4.3 (y = W x); Rahaman et al. 2021, section 5 (ridge).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_SMALLEST_SINGULAR_VALUE = 1e-6
"""Relative to the largest. Points are single precision: along directions in which the sources vary less, they tell
nothing, and least squares would amplify their rounding."""


@dataclass(frozen=True, eq=False)
class PointMap:
    """Each target point is a linear function of all coordinates of the source points.

    Shapes:
        weights: (T, 2, 2 S), acting on (x_1, y_1, x_2, y_2, ...) of the S source points; 0 where there was no example.

    Attributes:
        determined: Whether there were enough independent examples for one best solution; else it is the smallest.
        origin: Where coordinates count from, along both axes.
    """

    weights: Floats
    determined: bool
    origin: float = 0.0

    def __call__(self, sources: Floats) -> Floats:
        """Shapes: sources: (N, S, 2).  returns: (N, T, 2)."""
        flat = sources.reshape(len(sources), -1) - self.origin
        predicted: Floats = np.einsum("tad,nd->nta", self.weights, flat) + self.origin
        return predicted


def fit_points(sources: Floats, targets: Floats, visible: Booleans, alpha: float) -> PointMap:
    """Minimise, for each coordinate of each target point, squared errors + ``alpha`` times squared weights.

    With ``alpha`` 0 the smallest of all best solutions is taken (minimum norm), so that fewer examples than unknowns
    have one as well. A target point learns from the examples in which it is visible.

    Shapes:
        sources: (N, S, 2), all of them given.  targets: (N, T, 2).  visible: (N, T), of the targets.

    Args:
        alpha: In squared units of the coordinates.
    """
    flat = sources.reshape(len(sources), -1)
    weights = np.zeros((targets.shape[1], 2, flat.shape[1]))
    determined = True
    # Targets that are visible in the same examples are one least-squares problem.
    patterns, which = np.unique(visible, axis=1, return_inverse=True)
    for index, seen in enumerate(patterns.T):
        group = np.flatnonzero(which.ravel() == index)
        if not seen.any():
            determined = False
            continue
        wanted = targets[seen][:, group].reshape(int(seen.sum()), -1)
        solution, unique = _solve(flat[seen], wanted, alpha)
        weights[group] = solution.T.reshape(len(group), 2, -1)
        determined = determined and unique
    return PointMap(weights, determined)


def _solve(sources: Floats, targets: Floats, alpha: float) -> tuple[Floats, bool]:
    """Shapes: (n, D), (n, M) -> (D, M), and whether no other solution is as good."""
    if alpha > 0:
        ridge = Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(sources, targets)
        return np.asarray(ridge.coef_, dtype=np.float64).T, True
    solution, _, rank, _ = np.linalg.lstsq(sources, targets, rcond=_SMALLEST_SINGULAR_VALUE)
    return np.asarray(solution, dtype=np.float64), bool(rank == sources.shape[1])
