"""A z-buffer for many small triangles at once, in NumPy.

Convention: coordinates in samples, corner origin: sample (column j, row i) has its centre at (j + 0.5, i + 0.5).
Larger depth is nearer to the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasets.synthetic_faces.layout import FloatArray

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_DEPTH_STEPS = float(1 << 20)


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
        corners = triangles[self.triangle]
        out = values[corners[:, 0]] * self.weights[:, :1]
        out += values[corners[:, 1]] * self.weights[:, 1:2]
        out += values[corners[:, 2]] * self.weights[:, 2:]
        return out

    def take(self, keep: BoolArray) -> Fragments:
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
    x, y = vertices[:, 0][triangles], vertices[:, 1][triangles]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    first_x = np.maximum(np.ceil(x.min(1) - 0.5), 0).astype(np.int64)
    first_y = np.maximum(np.ceil(y.min(1) - 0.5), 0).astype(np.int64)
    wide = np.minimum(np.floor(x.max(1) - 0.5), side - 1).astype(np.int64) - first_x + 1
    tall = np.minimum(np.floor(y.max(1) - 0.5), side - 1).astype(np.int64) - first_y + 1
    kept = np.flatnonzero((area > 1e-6) & (wide > 0) & (tall > 0))
    x, y, area, first_x, first_y = x[kept], y[kept], area[kept], first_x[kept], first_y[kept]
    wide, count = wide[kept], wide[kept] * tall[kept]
    owner = np.repeat(np.arange(len(kept)), count)
    local = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    row = local // wide[owner]
    column = first_x[owner] + local - row * wide[owner]
    row += first_y[owner]
    # Barycentric weights are affine in the sample's position, relative to the first corner.
    dx = (column + 0.5 - x[owner, 0]).astype(np.float32)
    dy = (row + 0.5 - y[owner, 0]).astype(np.float32)
    inverse = 1.0 / area
    b_x, b_y = (y[:, 2] - y[:, 0]) * inverse, (x[:, 0] - x[:, 2]) * inverse
    c_x, c_y = (y[:, 0] - y[:, 1]) * inverse, (x[:, 1] - x[:, 0]) * inverse
    b = dx * b_x[owner] + dy * b_y[owner]
    c = dx * c_x[owner] + dy * c_y[owner]
    a = 1.0 - b - c
    # The slack closes hairline gaps between neighbours; the depth test settles double cover.
    inside = (a >= -1e-4) & (b >= -1e-4) & (c >= -1e-4)
    weights = np.stack([a[inside], b[inside], c[inside]], axis=-1).astype(np.float32)
    return Fragments(row[inside] * side + column[inside], kept[owner[inside]], weights)
