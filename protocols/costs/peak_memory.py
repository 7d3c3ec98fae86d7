"""The memory that one training step of a network needs, measured: a forward and a backward pass.

Counted is what the step adds to the memory in use: activations, gradients of activations and weights, and workspaces.
The weights and the images, there before, are not counted, nor is an optimiser's state. A first step, in which the
libraries load and compile their kernels, is not measured.

On a GPU torch's allocator knows the peak. On a CPU nothing does but the kernel, which reports the resident memory of a
whole process: the step runs in a fresh one, on one thread (each would have its own workspaces), where freed memory goes
back to the kernel at once.
"""

from __future__ import annotations

import copy
import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PicklingError

import torch
from torch import Tensor, nn

from bench.allocator import return_heap
from bench.errors import BenchError
from protocols.costs.counted_pass import blank_images, output_tensors

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs"), "5"
_WITHOUT = "Leave it out: -P peak_device=none."


def resident_peak_is_known() -> bool:
    """Whether the kernel tells a process's peak, and lets it be reset: Linux does."""
    return sys.platform.startswith("linux") and _RESET_PEAK[0].exists() and "VmHWM:" in _STATUS.read_text()


def peak_on_gpu(network: nn.Module, images: Tensor) -> int:
    """Bytes that a step on ``images`` adds to what torch's allocator has handed out on their device."""
    device = images.device
    network = copy.deepcopy(network).to(device).train().requires_grad_()
    _step(network, images)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    _step(network, images)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peaks_in_fresh_process(network: nn.Module, image_sizes: Sequence[int], images: int) -> list[int]:
    """Bytes that steps on the CPU add to the resident memory of a process that does nothing else.

    Args:
        image_sizes: Sides of the images, one step each.
        images: In every step.

    Raises:
        BenchError: where the network cannot be handed to another process, or the step fails there.
    """
    # The structure alone is handed over; the process makes its own values.
    shell = copy.deepcopy(network).to("meta")
    context = multiprocessing.get_context("spawn")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, shell, image_sizes, images), daemon=True)
    try:
        process.start()
    except (PicklingError, AttributeError, TypeError) as error:
        raise BenchError(
            f"{type(network).__name__} cannot be handed to a fresh process, where its memory is measured: {error}",
            hint=f"Define its classes and functions at the top of a module. {_WITHOUT}",
        ) from error
    sender.close()
    try:
        found: list[int] | str = answer.recv()
    except EOFError:
        process.join()
        found = f"its process ended with status {process.exitcode}, perhaps for want of memory"
    process.join()
    if isinstance(found, str):
        raise BenchError(
            f"a training step of {type(network).__name__} on {images} images failed: {found}",
            hint=f"Try other -P image_sizes or -P batch_size. {_WITHOUT}",
        )
    return found


def _measure(sender: Connection, shell: nn.Module, image_sizes: Sequence[int], images: int) -> None:
    """What the fresh process does: send the peaks in bytes, or a sentence."""
    torch.set_num_threads(1)
    return_heap()
    try:
        network = _with_values(shell.to_empty(device="cpu")).train().requires_grad_()
        sender.send([_resident_peak(network, blank_images(size, "cpu", images)) for size in image_sizes])
    except Exception as error:  # whatever it is, the process that asked has to tell the user
        sender.send(f"{type(error).__name__}: {error}")


def _resident_peak(network: nn.Module, images: Tensor) -> int:
    _step(network, images)
    before = _status("VmRSS")
    # Not getrusage's ru_maxrss: it cannot be reset, and starts with the memory of the process that forked this one.
    path, peak = _RESET_PEAK
    path.write_text(peak)
    _step(network, images)
    return _status("VmHWM") - before


def _step(network: nn.Module, images: Tensor) -> None:
    outputs = output_tensors(network(images))
    torch.stack([output.float().sum() for output in outputs]).sum().backward()
    network.zero_grad(set_to_none=True)


def _with_values(network: nn.Module) -> nn.Module:
    """Values that make no operation slow or undefined; memory does not depend on them."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.01)
        for buffer in network.buffers():
            buffer.fill_(1 if buffer.is_floating_point() else 0)
    return network


def _status(name: str) -> int:
    """A size of this process, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
