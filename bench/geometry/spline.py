"""The radial basis of thin-plate-spline warps, and the normalised coordinates of the released DVE code.

Convention: normalised coordinates are -1 and +1 at the *centres* of the first and last pixel
(``align_corners=True``); pixels have a corner origin.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

Size = tuple[int, int]

_CONTROLS_PER_SIDE = 10
CONTROLS = _CONTROLS_PER_SIDE**2
ROWS = CONTROLS + 3
"""Rows of a warp's weights: one per control point, then translation, x and y."""
_EPSILON = 1e-5
_SEARCH_NODES, _SEARCH_EXTENT = 48, 1.5
_CHUNK_ELEMENTS = 2**24
_TILE, _SEARCHED_TILES = 8, 6


def _lattice(xs: Tensor, ys: Tensor) -> Tensor:
    """All (x, y), (len(ys) * len(xs), 2), x fastest."""
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], -1)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _control_points(dtype: torch.dtype, device: torch.device) -> Tensor:
    side = torch.linspace(-1, 1, _CONTROLS_PER_SIDE, dtype=torch.float64)
    return _lattice(side, side).to(device=device, dtype=dtype)


def basis(points: Tensor) -> Tensor:
    """Normalised points (..., 2) -> (..., 103): the kernel at every control point, then 1, x, y."""
    dx, dy = _apart(points)
    squared = dx.square() + dy.square()
    kernel = squared * (squared + _EPSILON).log()
    return torch.cat([kernel, torch.ones_like(points[..., :1]), points], dim=-1)


def kernel_gradient(points: Tensor) -> Tensor:
    """dU/dp at normalised points (..., 2), for every control point: (..., 100, 2)."""
    dx, dy = _apart(points)
    squared = dx.square() + dy.square()
    factor = 2 * ((squared + _EPSILON).log() + squared / (squared + _EPSILON))
    return torch.stack([factor * dx, factor * dy], -1)


def _apart(points: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of points (..., 2) relative to every control point, (..., 100) each: apart, for speed."""
    x, y = _control_points(points.dtype, points.device).unbind(-1)
    return points[..., :1] - x, points[..., 1:] - y


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def frame_basis(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The basis at every pixel of a frame, (H * W, 103): the same for all warps, hence kept.

    Made outside inference mode, for a kept tensor serves training as well.
    """
    xs, ys = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (width, height))
    return basis(_lattice(xs, ys)).to(device=device, dtype=dtype)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def search_basis(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes (M, 2) of a coarse grid that reaches beyond the frame, and the basis there (M, 103)."""
    side = torch.linspace(-_SEARCH_EXTENT, _SEARCH_EXTENT, _SEARCH_NODES, dtype=torch.float64)
    nodes = _lattice(side, side)
    return nodes.to(device=device, dtype=dtype), basis(nodes).to(device=device, dtype=dtype)


def to_unit(points: Tensor, size: Size) -> Tensor:
    """Pixels, corner origin -> [-1, 1] between the centres of the outer pixels."""
    last = points.new_tensor([size[1] - 1, size[0] - 1])
    return 2 * (points - 0.5) / last - 1


def from_unit(unit: Tensor, size: Size) -> Tensor:
    """The inverse of :func:`to_unit`."""
    last = unit.new_tensor([size[1] - 1, size[0] - 1])
    return (unit + 1) / 2 * last + 0.5


def node_coordinates(size: int) -> Tensor:
    """Pixel centres along one axis, corner origin, with the float32 rounding of the released code.

    Some integers come out as 34.999996 or the like. The published numbers need exactly these, whereas
    ``torch.linspace`` gives them only on processors with fused multiply-add; so that operation is spelt out.
    """
    step = (torch.tensor(2.0) / max(1, size - 1)).double()
    index = torch.arange(size, dtype=torch.float64)
    unit = torch.where(index < size // 2, step * index - 1, 1 - step * (size - 1 - index)).float()
    return ((unit + 1) / 2 * (size - 1)).double() + 0.5


def nearest_index(points: Tensor, nodes: Tensor) -> Tensor:
    """Index of the nearest node, first on ties: points (B, N, 2), nodes (B, M, 2) -> (B, N)."""
    chunk = max(1, _CHUNK_ELEMENTS // max(1, nodes.shape[0] * nodes.shape[1]))
    # The expanded form |a|^2 - 2ab + |b|^2 would lose the digits that decide near ties.
    mode = "donot_use_mm_for_euclid_dist"
    parts = (points[:, i : i + chunk] for i in range(0, max(1, points.shape[1]), chunk))
    return torch.cat([torch.cdist(part, nodes, compute_mode=mode).argmin(-1) for part in parts], dim=1)


def nearest_in_frame(points: Tensor, nodes: Tensor) -> Tensor:
    """:func:`nearest_index` among the pixels of a frame, which a warp leaves roughly in order: far fewer are compared.

    No node of a tile of pixels is nearer than the box around the tile. Where the box of the next tile is farther than
    the nearest node of the tiles that were searched, that node is the nearest of all.

    Shapes:
        points: (B, N, 2).  nodes: (B, H, W, 2).  returns: (B, N), indices in row order, the first on ties.
    """
    height, width = nodes.shape[1:3]
    flat = nodes.flatten(1, 2)
    members = _tiles(height, width, nodes.device)
    if members.shape[0] <= _SEARCHED_TILES:
        return nearest_index(points, flat)
    tiles = flat[:, members]
    low, high = tiles.amin(2).unsqueeze(1), tiles.amax(2).unsqueeze(1)
    beyond = torch.maximum(low - points.unsqueeze(2), points.unsqueeze(2) - high).clamp_(min=0)
    boxes = torch.linalg.vector_norm(beyond, dim=3).topk(_SEARCHED_TILES + 1, largest=False)
    searched = boxes.indices[..., :-1]
    batch = torch.arange(len(nodes), device=nodes.device)[:, None, None]
    candidates, index = tiles[batch, searched].flatten(2, 3), members[searched].flatten(2)
    mode = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(points.unsqueeze(2), candidates, compute_mode=mode).squeeze(2)
    best = apart.amin(2, keepdim=True)
    found = index.masked_fill(apart > best, height * width).amin(2)
    # The factor leaves room for the rounding of both distances.
    unsure = (best.squeeze(2) > boxes.values[..., -1] * (1 - 1e-9)).any(1)
    if bool(unsure.any()):
        found[unsure] = nearest_index(points[unsure], flat[unsure])
    return found


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _tiles(height: int, width: int, device: torch.device) -> Tensor:
    """(tiles, side^2): row-order indices of the pixels of each tile; at the border some stand twice."""
    rows, columns = (
        torch.arange(math.ceil(n / _TILE) * _TILE).clamp(max=n - 1).reshape(-1, _TILE)
        for n in (height, width)
    )
    index = rows[:, None, :, None] * width + columns[None, :, None, :]
    return index.flatten(2).flatten(0, 1).to(device)
