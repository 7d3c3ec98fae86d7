"""A z-buffer for many small triangles at once, in NumPy.

Convention: coordinates in samples, corner origin: sample (column j, row i) has its centre at (j + 0.5, i + 0.5).
Larger depth is nearer to the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray

_DEPTH_STEPS = float(1 << 20)
_SLACK = np.float32(1e-4)


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is nearest in each covered sample.

    Shapes:
        sample: (F,), flat index (row * side + column), each at most once. triangle: (F,). weights: (F, 3).
    """

    sample: IntArray
    triangle: IntArray
    weights: FloatArray

    def interpolate(self, values: FloatArray, triangles: IntArray) -> FloatArray:
        """(F, D) values at the fragments of per-vertex values (V, D)."""
        # As a product with a sparse matrix of three weights a row: ten times faster than three gathers.
        count = len(self.sample)
        corners = triangles[self.triangle].astype(np.int32, copy=False).reshape(-1)
        starts = np.arange(0, 3 * count + 1, 3, dtype=np.int32)
        matrix = sparse.csr_array((self.weights.reshape(-1), corners, starts), shape=(count, len(values)))
        return np.asarray(matrix @ np.ascontiguousarray(values), dtype=np.float32)

    def take(self, keep: BoolArray | IntArray) -> Fragments:
        """Those that are kept: a mask over the fragments, or indices."""
        return Fragments(self.sample[keep], self.triangle[keep], self.weights[keep])


def rasterise(
    vertices: FloatArray,
    triangles: IntArray,
    side: int,
    accept: Callable[[Fragments], BoolArray] | None = None,
) -> Fragments:
    """The nearest front-facing surface in every sample of a square image.

    Args:
        vertices: (V, 3), x and y in samples, z the depth.
        triangles: (T, 3); front faces run clockwise on the screen (y down).
        accept: Which candidate fragments exist at all (holes, ragged borders); asked before the depth test.
    """
    fragments = _covered(vertices, triangles, side)
    if accept is not None:
        fragments = fragments.take(accept(fragments))
    depth = fragments.interpolate(vertices[:, 2:], triangles)[:, 0]
    low, high = (depth.min(), depth.max()) if len(depth) else (np.float32(0), np.float32(1))
    steps = ((depth - low) * (_DEPTH_STEPS / max(float(high - low), 1e-6))).astype(np.int64)
    # Depth in the high bits and the fragment's number in the low ones: one maximum finds the winner.
    key = (steps << 32) | np.arange(len(steps))
    buffer = np.full(side * side, -1, dtype=np.int64)
    np.maximum.at(buffer, fragments.sample, key)
    winner = buffer[buffer >= 0] & 0xFFFFFFFF
    return Fragments(fragments.sample[winner], fragments.triangle[winner], fragments.weights[winner])


def _covered(vertices: FloatArray, triangles: IntArray, side: int) -> Fragments:
    """Every (triangle, sample) pair where the sample's centre lies in the front-facing triangle."""
    first, second, third = (vertices[triangles[:, i], :2] for i in range(3))
    to_second, to_third = second - first, third - first
    area = to_second[:, 0] * to_third[:, 1] - to_third[:, 0] * to_second[:, 1]
    low = np.ceil(np.minimum(np.minimum(first, second), third) - 0.5)
    high = np.floor(np.maximum(np.maximum(first, second), third) - 0.5)
    low, high = np.maximum(low, 0), np.minimum(high, side - 1)
    span = (high - low + 1).astype(np.int32)
    kept = np.flatnonzero((area > 1e-6) & (span[:, 0] > 0) & (span[:, 1] > 0))
    # Barycentric weights are affine in the position: value at the first sample, and steps right and down.
    inverse = (1.0 / area[kept]).astype(np.float32)
    to_second, to_third = to_second[kept], to_third[kept]
    start = low[kept] + np.float32(0.5) - first[kept]
    b_right, b_down = to_third[:, 1] * inverse, -to_third[:, 0] * inverse
    c_right, c_down = -to_second[:, 1] * inverse, to_second[:, 0] * inverse
    b_first = start[:, 0] * b_right + start[:, 1] * b_down
    c_first = start[:, 0] * c_right + start[:, 1] * c_down
    # Every candidate row of samples first, then every sample of each row.
    tall = span[kept, 1]
    row_owner = np.repeat(np.arange(len(kept), dtype=np.int32), tall)
    row = _counted(tall)
    wide = span[kept, 0][row_owner]
    row_b = b_first[row_owner] + row * b_down[row_owner]
    row_c = c_first[row_owner] + row * c_down[row_owner]
    row_sample = (low[kept, 1] * side + low[kept, 0])[row_owner] + row * np.float32(side)
    right = _counted(wide)
    b = np.repeat(row_b, wide)
    b += right * np.repeat(b_right[row_owner], wide)
    c = np.repeat(row_c, wide)
    c += right * np.repeat(c_right[row_owner], wide)
    # The slack closes hairline gaps between neighbours; the depth test settles double cover.
    inside = np.flatnonzero((b >= -_SLACK) & (c >= -_SLACK) & (b + c <= 1.0 + _SLACK))
    b, c = b[inside], c[inside]
    weights = np.stack([1.0 - b - c, b, c], axis=-1).astype(np.float32)
    sample = np.repeat(row_sample, wide)[inside] + right[inside]
    return Fragments(sample.astype(np.int32), np.repeat(kept[row_owner], wide)[inside], weights)


def _counted(lengths: IntArray) -> FloatArray:
    """0, 1, ... restarted for each length; floats, since what follows is float32 (exact up to 2 ** 24)."""
    starts = (np.cumsum(lengths) - lengths).astype(np.float32)
    return np.arange(int(lengths.sum()), dtype=np.float32) - np.repeat(starts, lengths)
