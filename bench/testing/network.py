"""Checks of the network as a feature extractor: shapes, types, mistakes, determinism, batches."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.features import Capability, FeatureMap, Normalisation
from bench.testing.subject import Subject, feature_difference, require
from bench.weights import state_sha256

BATCH_TOLERANCE = 1e-4
"""Of the largest value, in float32. Other batch sizes take other matrix kernels, whose roundings add up to some 2e-6
in a ResNet-50; batch norm in training mode, or any other leak between images, differs by percents."""


def feature_maps(subject: Subject) -> None:
    """Levels are float32 (B, C, h, w) at every image size, C is always the same, and the map knows its image's size."""
    network = subject.build()
    require(
        bool(network.capabilities) and network.capabilities <= set(get_args(Capability)),
        got=f"capabilities {set(network.capabilities)}",
        expected=f"some of {', '.join(get_args(Capability))}",
        remedy="set the class attribute 'capabilities'",
    )
    channels: list[int] | None = None
    for size in subject.image_sizes:
        images = subject.images(2, size)
        features = network.extract(images)
        _require_map(features, size, count=2)
        found = [level.shape[1] for level in features.levels]
        require(
            channels is None or found == channels,
            got=f"{found} channels for images of {size[0]}x{size[1]}, {channels} for others",
            expected="channels that do not depend on the image's size",
            remedy="let only h and w follow the image",
        )
        channels = found


def _require_map(features: FeatureMap, size: tuple[int, int], count: int) -> None:
    given = f"for {count} images of {size[0]}x{size[1]}"
    require(
        isinstance(features, FeatureMap),
        got=f"a {type(features).__name__}",
        expected="a bench.FeatureMap",
        remedy="wrap the levels: FeatureMap((level,), size, image_size)",
    )
    require(
        features.image_size == size,
        got=f"image_size {features.image_size} {given}",
        expected=f"(height, width) = {size}",
        remedy="pass tuple(images.shape[-2:])",
    )
    dense_height, dense_width = features.size
    require(
        dense_height > 0 and dense_width > 0 and not _transposed(features.size, size),
        got=f"size {features.size} {given}",
        expected="(H, W) of the dense map, rows before columns",
        remedy="derive it from (height, width), in this order",
    )
    require(
        features.normalisation in get_args(Normalisation),
        got=f"normalisation {features.normalisation!r}",
        expected=f"one of {', '.join(get_args(Normalisation))}",
        remedy="say how descriptors are scaled before a dot product",
    )
    for number, level in enumerate(features.levels):
        require(
            len(level) == count and min(level.shape) > 0 and not _transposed(tuple(level.shape[-2:]), size),
            got=f"level {number} of shape {tuple(level.shape)} {given}",
            expected="(B, C, h, w), rows before columns",
            remedy="keep the order of the image's axes",
        )
        require(
            level.dtype == torch.float32,
            got=f"level {number} of type {level.dtype} {given}",
            expected="torch.float32",
            remedy="convert it: the dense map is computed in single precision",
        )


def _transposed(cells: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether cells have the image's aspect ratio only when rows and columns are exchanged.

    A network may also have a fixed grid, whose cells are stretched with the image.
    """
    rows, columns = cells
    return _same_aspect(columns, rows, size) and not _same_aspect(rows, columns, size)


def _same_aspect(rows: int, columns: int, size: tuple[int, int]) -> bool:
    """Up to one cell, which strides round away."""
    height, width = size
    return min(abs(rows - columns * height / width), abs(columns - rows * width / height)) <= 1


def finite_features(subject: Subject) -> None:
    """Features of black, white and noisy images are finite."""
    network = subject.build()
    images = subject.images(3)
    images[0], images[1] = 0, 255
    for number, level in enumerate(network.extract(images).levels):
        broken = [
            kind
            for kind, part in zip(("black", "white", "noisy"), level, strict=True)
            if not part.isfinite().all()
        ]
        require(
            not broken,
            got=f"level {number} is not finite for {' and '.join(broken)} images",
            expected="finite values for every image",
            remedy="guard divisions and logarithms, e.g. with an epsilon in a normalisation",
        )


def image_types(subject: Subject) -> None:
    """uint8 images, the same as floats in [0, 1], and ``forward`` on these give the same features."""
    network = subject.build()
    images = subject.images()
    scaled = images.float() / 255
    with torch.no_grad():
        direct = network.eval()(scaled)
    for what, features in (
        ("uint8 images", network.extract(images)),
        ("float images", network.extract(scaled)),
    ):
        gap = feature_difference(features, direct)
        require(
            gap == 0,
            got=f"extract on {what} differs from forward on floats by {gap:.2g} of the largest value",
            expected="the same numbers",
            remedy="let forward take RGB in [0, 1] and normalise colours itself; leave extract as it is",
        )


def mistakes_are_told(subject: Subject) -> None:
    """Images of a wrong shape, size, type or range are answered with a BenchError."""
    network = subject.build()
    good = subject.images(2)
    scaled = good.float() / 255
    mistakes: dict[str, Tensor] = {
        "an image without the batch axis": good[0],
        "images with one channel": good[:, :1],
        "int64 images": good.long(),
        "float images from 0 to 255": good.float(),
        "float images from -1 to 1": 2 * scaled - 1,
        "images that hold NaN": scaled.index_fill(0, torch.tensor([1]), float("nan")),
    }
    if network.stride > 1:
        height, width = good.shape[-2:]
        mistakes[f"images whose height is no multiple of the stride {network.stride}"] = subject.images(
            2, (height + 1, width)
        )
    for what, images in mistakes.items():
        answer = _answer(network, images)
        require(
            answer == "BenchError",
            got=f"{answer} for {what}",
            expected="a BenchError that says what was got and what is expected",
            remedy="do not override FeatureExtractor.extract, or begin with its checks; declare the true stride",
        )


def _answer(network: nn.Module, images: Tensor) -> str:
    try:
        network.extract(images)  # type: ignore[operator]
    except BenchError:
        return "BenchError"
    except Exception as error:  # the check is about which one it is
        return type(error).__name__
    return "no error"


def determinism(subject: Subject) -> None:
    """Two calls, and two networks built with the same seed, give the same features to the bit."""
    images = subject.images()
    network = subject.build(seed=1)
    first = network.extract(images)
    network.extract(subject.images(seed=1))
    gap = feature_difference(first, network.extract(images))
    require(
        gap == 0,
        got=f"a second call on the same images differs by {gap:.2g} of the largest value",
        expected="the same numbers, whatever was asked in between",
        remedy="keep no state between calls and draw nothing at random in evaluation mode",
    )
    other = subject.build(seed=1)
    require(
        state_sha256(network) == state_sha256(other),
        got="two builds under the same torch seed have different weights",
        expected="initial weights that torch.manual_seed decides",
        remedy="draw initial weights from torch's generator, or from bench.seeds, and from nothing else",
    )
    gap = feature_difference(first, other.extract(images))
    require(
        gap == 0,
        got=f"two networks of equal weights differ by {gap:.2g} of the largest value",
        expected="the same numbers",
        remedy="register every tensor that features depend on as a parameter or buffer",
    )


def no_side_effects(subject: Subject) -> None:
    """``extract`` works in evaluation mode, without gradients, neither reads nor moves torch's global generator, and
    leaves the network as it was."""
    network = subject.build()
    images = subject.images()
    before = state_sha256(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator = torch.get_rng_state()
        first = network.train().extract(images)
        moved = not torch.equal(generator, torch.get_rng_state())
        torch.manual_seed(2)
        gap = feature_difference(first, network.train().extract(images))
    require(
        not moved and gap == 0,
        got="features draw from torch's global generator"
        + (f" and differ by {gap:.2g} between seeds" if gap else ""),
        expected="features that do not depend on it",
        remedy="switch dropout and the like off in evaluation mode; seed what is drawn by bench.seeds",
    )
    training = [name or "the network" for name, module in network.named_modules() if module.training]
    require(
        not training,
        got=f"in training mode after extract: {', '.join(training[:3])}",
        expected="every module in evaluation mode",
        remedy="call self.eval() as FeatureExtractor.extract does, and do not override train()",
    )
    with_gradient = [i for i, level in enumerate(first.levels) if level.requires_grad]
    require(
        not with_gradient,
        got=f"levels {with_gradient} carry gradients",
        expected="features without a graph: whole data sets are extracted",
        remedy="compute them under torch.no_grad(), as FeatureExtractor.extract does",
    )
    require(
        state_sha256(network) == before,
        got="extract changed the network's state",
        expected="weights and buffers as they were",
        remedy="update running statistics in training mode only",
    )


def batch_invariance(subject: Subject) -> None:
    """The features of an image do not depend on the other images of its batch, nor on its place among them."""
    network = subject.build()
    images = subject.images(4)
    together = network.extract(images)
    order = torch.tensor([2, 0, 3, 1])
    cases = {"alone": [(network.extract(images[i : i + 1]), together[[i]]) for i in range(len(images))]}
    cases["in another order"] = [(network.extract(images[order]), together[order])]
    for what, pairs in cases.items():
        gap = max(feature_difference(one, other) for one, other in pairs)
        require(
            gap <= BATCH_TOLERANCE,
            got=f"images {what} differ from the batch by {gap:.2g} of the largest value",
            expected=f"at most {BATCH_TOLERANCE:g}: the rounding of other matrix kernels",
            remedy="use running statistics in evaluation mode; normalise within an image, not over the batch",
        )


CHECKS = (
    feature_maps,
    finite_features,
    image_types,
    mistakes_are_told,
    determinism,
    no_side_effects,
    batch_invariance,
)
