"""A z-buffer for many small triangles at once, of one picture or several.

Convention: coordinates in samples, corner origin: sample (column j, row i) has its centre at (j + 0.5, i + 0.5).
Larger depth is nearer to the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from datasets.procedural.arrays import Array
from datasets.procedural.backend import HOST, Backend, of_picture

_DEPTH_STEPS = float(1 << 20)
_SLACK = 1e-4


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is nearest in each covered sample, in the order of the samples.

    Shapes:
        sample: (F,), flat index ((picture * side + row) * side + column), each at most once. triangle: (F,).
        weights: (F, 3).

    Attributes:
        on: Where the arrays are.
    """

    sample: Array
    triangle: Array
    weights: Array
    on: Backend = HOST

    def interpolate(self, values: Array, triangles: Array) -> Array:
        """(F, D) values at the fragments of per-vertex values (V, D)."""
        return self.on.interpolate(self.weights, self.on.picked(triangles, self.triangle), values)

    def take(self, keep: Array) -> Fragments:
        """Those at the indices ``keep``."""
        picked = self.on.picked
        return Fragments(
            picked(self.sample, keep), picked(self.triangle, keep), picked(self.weights, keep), self.on
        )


def rasterise(
    vertices: Array,
    triangles: Array,
    side: int,
    accept: Callable[[Fragments], Array] | None = None,
    *,
    picture: Array | None = None,
    pictures: int = 1,
    on: Backend = HOST,
) -> Fragments:
    """The nearest front-facing surface in every sample of square pictures.

    Args:
        vertices: (V, 3), x and y in samples, z the depth.
        triangles: (T, 3); front faces run clockwise on the screen (y down).
        accept: Which candidate fragments exist at all (holes, ragged borders); asked before the depth test. The
            candidates come in the order of their triangles.
        picture: (T,), number of the picture that a triangle belongs to, ascending; by default all belong to one.
        pictures: How many there are.
        on: Where the arrays are.
    """
    fragments = _covered(vertices, triangles, side, picture, on)
    if accept is not None:
        fragments = fragments.take(on.indices(accept(fragments)))
    depth = fragments.interpolate(vertices[:, 2:], triangles)
    owner = fragments.sample // (side * side)
    low, high = on.bounds(depth, owner, pictures)
    per_depth = _DEPTH_STEPS / on.xp.clip(high - low, 1e-6, None)
    steps = on.cast(((depth - of_picture(low, owner)) * of_picture(per_depth, owner))[:, 0], "int64")
    # Depth in the high bits and the fragment's number in the low ones: one maximum finds the winner.
    key = (steps << 32) | on.counting(len(steps))
    buffer = on.greatest(key, fragments.sample, pictures * side * side, -1)
    return fragments.take(buffer[buffer >= 0] & 0xFFFFFFFF)


def _covered(vertices: Array, triangles: Array, side: int, picture: Array | None, on: Backend) -> Fragments:
    """Every (triangle, sample) pair where the sample's centre lies in the front-facing triangle."""
    xp = on.xp
    picked, plane = on.picked, vertices[:, :2]
    first, second, third = (picked(plane, triangles[:, i]) for i in range(3))
    to_second, to_third = second - first, third - first
    area = to_second[:, 0] * to_third[:, 1] - to_third[:, 0] * to_second[:, 1]
    low = xp.ceil(xp.minimum(xp.minimum(first, second), third) - 0.5)
    high = xp.floor(xp.maximum(xp.maximum(first, second), third) - 0.5)
    low, high = xp.clip(low, 0, None), xp.clip(high, None, side - 1)
    span = on.cast(high - low + 1, "int32")
    kept = on.indices((area > 1e-6) & (span[:, 0] > 0) & (span[:, 1] > 0))
    low, first, span = picked(low, kept), picked(first, kept), picked(span, kept)
    # Barycentric weights are affine in the position: value at the first sample, and steps right and down.
    inverse = 1.0 / area[kept]
    to_second, to_third = picked(to_second, kept), picked(to_third, kept)
    start = low + 0.5 - first
    b_right, b_down = to_third[:, 1] * inverse, -to_third[:, 0] * inverse
    c_right, c_down = -to_second[:, 1] * inverse, to_second[:, 0] * inverse
    b_first = start[:, 0] * b_right + start[:, 1] * b_down
    c_first = start[:, 0] * c_right + start[:, 1] * c_down
    # Every candidate row of samples first, then every sample of each row.
    tall = span[:, 1]
    row_owner = on.repeat(on.counting(len(kept)), tall)
    row = _counted(tall, on)
    wide = picked(span[:, 0], row_owner)
    row_b = picked(b_first, row_owner) + row * picked(b_down, row_owner)
    row_c = picked(c_first, row_owner) + row * picked(c_down, row_owner)
    row_sample = on.cast(picked(low[:, 1] * side + low[:, 0], row_owner) + row * side, "int32")
    if picture is not None:
        row_sample = row_sample + picked(picture[kept] * (side * side), row_owner)
    right = _counted(wide, on)
    b = on.repeat(row_b, wide)
    b += right * on.repeat(picked(b_right, row_owner), wide)
    c = on.repeat(row_c, wide)
    c += right * on.repeat(picked(c_right, row_owner), wide)
    # The slack closes hairline gaps between neighbours; the depth test settles double cover.
    inside = on.indices((b >= -_SLACK) & (c >= -_SLACK) & (b + c <= 1.0 + _SLACK))
    b, c = picked(b, inside), picked(c, inside)
    weights = xp.stack([1.0 - b - c, b, c], axis=-1)
    sample = picked(on.repeat(row_sample, wide), inside) + on.cast(picked(right, inside), "int32")
    return Fragments(sample, picked(on.repeat(picked(kept, row_owner), wide), inside), weights, on)


def _counted(lengths: Array, on: Backend) -> Array:
    """0, 1, ... restarted for each length; float32, as what follows (it is exact up to 2 ** 24)."""
    starts = on.cast(on.xp.cumsum(lengths, axis=0), "int32") - lengths
    return on.cast(on.counting(int(lengths.sum())) - on.repeat(starts, lengths), "float32")
