"""Checks that a network is its weights: stored, loaded and moved to another device it gives the same features."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import SkipTest

import torch
from torch import Tensor

from bench.seeds import torch_generator
from bench.testing.subject import ConformanceError, Subject, feature_difference, require
from bench.weights import load_into, read_weights, save_weights

GPU_TOLERANCE = 1e-3
"""Of the largest value, in float32 without TF32. Sums in another order, through fifty layers."""


def weights_are_tensors(subject: Subject) -> None:
    """The state dict holds tensors only, which share no memory, so that safetensors can store it."""
    network = subject.build()
    state = network.state_dict()
    foreign = [
        f"{name} ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)
    ]
    require(
        not foreign,
        got=f"in the state dict: {', '.join(foreign)}",
        expected="tensors",
        remedy="keep numbers and names in the options, which are stored beside the weights",
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_weights(Path(folder) / "weights", network, method=subject.name, options={}, provenance={})
        except (RuntimeError, ValueError) as error:
            raise ConformanceError(
                f"the state dict cannot be stored: {error}",
                "a state dict that safetensors accepts",
                "store a tensor that two modules share under one name only (persistent=False for a buffer)",
            ) from error


def weights_round_trip(subject: Subject) -> None:
    """A fresh network, built with the stored options and loaded with the stored weights, gives the same features."""
    network = subject.build(seed=1)
    generator = torch_generator(0, "conformance weights")
    with torch.no_grad():
        # Other than any initial weights, so that nothing can survive the trip by being built alike.
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator).to(tensor.dtype)
                tensor.add_(0.1 * noise * (tensor.abs() + 0.1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        options = subject.options.model_dump(mode="json")
        save_weights(path, network, method=subject.name, options=options, provenance={})
        weights = read_weights(path, method=subject.name)
    fresh = subject.build(seed=2, options=subject.method.Options(**weights.options))
    load_into(fresh, weights)
    images = subject.images()
    gap = feature_difference(network.extract(images), fresh.extract(images))
    require(
        gap == 0,
        got=f"features differ by {gap:.2g} of the largest value after saving and loading",
        expected="the same numbers",
        remedy="register every tensor that features depend on as a parameter or persistent buffer, and compute "
        "what derives from weights in forward, not when the network is built",
    )


def gpu_agreement(subject: Subject) -> None:
    """The features on a GPU are those on the CPU."""
    if not torch.cuda.is_available():
        raise SkipTest("this machine has no GPU")
    network = subject.build()
    images = subject.images()
    on_cpu = network.extract(images)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        on_gpu = network.to("cuda").extract(images.to("cuda")).to("cpu")
    gap = feature_difference(on_cpu, on_gpu)
    require(
        gap <= GPU_TOLERANCE,
        got=f"features differ by {gap:.2g} of the largest value between CPU and GPU",
        expected=f"at most {GPU_TOLERANCE:g}",
        remedy="create tensors on the device of the images, and avoid operations that are ill-conditioned",
    )


CHECKS = (weights_are_tensors, weights_round_trip, gpu_agreement)
