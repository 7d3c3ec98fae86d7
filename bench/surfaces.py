"""Dense correspondences: which point of one image shows the same spot of a surface as a pixel of another.

Rendered data sets know for each pixel which spot of a template it shows, the same numbers on every individual. Two
pixels correspond where these surface coordinates are equal; a first-order model of the coordinates around each pixel
gives the position between pixels.

Convention: points are (x, y) in pixels, corner origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_NEIGHBOURS = 4
_STEPS = 4


@dataclass(frozen=True, eq=False)
class SurfaceMap:
    """Surface coordinates in the pixels of a square image that show the annotated object.

    Shapes:
        pixel: (P,), flat indices (row * size + column), each at most once.
        coordinates: (P, D), of the spot at the pixel's centre.
        slope: (P, D, 2), derivative of the coordinates by x and y, per pixel.
    """

    size: int
    pixel: npt.NDArray[np.int64]
    coordinates: Array
    slope: Array

    @property
    def centres(self) -> Array:
        """(P, 2) the pixels' centres, corner origin."""
        return np.stack([self.pixel % self.size, self.pixel // self.size], -1).astype(np.float64) + 0.5

    def take(self, rows: npt.NDArray[np.int64]) -> SurfaceMap:
        """Some of the pixels, in the given order."""
        return SurfaceMap(self.size, self.pixel[rows], self.coordinates[rows], self.slope[rows])

    def image(self) -> Array:
        """(S, S, D) coordinates as a picture, NaN where nothing of the object's surface shows."""
        picture = np.full((self.size * self.size, self.coordinates.shape[1]), np.nan)
        picture[self.pixel] = self.coordinates
        return picture.reshape(self.size, self.size, -1)


@runtime_checkable
class HasSurface(Protocol):
    """A data set that knows surface coordinates."""

    def surface(self, index: int) -> SurfaceMap:
        """Of sample ``index``, for its image as it comes from the data set."""
        ...


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points of two images that show the same spot of the surface.

    Shapes:
        source, target: (M, 2), float64, pixels, corner origin; sources are the centres of the picture's pixels.
        row: (M,), which entries of the source's map these are, ascending.
    """

    source: Array
    target: Array
    row: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FramedSurfaces:
    """The surfaces of a loaded split's images, whose points are placed in the frame that the split holds.

    A surface is rendered whenever it is asked for, and not kept: 15 to 40 ms for an image of 128 px on one core, and
    as long again to match a thousand points with another image's. A split that nobody asks costs nothing.

    Attributes:
        dataset: Knows the surfaces of its pictures as they come.
        indices: Of the split's images in the data set.
        frame: Side of the square to which pictures are resized, in pixels; q px of a picture of side s are
            q frame / s px of the frame, whatever arithmetic places the annotated landmarks.
        margin: Pixels cut from each side of it afterwards.
    """

    dataset: HasSurface
    indices: tuple[int, ...]
    frame: int
    margin: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Sequence[int]) -> FramedSurfaces:
        return replace(self, indices=tuple(self.indices[i] for i in indices))

    def cropped(self, margin: int) -> FramedSurfaces:
        return replace(self, margin=self.margin + margin)

    def of(self, image: int) -> SurfaceMap:
        """In the pixels of the picture as it comes from the data set; :meth:`placed` takes its points to the frame."""
        return self.dataset.surface(self.indices[image])

    def placed(self, points: Array, size: int) -> Array:
        """Points (M, 2) of a picture of side ``size`` in pixels of the frame, or of the margin that was cut."""
        return points * (self.frame / size) - self.margin

    def correspondences(self, source: SurfaceMap, target: int, tolerance: float = 0.25) -> Correspondences:
        """Where image ``target`` shows what a surface (or some of its pixels) shows, in pixels of the frame.

        Args:
            source: From :meth:`of`.
            tolerance: See :func:`match_surfaces`.
        """
        other = self.of(target)
        found = match_surfaces(source, other, tolerance)
        placed = self.placed(found.source, source.size), self.placed(found.target, other.size)
        return Correspondences(*placed, found.row)


def dense_correspondences(dataset: HasSurface, i: int, j: int, tolerance: float = 0.25) -> Correspondences:
    """Match the pixels of image i to points of image j.

    Args:
        tolerance: See ``match_surfaces``.
    """
    return match_surfaces(dataset.surface(i), dataset.surface(j), tolerance)


def match_surfaces(source: SurfaceMap, target: SurfaceMap, tolerance: float = 0.25) -> Correspondences:
    """For each pixel of ``source`` the point of ``target`` with the same surface coordinates, where it is seen.

    From the pixels with the nearest coordinates, Gauss-Newton steps go to the point whose coordinates are equal. On
    a triangle the coordinates are linear in the position, so that the result is exact wherever the last step stays
    on one triangle.

    Args:
        tolerance: A spot counts as seen where the point found lies within one pixel (along x and y) of the centre of
            a pixel that shows the surface, and the surface there misses the coordinates by no more than this share
            of a pixel: of the coordinates' change over one pixel in the direction in which they change least.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - half a second to load, and who loads images needs none

    if len(source.pixel) == 0 or len(target.pixel) == 0:
        return Correspondences(np.empty((0, 2)), np.empty((0, 2)), np.empty(0, dtype=np.int64))
    count = min(_NEIGHBOURS, len(target.pixel))
    _, nearest = KDTree(target.coordinates).query(source.coordinates, k=np.arange(1, count + 1))
    at = np.full(target.size * target.size, -1, dtype=np.int64)
    at[target.pixel] = np.arange(len(target.pixel))
    best_miss = np.full(len(source.pixel), np.inf)
    best = np.zeros((len(source.pixel), 2))
    for candidate in np.asarray(nearest).T:
        start = candidate
        for _ in range(_STEPS):
            points, miss = _stepped(source.coordinates, target, start)
            away = np.abs(points - target.centres[start]).max(-1)
            miss = np.where(away <= 1.0, miss, np.inf)
            better = miss < best_miss
            best[better], best_miss[better] = points[better], miss[better]
            start = _pixel_at(points, at, target.size, otherwise=start)
    seen = best_miss <= tolerance
    return Correspondences(source.centres[seen], best[seen], np.flatnonzero(seen))


def _stepped(
    wanted: Array, target: SurfaceMap, start: npt.NDArray[np.int64]
) -> tuple[Array, npt.NDArray[np.float64]]:
    """(P, 2) points where the linear models of the pixels ``start`` come nearest to the coordinates wanted (P, D).

    Returns also (P,) how far they miss them, in pixels.
    """
    slope = target.slope[start]
    gap = wanted - target.coordinates[start]
    (a, b), (_, d) = np.einsum("pdi,pdj->ijp", slope, slope)
    u, v = np.einsum("pdi,pd->ip", slope, gap)
    # Relative to a triangle seen edge-on, anything is near; the floor keeps the inverse finite there.
    determinant = a * d - b * b + 1e-12 * (a + d) ** 2 + np.finfo(np.float64).tiny
    step = np.stack([d * u - b * v, a * v - b * u], -1) / determinant[:, None]
    residual = np.linalg.norm(gap - np.einsum("pdi,pi->pd", slope, step), axis=-1)
    least_change = np.sqrt(2.0 * determinant / (a + d + np.hypot(a - d, 2.0 * b)))
    return target.centres[start] + step, residual / least_change


def _pixel_at(
    points: Array, at: npt.NDArray[np.int64], size: int, otherwise: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Which entry of the map holds each point; ``otherwise`` where none does."""
    column, row = np.clip(np.floor(points), 0, size - 1).astype(np.int64).T
    found = at[row * size + column]
    inside = ((points >= 0) & (points < size)).all(-1)
    return np.where(inside & (found >= 0), found, otherwise)
