"""Where pictures are computed: by NumPy on the host, or by torch on any device.

The renderer is written once, for arrays of either kind. Both share operators, indexing, reductions, and the functions
that ``Backend.xp`` holds under one name (``where``, ``stack``, ``floor``, ...); the few operations that they spell
differently, or for which one has something faster, are the methods of ``Backend``.

NumPy is the default: it is as fast as torch on a core, rendering processes start without loading torch, and its
pictures are the ones that the versions of the data sets stand for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy import fft, ndimage, sparse

from datasets.procedural.arrays import Array, BoolArray, FloatArray, IntArray


class Backend(ABC):
    """The operations that depend on where arrays are.

    "Rows of pictures" are what the fragments of several pictures are kept in: one after another, with the number of
    each row's picture beside them, in ascending order.

    Attributes:
        xp: The module whose functions take the arrays.
        kind: What the processor is called: "cpu", "cuda", ...
        pictures_at_once: How many pictures are worth rendering together.
    """

    xp: Any
    kind: str
    pictures_at_once: ClassVar[int]

    @abstractmethod
    def array(self, values: np.ndarray[Any, Any]) -> Array:
        """A NumPy array, brought here."""

    @abstractmethod
    def host(self, values: Array) -> np.ndarray[Any, Any]:
        """An array from here, as NumPy's."""

    @abstractmethod
    def full(self, shape: tuple[int, ...], value: float) -> Array:
        """A float32 array of one value."""

    @abstractmethod
    def counting(self, count: int) -> Array:
        """(N,) int32: 0, 1, ..."""

    @abstractmethod
    def cast(self, values: Array, kind: str) -> Array:
        """The values as another type, by its name: "float32", "int64", ..."""

    @abstractmethod
    def indices(self, mask: Array) -> Array:
        """Where a mask (N,) is true, ascending."""

    @abstractmethod
    def picked(self, values: Array, index: Array) -> Array:
        """(F, ...) those of the values (N, ...) at the indices (F,)."""

    @abstractmethod
    def repeat(self, values: Array, counts: Array) -> Array:
        """Each of (N,) values as often as its count says."""

    @abstractmethod
    def greatest(self, values: Array, index: Array, length: int, least: int | float) -> Array:
        """(length,) the greatest value of each index, and ``least`` where there is no greater one."""

    @abstractmethod
    def bounds(self, rows: Array, picture: Array, count: int) -> tuple[Array, Array]:
        """(count, D) least and greatest of the rows (F, D) of each picture; 0 for pictures without rows."""

    @abstractmethod
    def interpolate(self, weights: Array, corners: Array, values: Array) -> Array:
        """(F, D) sums of three of the values (V, D): those at the corners (F, 3), times the weights (F, 3)."""

    @abstractmethod
    def mapped(self, rows: Array, maps: Array, picture: Array) -> Array:
        """The rows (F, 3) times a matrix (count, K, 3) or a vector (count, 3) of their picture: (F, K) or (F,)."""

    @abstractmethod
    def blurred(self, images: Array, sigmas: Sequence[float], truncate: float) -> Array:
        """Gaussian blur of images (B, H, W, 3) by as many sigmas (pixels); borders are mirrored (d c b a | a b c d)."""

    @abstractmethod
    def resampled(self, images: Array, rows: FloatArray, columns: FloatArray) -> Array:
        """A matrix (B, P, H) along the height and one (B, Q, W) along the width of images (B, H, W, 3)."""

    @abstractmethod
    def cosines(self, blocks: Array) -> Array:
        """Orthonormal cosine transform (DCT-II) along the last two axes."""

    @abstractmethod
    def from_cosines(self, coefficients: Array) -> Array:
        """The inverse of ``cosines``."""


class Host(Backend):
    """NumPy and SciPy."""

    xp = np
    kind = "cpu"
    # A second picture would only leave the processor's cache: on the host there is nothing to gain from a batch.
    pictures_at_once = 1

    def array(self, values: np.ndarray[Any, Any]) -> Array:
        return values

    def host(self, values: Array) -> np.ndarray[Any, Any]:
        return np.asarray(values)

    def full(self, shape: tuple[int, ...], value: float) -> Array:
        return np.full(shape, value, dtype=np.float32)

    def counting(self, count: int) -> Array:
        return np.arange(count, dtype=np.int32)

    def cast(self, values: Array, kind: str) -> Array:
        return values.astype(kind)

    def indices(self, mask: BoolArray) -> Array:
        return np.flatnonzero(mask)

    def picked(self, values: Array, index: IntArray) -> Array:
        # The same as values[index], and up to six times as fast for short rows.
        return np.take(values, index, axis=0)

    def repeat(self, values: Array, counts: IntArray) -> Array:
        return np.repeat(values, counts)

    def greatest(self, values: Array, index: IntArray, length: int, least: int | float) -> Array:
        result = np.full(length, least, dtype=values.dtype)
        np.maximum.at(result, index, values)
        return result

    def bounds(self, rows: FloatArray, picture: IntArray, count: int) -> tuple[Array, Array]:
        low, high = (np.zeros((count, rows.shape[1]), dtype=rows.dtype) for _ in range(2))
        for number, mine in enumerate(_shares(picture, count)):
            if mine.stop > mine.start:
                low[number], high[number] = rows[mine].min(0), rows[mine].max(0)
        return low, high

    def interpolate(self, weights: FloatArray, corners: IntArray, values: FloatArray) -> Array:
        # As a product with a sparse matrix of three weights a row: ten times faster than three gathers.
        count = len(weights)
        starts = np.arange(0, 3 * count + 1, 3, dtype=np.int32)
        columns = corners.astype(np.int32, copy=False).reshape(-1)
        matrix = sparse.csr_array((weights.reshape(-1), columns, starts), shape=(count, len(values)))
        return np.asarray(matrix @ np.ascontiguousarray(values), dtype=np.float32)

    def mapped(self, rows: FloatArray, maps: FloatArray, picture: IntArray) -> Array:
        shares = _shares(picture, len(maps))
        return np.concatenate([rows[mine] @ one.T for mine, one in zip(shares, maps, strict=True)])

    def blurred(self, images: FloatArray, sigmas: Sequence[float], truncate: float) -> Array:
        pairs = zip(images, sigmas, strict=True)
        return np.stack([ndimage.gaussian_filter(image, (s, s, 0), truncate=truncate) for image, s in pairs])

    def resampled(self, images: FloatArray, rows: FloatArray, columns: FloatArray) -> Array:
        results = []
        for image, down, across in zip(images, rows, columns, strict=True):
            tall = np.tensordot(down, image, axes=(1, 0))
            results.append(np.tensordot(across, tall, axes=(1, 1)).transpose(1, 0, 2))
        return np.stack(results)

    def cosines(self, blocks: FloatArray) -> Array:
        return fft.dctn(blocks, axes=(-2, -1), norm="ortho")

    def from_cosines(self, coefficients: FloatArray) -> Array:
        return fft.idctn(coefficients, axes=(-2, -1), norm="ortho")


def _shares(picture: IntArray, count: int) -> list[slice]:
    """Which rows belong to each picture."""
    if count == 1:
        return [slice(0, len(picture))]
    edges = np.searchsorted(picture, np.arange(count + 1)).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


HOST = Host()


def backend(device: str = "cpu") -> Backend:
    """The backend of a device: "cpu" is NumPy, "cuda" or "cuda:1" torch; "auto" is a GPU where there is one.

    Raises:
        BenchError: where the device is unknown or not there.
    """
    if device == "cpu":
        return HOST
    from bench.opening import choose_device  # noqa: PLC0415 - the host's processes do without torch
    from datasets.procedural.torch_backend import TorchBackend  # noqa: PLC0415

    chosen = choose_device(device)
    return HOST if chosen.type == "cpu" else TorchBackend(chosen)


def of_picture(values: Array, picture: Array) -> Array:
    """For each row, what is given for its picture (B, ...): (F, ...), or (1, ...) where there is one picture."""
    return values if len(values) == 1 else values[picture]
