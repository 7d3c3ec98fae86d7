"""DVE's objective: descriptors must point to where a warp has moved their pixel, seen through another image.

Reference: Thewlis et al., Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019; details of
the released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bench.errors import BenchError
from bench.sharing import share_mean
from methods.objectives.precision import full_precision

DESCRIPTOR_LENGTH = 20.0
"""Length that normalised descriptors are given; their dot products are 400 cosines."""

# Score matrices of at most so many elements at once: in the cache of a CPU, enough to fill a GPU.
_ELEMENTS_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}


def descriptor_exchange_loss(
    first: Tensor,
    second: Tensor,
    places: Tensor,
    stride: int,
    *,
    normalise: bool,
    exchange: bool = True,
    power: float = 0.5,
) -> Tensor:
    """Expected distance between where a descriptor is found and where it should be, mean over cells and pairs.

    For cell u of a first image with descriptor s_u, and the cells v of its second image with descriptors t_v:

        L = mean over pairs and u of sum_v softmax_v(e_u . t_v) |q_u - v|^power

    where q_u is the true place of u. Without exchange e_u = s_u (dense correlation). With it, s_u is replaced by
    what looks like it in the first image of the *next* pair of the batch, whose descriptors are a_w:
    e_u = sum_w softmax_w(s_u . a_w) a_w. Descriptors that differ from individual to individual do not survive this.

    Args:
        stride: Pixels per cell.
        normalise: Give s, t and a the length 20 first; e_u is not normalised again.

    Shapes:
        first, second: (B, C, h, w), descriptors of the more and of the less warped views.
        places: (B, h, w, 2), q: the place of each cell of ``first`` in the second view. No gradient; may lie outside.
        returns: ().

    Convention:
        Places are pixels of the second view, corner origin. As in the released code, cell (i, j) stands for pixel
        (i * stride, j * stride) and lies at that pixel's centre.

    Raises:
        BenchError: where the shapes do not fit together.

    The gradient is computed in the forward pass by blocks of rows, so that no (cells x cells) matrix is kept. Processes
    that train together share the pairs.
    """
    pairs, _, height, width = first.shape
    if second.shape != first.shape or places.shape != (pairs, height, width, 2):
        got = ", ".join(str(tuple(t.shape)) for t in (first, second, places))
        raise BenchError(f"expected descriptors (B, C, h, w) twice and places (B, h, w, 2), got {got}")
    (first, second), in_full = full_precision(first, second)
    with in_full:
        source, target = (maps.flatten(2).transpose(1, 2) for maps in (first, second))
        if normalise:
            source = DESCRIPTOR_LENGTH * F.normalize(source, dim=2)
            target = DESCRIPTOR_LENGTH * F.normalize(target, dim=2)
        auxiliary = source.roll(-1, dims=0) if exchange else None
        places = places.detach().to(source).flatten(1, 2)

        def expected(s: Tensor, t: Tensor, where: Tensor, a: Tensor | None = None) -> Tensor:
            distances = _Distances(where, height, width, stride, power)
            loss: Tensor = _ExpectedDistance.apply(s, t, a, distances)
            return loss

        return share_mean(expected, source, target, places, *(() if auxiliary is None else (auxiliary,)))


@dataclass(frozen=True, eq=False)
class _Distances:
    """|q_u - v|^power, made a block of rows at a time."""

    places: Tensor
    height: int
    width: int
    stride: int
    power: float

    def block(self, pairs: slice, rows: slice) -> Tensor:
        """(pairs, rows, cells)."""
        x, y = self.places[pairs, rows].unbind(-1)
        across = (x.unsqueeze(-1) - self._centres(self.width)).square()
        down = (y.unsqueeze(-1) - self._centres(self.height)).square()
        distance = (down.unsqueeze(-1) + across.unsqueeze(-2)).flatten(2).sqrt_()
        return (
            distance.sqrt_() if self.power == 0.5 else distance.pow_(self.power)
        )  # pow takes ten times longer

    def _centres(self, cells: int) -> Tensor:
        return torch.arange(cells, device=self.places.device, dtype=self.places.dtype) * self.stride + 0.5


class _ExpectedDistance(torch.autograd.Function):
    """source, target, auxiliary: (B, cells, C)."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, target: Tensor, auxiliary: Tensor | None, distances: _Distances
    ) -> Tensor:
        count, cells, _ = source.shape
        total = source.new_zeros((), dtype=torch.float64)
        to_source, to_target = torch.empty_like(source), torch.zeros_like(target)
        to_auxiliary = None if auxiliary is None else torch.zeros_like(auxiliary)
        for pairs, rows in _blocks(count, cells, source.device.type):
            s, t = source[pairs, rows], target[pairs]
            if auxiliary is None:
                exchanged = s
            else:
                a = auxiliary[pairs]
                chosen = torch.softmax(s @ a.mT, dim=2)
                exchanged = chosen @ a
            found = torch.softmax(exchanged @ t.mT, dim=2)
            apart = distances.block(pairs, rows)
            expected = torch.linalg.vecdot(found, apart).unsqueeze(2)
            total += expected.sum(dtype=torch.float64)
            to_scores = apart.sub_(expected).mul_(found).div_(count * cells)
            to_target[pairs] += to_scores.mT @ exchanged
            to_exchanged = to_scores @ t
            if auxiliary is None or to_auxiliary is None:
                to_source[pairs, rows] = to_exchanged
                continue
            to_chosen = to_exchanged @ a.mT
            # sum_w chosen_w (e' . a_w) = e' . e: the soft-max's inner product without a pass over all cells.
            mean = torch.linalg.vecdot(to_exchanged, exchanged).unsqueeze(2)
            to_first_scores = to_chosen.sub_(mean).mul_(chosen)
            to_source[pairs, rows] = to_first_scores @ a
            to_auxiliary[pairs] += chosen.mT @ to_exchanged + to_first_scores.mT @ s
        ctx.save_for_backward(to_source, to_target, to_auxiliary)
        return (total / (count * cells)).to(source.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        to_source, to_target, to_auxiliary = ctx.saved_tensors
        through = None if to_auxiliary is None else grad * to_auxiliary
        return grad * to_source, grad * to_target, through, None


def _blocks(pairs: int, cells: int, device: str) -> list[tuple[slice, slice]]:
    """Whole pairs where several fit, else rows of one pair."""
    budget = _ELEMENTS_AT_ONCE.get(device, _ELEMENTS_AT_ONCE["cpu"])
    step, rows = max(1, budget // cells**2), min(cells, max(1, budget // cells))
    return [
        (slice(b, b + step), slice(u, u + rows)) for b in range(0, pairs, step) for u in range(0, cells, rows)
    ]
