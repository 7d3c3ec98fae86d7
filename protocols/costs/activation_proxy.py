"""The activation count that ContrastLandmarks prints as "Memory (MB)".

It is the "Forward/backward pass size" of the package torchsummary (sksq96/pytorch-summary): the values that the
modules of a network hand on, four bytes each, doubled for their gradients. It is not measured memory: what a function
computes outside a module is not seen, and in-place modules, whose output needs no memory of its own, are.

Reference:
    Cheng et al., ICCV 2021, supplement, section 1.5 and Table 2; all its numbers follow from these rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from protocols.costs.counted_pass import output_tensors

BYTES_PER_VALUE = 2 * 4
"""A single-precision value and its gradient."""


@dataclass(frozen=True)
class Activation:
    """What one call of a module handed on: the module's dotted name, and the number of values."""

    module: str
    values: int


def activations(network: nn.Module, images: Tensor) -> list[Activation]:
    """Every counted output of one forward pass, in the order of the calls.

    1. Every module counts, composite ones (a residual block) on top of their parts; but ``nn.Sequential``,
       ``nn.ModuleList`` and the network itself do not.
    2. Every call counts: a ReLU that is called three times counts three times.
    3. A module object that has two parents counts twice at each call, since ``Module.apply`` visits it twice.
    4. Functions count nothing, and neither does the input: a module without weights that gives the images back in
       their shape, their colours normalised, prepares the input.
    5. A module that hands several tensors on (a backbone its stages) counts nothing: torchsummary would multiply
       their shapes, which means nothing, and the modules that made them have counted.

    Args:
        network: Called on the images, in evaluation mode.
        images: (1, 3, H, W); the published numbers are those of one image.
    """
    names = {module: name for name, module in network.named_modules()}
    found: list[Activation] = []

    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        tensors = output_tensors(output)
        if len(tensors) != 1:
            return
        (tensor,) = tensors
        on_images = bool(inputs) and inputs[0] is images and tensor.shape == images.shape
        prepares_input = on_images and not any(True for _ in module.parameters())
        if not prepares_input:
            found.append(Activation(names[module], tensor.numel()))

    handles = []

    def register(module: nn.Module) -> None:
        if not isinstance(module, nn.Sequential | nn.ModuleList) and module is not network:
            handles.append(module.register_forward_hook(record))

    network.apply(register)
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return found
