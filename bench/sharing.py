"""One batch, several processes: each runs the networks on its part, and all see the result for the whole batch.

Every process is given the same batch and the same random numbers. What is costly is run through :func:`share` or
:func:`share_mean`; everything else, such as a contrast between all images of the batch, is computed alike by all.
So the loss is that of the whole batch, whatever it compares with what, and not a mean of losses of parts.

Gradients are exact by construction: each process differentiates its share of the loss, loss / processes; the
collectives inside are differentiated too (what was gathered is summed); and the gradients of the processes are added.

In a process that is alone all of this is a plain call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bench.distributed import connected, process_count, process_rank
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.synchronised_norm import SynchronisedBatchNorm, chained_statistics


class Rows(Protocol):
    """A batch: tensors, feature maps, warps and whatever else has a length and gives slices of itself."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Any: ...


Output = TypeVar("Output")

_IN_A_PART: ContextVar[bool] = ContextVar("in_a_part", default=False)
_SHARED: ContextVar[bool] = ContextVar("shared", default=True)


def share(network: Callable[..., Output], *batch: Rows) -> Output:
    """``network(*batch)``, of which every process computes a part of the rows.

    Batch norm inside takes the statistics of the whole batch.

    Args:
        network: Gives a row for every row of its arguments; beside batch norm, rows do not see each other. Tensors,
            feature maps and tuples of them are gathered, with gradients where they have any.
        batch: Arguments of equal length, which are cut alike.

    Raises:
        BenchError: where there are fewer rows than processes.
    """
    if _alone():
        return network(*batch)
    sizes = _part_sizes(len(batch[0]))
    with _in_a_part(), SynchronisedBatchNorm():
        mine = network(*_my_part(batch, sizes))
    return _gathered(mine, sizes)


def share_mean(loss: Callable[..., Output], *batch: Rows) -> Output:
    """``loss(*batch)`` for a loss that is a mean over the rows: every process computes that of a part.

    Args:
        loss: Gives a scalar or a tuple of scalars; a row counts the same in all of them.
        batch: As in :func:`share`.
    """
    if _alone():
        return loss(*batch)
    sizes = _part_sizes(len(batch[0]))
    with _in_a_part(), SynchronisedBatchNorm():
        mine = loss(*_my_part(batch, sizes))
    weight = sizes[process_rank()] / sum(sizes)
    result: Output = _mapped(mine, lambda scalar: _Sum.apply(scalar * weight))
    return result


def share_groups(
    embed: Callable[[Tensor], Tensor], groups: Sequence[Tensor], network: nn.Module
) -> list[Tensor]:
    """``[embed(group) for group in groups]``, where batch norm takes the statistics of each group alone.

    Every process computes equally many whole groups; a single group is shared like a batch.

    Args:
        network: The module whose batch norms ``embed`` uses; their running statistics see all groups in order.

    Raises:
        BenchError: where the groups cannot be dealt out evenly.
    """
    if _alone():
        return [embed(group) for group in groups]
    if len(groups) == 1:
        return [share(embed, groups[0])]
    each, rest = divmod(len(groups), process_count())
    if rest:
        raise BenchError(
            f"{len(groups)} groups of a batch, each with batch statistics of its own, cannot be dealt out evenly to "
            f"{process_count()} processes",
            hint="Start as many processes as divide the groups, or choose one group, whose statistics are those of "
            "all processes (for contrast: -R groups=1).",
        )
    first = process_rank() * each
    with _in_a_part(), chained_statistics(network):
        mine = torch.cat([embed(group) for group in groups[first : first + each]])
    counts = [len(group) for group in groups]
    sizes = [sum(counts[i : i + each]) for i in range(0, len(groups), each)]
    return list(_gathered(mine, sizes).split(counts))


def add_gradients(parameters: Iterable[nn.Parameter], flag: bool = False) -> bool:
    """Add up the gradients of all processes, in place and in one message; whether any process raised the flag."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    raised = gradients[0].new_tensor([float(flag)])
    together = torch.cat([raised, *(gradient.flatten() for gradient in gradients)])
    with connected():
        dist.all_reduce(together)
    any_raised, *sums = together.split([1, *(gradient.numel() for gradient in gradients)])
    for gradient, total in zip(gradients, sums, strict=True):
        gradient.copy_(total.view_as(gradient))
    return bool(any_raised)


def copy_from_main(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers of process 0, which initialisers of other hosts may differ from."""
    with connected(), torch.no_grad():
        for module in modules:
            for tensor in module.state_dict().values():
                whole = tensor.contiguous()
                dist.broadcast(whole, src=0)
                tensor.copy_(whole)


@contextmanager
def noticed_sharing(what: str) -> Iterator[None]:
    """Around a loss.

    Raises:
        BenchError: where there are several processes, and nothing of it was shared.
    """
    token = _SHARED.set(False)
    try:
        yield
        if process_count() > 1 and not _SHARED.get():
            raise BenchError(
                f"{what} shares nothing: each of {process_count()} processes would do all of the work",
                hint="Train in one process; or see docs/distributed.md for how its losses call bench.share.",
            )
    finally:
        _SHARED.reset(token)


def gathered_numbers(number: int, device: torch.device) -> list[int]:
    """One integer of every process, in their order."""
    if process_count() == 1:
        return [number]
    mine = torch.tensor([number], device=device)
    parts = [torch.empty_like(mine) for _ in range(process_count())]
    with connected():
        dist.all_gather(parts, mine)
    return [int(part) for part in parts]


def _alone() -> bool:
    """Whether there is nobody to share with: a part of a batch is not divided further."""
    return process_count() == 1 or _IN_A_PART.get()


@contextmanager
def _in_a_part() -> Iterator[None]:
    _SHARED.set(True)
    token = _IN_A_PART.set(True)
    try:
        yield
    finally:
        _IN_A_PART.reset(token)


def _part_sizes(rows: int) -> list[int]:
    each, rest = divmod(rows, process_count())
    if each == 0:
        raise BenchError(
            f"a batch of {rows} cannot be shared by {process_count()} processes",
            hint="Start fewer processes, or choose a larger batch_size or fewer parts (--accumulate).",
        )
    return [each + (rank < rest) for rank in range(process_count())]


def _my_part(batch: Sequence[Rows], sizes: list[int]) -> list[Any]:
    if any(len(rows) != sum(sizes) for rows in batch):
        raise ValueError(f"arguments of unequal length: {', '.join(str(len(rows)) for rows in batch)}")
    start = sum(sizes[: process_rank()])
    return [rows[start : start + sizes[process_rank()]] for rows in batch]


def _gathered(mine: Output, sizes: list[int]) -> Output:
    whole: Output = _mapped(mine, lambda part: _Gather.apply(part, sizes))
    return whole


def _mapped(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with other tensors."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, FeatureMap):
        return replace(output, levels=tuple(change(level) for level in output.levels))
    if isinstance(output, tuple):
        changed = [_mapped(part, change) for part in output]
        return type(output)(*changed) if hasattr(output, "_fields") else tuple(changed)
    raise TypeError(
        f"what processes share is tensors, feature maps and tuples of them, not {type(output).__name__}"
    )


class _Gather(torch.autograd.Function):
    """My rows -> the rows of all processes."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, sizes: list[int]) -> Tensor:
        mine = sizes[process_rank()]
        if len(part) != mine:
            raise ValueError(
                f"{len(part)} rows for a part of {mine}: what is shared gives a row for every row"
            )
        ctx.sizes = sizes
        # As bytes, which every backend sends, and padded to one size, which all need.
        padded = part.new_zeros(max(sizes), *part.shape[1:])
        padded[:mine] = part
        message = padded.flatten().view(torch.uint8)
        received = message.new_empty(process_count(), len(message))
        with connected():
            dist.all_gather(list(received.unbind()), message)
        whole = received.view(part.dtype).view(len(sizes), *padded.shape)
        return torch.cat([rows[:size] for rows, size in zip(whole, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        widest = torch.promote_types(grad.dtype, torch.float32)
        total = grad.to(widest, copy=True, memory_format=torch.contiguous_format)
        with connected():
            dist.all_reduce(total)
        start = sum(ctx.sizes[: process_rank()])
        return total[start : start + ctx.sizes[process_rank()]].to(grad.dtype), None


class _Sum(torch.autograd.Function):
    """Sum over the processes, each of which then has it."""

    @staticmethod
    def forward(ctx: Any, summand: Tensor) -> Tensor:
        del ctx
        total = summand.clone()
        with connected():
            dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        del ctx
        total = grad.clone()
        with connected():
            dist.all_reduce(total)
        return total
