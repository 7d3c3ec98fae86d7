"""Inner products between the vectors of dense maps, from the native levels that the maps are resized from. Exact.

Resizing is linear, so an inner product of two resized vectors is a weighted sum of those of native ones. There are far
fewer of these, and they are scalars: the dense map of C channels is never built.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.interpolation import resize, resize_matrix

Size = tuple[int, int]


def squared_norms(level: Tensor, size: Size) -> Tensor:
    """Squared lengths of the vectors of a level after resizing.

    A resized vector is a weighted sum of at most 2x2 neighbours, so its squared length is a quadratic form in their
    inner products: five native maps, resized with squared and crossed weights.

    Shapes:
        level: (B, C, h, w).  returns: (B, H, W).
    """
    own: Tensor = torch.linalg.vecdot(level, level, dim=1)
    if (level.shape[2], level.shape[3]) == size:
        return own
    rows = resize_matrix(size[0], level.shape[2], level)
    columns = resize_matrix(size[1], level.shape[3], level)
    row_pairs, column_pairs = 2 * rows[:, :-1] * rows[:, 1:], 2 * columns[:, :-1] * columns[:, 1:]
    right = _with_neighbour(level, 0, 1)[:, :, :-1]
    down = _with_neighbour(level, 1, 0)[:, :-1]
    diagonals = _with_neighbour(level, 1, 1)[:, :-1, :-1] + _with_neighbour(level, 1, -1)[:, :-1, 1:]
    total = rows.square() @ own @ columns.square().T
    total = total + rows.square() @ right @ column_pairs.T
    total = total + row_pairs @ down @ columns.square().T
    total = total + row_pairs @ diagonals @ (column_pairs / 2).T
    return total.clamp_min(0)


def gram(one: Tensor, other: Tensor, size: Size, other_size: Size) -> Tensor:
    """Inner products of every vector of a level with every vector of another, both after resizing.

    Shapes:
        one: (B, C, h, w).  other: (B, C, h', w').  returns: (B, H W, H' W'), cells in row order.
    """
    native = one.flatten(2).mT @ other.flatten(2)
    right: Tensor = resize(native.unflatten(2, other.shape[2:]), other_size).flatten(2)
    height, width = one.shape[2:]
    if (height, width) == size:
        return right
    down = resize_matrix(size[0], height, right) @ right.unflatten(1, (height, width)).flatten(2)
    across: Tensor = resize_matrix(size[1], width, right) @ down.unflatten(2, (width, -1))
    return across.flatten(1, 2)


def _with_neighbour(level: Tensor, down: int, right: int) -> Tensor:
    """(B, h, w): inner products of every vector with the one so many rows and columns away.

    Meaningless where that one lies outside: rows follow each other in memory, and reading on there is many times faster
    than stopping at the end of each.
    """
    flat = level.flatten(2)
    count = flat.shape[2]
    offset = min(down * level.shape[3] + right, count)
    dots: Tensor = torch.linalg.vecdot(flat[..., : count - offset], flat[..., offset:], dim=1)
    maps: Tensor = F.pad(dots, (0, offset)).unflatten(1, level.shape[2:])
    return maps
