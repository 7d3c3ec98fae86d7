"""Which operators a forward pass runs, and the floating-point operations of those that are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry


@dataclass(frozen=True)
class OperatorCounts:
    """One forward pass.

    Attributes:
        flops: Operator -> floating-point operations, two for every multiply-accumulate.
        uncounted: Operator -> calls, of those that compute something and have no count.
    """

    flops: dict[str, int]
    uncounted: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.flops.values())


def count_operators(network: nn.Module, images: Tensor) -> OperatorCounts:
    """Run the network on images, in evaluation mode, and count.

    Convolutions, matrix products and attention are counted, by torch's own formulas; additions of biases are not.
    Views and the making of new tensors compute nothing and are left out.
    """
    # The recorder is the outer of the two: it sees what torch's counter, taking operators apart, really ran.
    with torch.no_grad(), _Recorder() as recorder, FlopCounterMode(display=False) as counter:
        network.eval()(images)
    # Absent where nothing was counted.
    counted = counter.get_flop_counts().get("Global", {})
    flops = {_name(operator): int(count) for operator, count in counted.items()}
    return OperatorCounts(flops, dict(sorted(recorder.uncounted.items())))


class _Recorder(TorchDispatchMode):
    """Counts the calls of operators that compute something and that torch's counter has no formula for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        operator = func.overloadpacket
        reads_tensors = any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, named)))
        is_view = func.is_view or operator is torch.ops.aten._unsafe_view
        if reads_tensors and not is_view and operator not in flop_registry:
            self.uncounted[_name(operator)] += 1
        return func(*args, **named)


def _name(operator: object) -> str:
    """``aten.convolution`` -> ``convolution``."""
    return str(operator).removeprefix("aten.")
