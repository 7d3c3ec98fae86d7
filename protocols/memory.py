"""How large a network is, and how much memory it needs: counted as the papers do, and measured."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from protocols.costs.activation_proxy import BYTES_PER_VALUE, activations
from protocols.costs.counted_pass import ImageSizes, blank_images, require_sizes
from protocols.costs.peak_memory import peak_on_gpu, peaks_in_fresh_process, resident_peak_is_known

MEBI = 2**20
_BYTES_PER_PARAMETER = 4


class MemoryOptions(ProtocolOptions):
    """For which images, and where the peak is measured."""

    image_sizes: ImageSizes = Field((96, 128), description="Sides of the square images, pixels.")
    peak_device: Literal["auto", "cpu", "cuda", "none"] = Field(
        "auto",
        description="Where the training step is measured: auto is the run's device where its peak can be told (NVIDIA "
        "GPUs, CPUs under Linux); none leaves it out.",
    )
    batch_size: int = Field(1, ge=1, description="Images of the measured training step.")


class Memory(Protocol):
    """Parameters, the activation count that ContrastLandmarks calls memory, and a measured peak beside it.

    The count is that of the network which the method names (``FeatureExtractor.counted_network``): for
    ContrastLandmarks the encoder with its embedding of the whole image, for DVE the backbone; else all between the
    image and its features. The measured peak is a training step's, forward and backward, of that network with single
    precision: the loss is the sum of its outputs.

    The two differ: the count has in-place outputs, composite modules on top of their parts, and every value twice for
    a gradient that is freed in turn; the peak has the weights' gradients and the workspaces.

    Reference:
        ContrastLandmarks, supplement, section 1.5 and Table 2.
    """

    name: ClassVar[str] = "memory"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "parameters, counted activations, measured peak of a training step"
    reference: ClassVar[str] = "Cheng et al., ICCV 2021, supplement, Table 2"
    Options: ClassVar[type[ProtocolOptions]] = MemoryOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "quick": {}}  # some ten seconds
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("params_m", "Learned values of the whole network.", "10^6", "lower", "one network"),
        MetricSpec(
            "network_size_mb", "Learned values, 4 bytes each.", "MB (2^20 bytes)", "lower", "one network"
        ),
        MetricSpec(
            "activation_proxy_mb",
            "8 bytes for every value that a module hands on, as the package torchsummary counts a forward and "
            "backward pass. Not measured memory.",
            "MB (2^20 bytes)",
            "lower",
            "one image; the same for every image of that size",
        ),
        MetricSpec(
            "peak_train_mb",
            "Growth of the memory in use at the peak of a forward and backward pass, measured: by torch's allocator "
            "on a GPU, as the resident memory of a fresh one-threaded process on a CPU.",
            "MB (2^20 bytes)",
            "lower",
            "one batch; the same for every batch of that size",
        ),
    )
    requires = frozenset({"dense"})
    uses_training_split: ClassVar[bool] = False
    uses_data: ClassVar[bool] = False
    baselines: ClassVar[tuple[str, ...]] = ()
    uses_weights: ClassVar[bool] = False

    def resolve(self, options: Any, device: torch.device) -> Any:
        if options.peak_device != "auto":
            return options
        on_cpu = "cpu" if resident_peak_is_known() else "none"
        return options.model_copy(update={"peak_device": "cuda" if device.type == "cuda" else on_cpu})

    def check(self, options: Any, data: EvaluationData) -> None:
        del data
        if options.peak_device == "cuda" and not torch.cuda.is_available():
            raise BenchError("peak_device=cuda: torch sees no NVIDIA GPU", hint="Give -P peak_device=cpu.")
        if options.peak_device == "cpu" and not resident_peak_is_known():
            raise BenchError(
                "peak_device=cpu: only Linux tells the peak of a process",
                hint="Leave it out: -P peak_device=none.",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        del data
        options = self.resolve(options, run.device)
        require_sizes(options.image_sizes, extractor)
        network = extractor.counted_network()
        parameters = sum(parameter.numel() for parameter in extractor.parameters())
        values = [
            MetricValue("params_m", parameters / 1e6),
            MetricValue("network_size_mb", parameters * _BYTES_PER_PARAMETER / MEBI),
        ]
        peaks = _peaks(network, options, run)
        arrays: Arrays = {}
        for size in options.image_sizes:
            condition = {"image_size": size}
            counted = activations(network, blank_images(size, run.device))
            total = sum(activation.values for activation in counted)
            values.append(MetricValue("activation_proxy_mb", total * BYTES_PER_VALUE / MEBI, dict(condition)))
            arrays[f"modules_{size}"] = np.array([activation.module for activation in counted], dtype=np.str_)
            arrays[f"values_{size}"] = np.array([activation.values for activation in counted], dtype=np.int64)
            if size in peaks:
                values.append(MetricValue("peak_train_mb", peaks[size] / MEBI, dict(condition)))
                arrays[f"peak_bytes_{size}"] = np.array(peaks[size], dtype=np.int64)
        return Measurement(tuple(values), arrays, _notes(network, options))


def _peaks(network: nn.Module, options: MemoryOptions, run: RunContext) -> dict[int, int]:
    """Size of the images -> bytes; empty where the peak is not asked for."""
    if options.peak_device == "none":
        return {}
    with run.phase("peak"):
        if options.peak_device == "cuda":
            gpu = run.device if run.device.type == "cuda" else torch.device("cuda")
            batches = (blank_images(size, gpu, options.batch_size) for size in options.image_sizes)
            found = [peak_on_gpu(network, images) for images in batches]
        else:
            found = peaks_in_fresh_process(network, options.image_sizes, options.batch_size)
    return dict(zip(options.image_sizes, found, strict=True))


def _notes(network: nn.Module, options: MemoryOptions) -> tuple[str, ...]:
    if options.peak_device == "none":
        measured = "peak_train_mb was not measured"
    else:
        where = "a GPU" if options.peak_device == "cuda" else "the CPU, one thread"
        measured = (
            f"peak_train_mb: {options.batch_size} image(s), on {where}; without weights and optimiser state"
        )
    return (f"activations counted and measured of {type(network).__name__}", measured)
