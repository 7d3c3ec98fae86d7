"""Batch norm over the parts of a batch that several processes hold: the numbers of the whole batch.

torch's own ``SyncBatchNorm`` runs on GPUs only, and replaces modules; here the call is caught instead, so that
networks stay as they are and what is not shared among processes is not synchronised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bench.distributed import connected, process_count


class SynchronisedBatchNorm(TorchFunctionMode):
    """While it is active, batch norm in training mode takes the statistics of all processes together.

    Every process must make the same calls in the same order.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **given)
        return _batch_norm(*args, **given)


def _batch_norm(
    input: Tensor,  # noqa: A002 - torch's names, by which it may be called
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    mean, variance, count = _statistics(input)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        unbiased = variance * (count / (count - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normalised: Tensor = _Normalise.apply(input, weight, bias, mean, variance, count, eps)
    return normalised


@torch.no_grad()
def _statistics(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and (biased) variance of every channel over the parts of all processes, and of how many values.

    Shapes:
        part: (B, C, ...).  returns: (C,), (C,), ().
    """
    # Batch norm's own kernel: three times as fast as torch.var_mean over these axes.
    mean, variance = torch.ops.aten.batch_norm_update_stats(_at_least_single(part), None, None, 0.0)
    mine = torch.cat([mean, variance, mean.new_tensor([part.numel() // part.shape[1]])])
    parts = mine.new_empty(process_count(), len(mine))
    with connected():
        dist.all_gather(list(parts.unbind()), mine)
    # Not by sums of squares, whose difference loses the digits that a variance needs (Chan et al., 1979).
    means, variances, counts = parts.double().split([len(mean), len(mean), 1], dim=1)
    count = counts.sum()
    share = counts / count
    total_mean = (share * means).sum(0)
    total_variance = (share * (variances + (means - total_mean).square())).sum(0)
    return total_mean.to(mean.dtype), total_variance.to(mean.dtype), count.to(mean.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance are those of all parts together."""

    @staticmethod
    def forward(
        ctx: Any,
        part: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(part, weight, mean, (variance + eps).rsqrt(), count)
        ctx.has_bias = bias is not None
        return F.batch_norm(part, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        part, weight, mean, scale, count = ctx.saved_tensors
        along = (1, -1, *[1] * (part.ndim - 2))
        # Sums of slopes, and of their products with normalised values: torch's kernel, in one pass over the maps.
        _, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            grad, part, weight, None, None, mean, scale, True, 0.0, [False, True, True]
        )
        # Every value moves the statistics by which all processes normalise.
        through = torch.cat([to_bias, to_weight])
        with connected():
            dist.all_reduce(through)
        mean_slope, mean_product = (through / count).chunk(2)
        gain = scale if weight is None else scale * weight
        # gain * (slope - mean slope - normalised value * mean product), in few passes.
        by_value = -gain * scale * mean_product
        to_part = _at_least_single(grad) * gain.view(along)
        to_part.addcmul_(_at_least_single(part), by_value.view(along))
        to_part.sub_((gain * mean_slope + by_value * mean).view(along))
        return (
            to_part.to(part.dtype),
            None if weight is None else to_weight.to(weight.dtype),
            to_bias.to(mean.dtype) if ctx.has_bias else None,
            None,
            None,
            None,
            None,
        )


def _at_least_single(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


@contextmanager
def chained_statistics(network: nn.Module) -> Iterator[None]:
    """Around the groups of a batch that are normalised apart, equally many in every process.

    Running statistics then move as if one process had seen the groups of process 0, then those of process 1, ...
    """
    norms = [_Running.of(m) for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    tracked = [norm for norm in norms if norm is not None]
    # From zero, what stands there in the end is what this process adds.
    before = [(norm.moments.clone(), norm.batches.clone()) for norm in tracked]
    for norm in tracked:
        norm.set(torch.zeros_like(norm.moments))
    yield
    if not tracked:
        return
    mine = torch.cat([norm.moments for norm in tracked])
    parts = mine.new_empty(process_count(), len(mine))
    with connected():
        dist.all_gather(list(parts.unbind()), mine)
    added = parts.split([len(moments) for moments, _ in before], dim=1)
    for norm, (moments, batches), additions in zip(tracked, before, added, strict=True):
        calls = norm.batches - batches
        kept = moments.new_tensor(1 - norm.momentum) ** calls  # momentum: the weight of what is new
        total = moments
        for addition in additions:
            total = kept * total + addition
        norm.set(total)
        norm.batches.add_((process_count() - 1) * calls)


@dataclass(frozen=True, eq=False)
class _Running:
    """What a batch norm remembers of the batches that it has seen."""

    mean: Tensor
    variance: Tensor
    batches: Tensor
    momentum: float

    @classmethod
    def of(cls, norm: _BatchNorm) -> _Running | None:
        mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
        if mean is None or variance is None or batches is None:
            return None
        if norm.momentum is None:
            raise ValueError("groups that are normalised apart need a batch norm with a momentum")
        return cls(mean, variance, batches, norm.momentum)

    @property
    def moments(self) -> Tensor:
        return torch.cat([self.mean, self.variance])

    def set(self, moments: Tensor) -> None:
        mean, variance = moments.chunk(2)
        # Past autograd, as torch's own kernel does: a backward pass in training mode does not read them.
        self.mean.data.copy_(mean)
        self.variance.data.copy_(variance)
