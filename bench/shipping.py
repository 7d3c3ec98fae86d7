"""From finished trainings to weights that are installed with their methods: half precision, and the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError, did_you_mean
from bench.features import FeatureExtractor
from bench.files import write_atomically
from bench.method import Method
from bench.opening import load_method
from bench.pretraining import PretrainRequest, resolve_job
from bench.seeds import torch_generator
from bench.shipped import MANIFEST, Manifest, ShippedWeights, read_manifest
from bench.training_cost import read_cost
from bench.weights import HALF, Weights, encode, load_into, read_weights

LARGEST_FILE = 12_000_000
LARGEST_FOLDER = 40_000_000
"""In bytes: what a package can hold that is installed by everybody, and whose history keeps every version."""

LARGEST_DIFFERENCE = 1e-2
"""Of features. Rounding one value to half precision changes it by 2^-11, 0.05 %, at most."""

_SIDE = 96


@dataclass(frozen=True, eq=False)
class Parcel:
    """One file that is ready to be written."""

    folder: Path
    entry: ShippedWeights
    content: bytes

    @property
    def path(self) -> Path:
        return self.folder / self.entry.file


def ship(outputs: Sequence[Path]) -> list[Parcel]:
    """Write the weights of finished trainings into their methods' packages, in place of those of the same presets.

    Nothing is written before everything is known to be fit for it; manifests are written last.

    Args:
        outputs: Folders of ``bench pretrain``.

    Raises:
        BenchError: for weights that their preset does not describe or no command repeats, that are too large, or that
            half precision would change.
    """
    parcels = [pack(output) for output in outputs]
    names = [parcel.path for parcel in parcels]
    twice = next((path for path in names if names.count(path) > 1), None)
    if twice is not None:
        raise BenchError(f"two of the folders give {twice.name}", hint="Name one folder a method and preset.")
    manifests = {folder: _manifest(folder, parcels) for folder in {parcel.folder for parcel in parcels}}
    for parcel in parcels:
        write_atomically(parcel.path, parcel.content)
    for folder, manifest in manifests.items():
        text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
        write_atomically(folder / MANIFEST, text + "\n")
    return parcels


def pack(output: Path) -> Parcel:
    """The file and the manifest's entry of one finished training.

    Raises:
        BenchError: as :func:`ship`.
    """
    weights = read_weights(output / "weights.safetensors")
    cost = read_cost(output)
    method = load_method(weights.method)
    _require_repeatable(weights, method)
    network = method.build(method.Options(**weights.options))
    load_into(network, weights)
    tensors = halved(network.state_dict(), weights.path)
    told = {**weights.provenance, "stored_as": HALF, "single_precision_sha256": weights.sha256}
    content = encode(tensors, method=method.name, options=weights.options, provenance=told)
    if len(content) > LARGEST_FILE:
        raise BenchError(
            f"{weights.path} takes {len(content) / 1e6:.1f} MB in half precision, and a shipped file at most "
            f"{LARGEST_FILE / 1e6:.0f} MB",
            hint=f"Make the network of preset {told['preset']!r} narrower.",
        )
    entry = ShippedWeights(
        method=method.name,
        preset=told["preset"],
        file=f"{method.name}-{told['preset']}.safetensors",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        command=cost.command,
        options=weights.options,
        git_commit=cost.commit,
        seconds=round(cost.seconds, 3),
        device=cost.device,
        date=cost.sittings[-1].started.date(),
        feature_difference=_difference(method, network, tensors, weights),
        **{key: told[key] for key in _COPIED},
    )
    return Parcel(method.weights_folder(), entry, content)


_COPIED = (
    "recipe", "dataset", "dataset_options", "fingerprints", "images", "seed", "precision", "bench",
)  # fmt: skip


def halved(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Matrices and kernels in half precision; vectors stay as they are.

    Vectors are the biases and the statistics of norms, some thousandths of the bytes, and the variance of a channel
    may be too large or too small for half precision.

    Raises:
        BenchError: for values that have no half-precision counterpart.
    """
    kept = {
        name: tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor
        for name, tensor in tensors.items()
    }
    broken = [name for name, tensor in kept.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise BenchError(
            f"{path}: {len(broken)} tensors are not finite in half precision, {broken[0]} among them",
            hint="The training has diverged: lower its learning rate.",
        )
    return kept


def feature_difference(network: FeatureExtractor, other: FeatureExtractor) -> float:
    """|other - network| / |network| of the features of smooth noise; the largest over the feature map's levels.

    Both networks are brought into evaluation mode.
    """
    side = -(-_SIDE // network.stride) * network.stride
    noise = torch.rand(8, 3, side // 8, side // 8, generator=torch_generator(0, "shipping", "noise"))
    images = F.interpolate(noise, (side, side), mode="bilinear", align_corners=False)
    pairs = zip(network.eval().extract(images).levels, other.eval().extract(images).levels, strict=True)
    return max(float((two - one).norm() / one.norm().clamp_min(1e-12)) for one, two in pairs)


def _difference(
    method: Method, network: FeatureExtractor, tensors: dict[str, Tensor], weights: Weights
) -> float:
    other = method.build(method.Options(**weights.options))
    other.load_state_dict(tensors)  # which copies halves into single precision
    found = feature_difference(network, other)
    if not found <= LARGEST_DIFFERENCE:
        raise BenchError(
            f"{weights.path}: half precision changes features by {found:.2g} of their size, expected at most "
            f"{LARGEST_DIFFERENCE:g}",
            hint="Something in the network lives on tiny differences of weights; look at its norms.",
        )
    return float(f"{found:.3g}")


def _require_repeatable(weights: Weights, method: Method) -> None:
    """Make sure that the preset as it is now, and one command, give these weights."""
    told = weights.provenance
    preset = told.get("preset")
    if preset not in method.shipped_presets or preset not in method.presets:
        raise BenchError(
            f"{weights.path} is of preset {preset!r}, which method {method.name!r} does not ship",
            hint=did_you_mean(str(preset), method.shipped_presets)
            + " A method names them in its attribute 'shipped_presets'.",
        )
    if told.get("stored_as") == HALF:
        raise BenchError(
            f"{weights.path} is shipped already", hint="Give the folder that bench pretrain wrote."
        )
    for what in ("variant", "initial", "share"):
        if told.get(what):
            raise BenchError(
                f"{weights.path} was trained with {what} {told[what]!r}, which is not in the preset",
                hint=f"Train it by: bench pretrain --method {method.name} --preset {preset}",
            )
    options, recipe = resolve_job(method, PretrainRequest(method.name, preset=str(preset)))
    pairs = {"options": (weights.options, options), "recipe": (told.get("recipe"), recipe)}
    for what, (found, wanted) in pairs.items():
        expected: dict[str, Any] = wanted.model_dump(mode="json")
        if found != expected:
            differing = [key for key in expected if not found or found.get(key) != expected[key]]
            raise BenchError(
                f"{weights.path} was trained with other {what} than preset {preset!r} has now: they differ in "
                f"{', '.join(differing) or 'what is left out'}",
                hint=f"Train it again: bench pretrain --method {method.name} --preset {preset}",
            )


def _manifest(folder: Path, parcels: Sequence[Parcel]) -> Manifest:
    """The folder's manifest with the new entries in it."""
    new = [parcel.entry for parcel in parcels if parcel.folder == folder]
    replaced = {(entry.method, entry.preset) for entry in new}
    kept = [entry for entry in _present(folder) if (entry.method, entry.preset) not in replaced]
    entries = sorted([*kept, *new], key=lambda entry: (entry.method, entry.preset))
    total = sum(entry.bytes for entry in entries)
    if total > LARGEST_FOLDER:
        raise BenchError(
            f"the weights in {folder} would take {total / 1e6:.1f} MB, and may take {LARGEST_FOLDER / 1e6:.0f} MB",
            hint="Make networks narrower, or ship fewer presets.",
        )
    return Manifest(weights=tuple(entries))


def _present(folder: Path) -> tuple[ShippedWeights, ...]:
    return read_manifest(folder).weights if (folder / MANIFEST).exists() else ()
