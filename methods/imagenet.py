"""Supervised ImageNet features: torchvision's residual networks, read as hypercolumns.

The baseline that ContrastLandmarks and LEAD compare with. Its weights are torchvision's ``IMAGENET1K_V1``, the ones
that the papers of 2021 and 2022 could have used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.error import URLError

from filelock import FileLock
from pydantic import Field
from torch import Tensor
from torch.hub import download_url_to_file
from torchvision.models import ResNet18_Weights, ResNet50_Weights

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.files import cache_folder, require_writable
from bench.method import CheckpointFormat, Method, MethodOptions, Preset, Translation
from bench.progress import Progress
from methods.colour import IMAGENET_MEAN, IMAGENET_STD, NormaliseColours
from methods.networks.resnet import ResNet, hypercolumn_levels, match_memory_format

ImageNetBackbone = Literal["resnet18", "resnet50"]

_URLS: dict[ImageNetBackbone, str] = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1.url,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1.url,
}


class ImageNetOptions(MethodOptions):
    """Which network, and which of its features are read."""

    backbone: ImageNetBackbone = "resnet50"
    features: Literal["hypercolumn", "conv4"] = Field(
        default="hypercolumn",
        description="All four stages (3840-d for resnet50, 960-d for resnet18), or the third alone.",
    )


class ImageNetNetwork(FeatureExtractor):
    """The encoder without its classifier; features are defined at half the image's resolution, ``conv4`` at its own.

    Reference: ContrastLandmarks, supplement section 3: conv4 is the output of ``layer3``, 6x6 for 96-pixel images.
    """

    stride = 4

    def __init__(self, options: ImageNetOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder = ResNet(options.backbone)
        self.normalise = NormaliseColours(IMAGENET_MEAN, IMAGENET_STD)
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        stages = self.encoder(self.normalise(images))
        if self.options.features == "conv4":
            third = stages[2]
            return FeatureMap((third,), (third.shape[2], third.shape[3]), (height, width))
        levels = hypercolumn_levels(stages)
        # ContrastLandmarks matches hypercolumns by the sum of the levels' cosines.
        return FeatureMap(levels, (height // 2, width // 2), (height, width), "per_level")


def _recognise(content: Mapping[str, Any]) -> bool:
    classifier = content.get("fc.weight")
    return "layer4.1.conv2.weight" in content and isinstance(classifier, Tensor) and len(classifier) == 1000


def _translate(content: Mapping[str, Any]) -> Translation:
    backbone: ImageNetBackbone = "resnet50" if "layer1.0.conv3.weight" in content else "resnet18"
    classifier = ("fc.weight", "fc.bias")
    tensors = {f"encoder.{name}": value for name, value in content.items() if name not in classifier}
    return Translation(
        tensors, {"backbone": backbone}, dict.fromkeys(classifier, "classifies into 1000 kinds")
    )


class ImageNet(Method):
    """Features learned from ImageNet's labels, not trained here."""

    name = "imagenet"
    summary = "Supervised ImageNet features of torchvision's ResNet-18 and 50, as hypercolumns."
    reference = "Rows 'ImageNet' of Cheng et al. 2021, supplement, tables 4 and 5; He et al., CVPR 2016"
    Options = ImageNetOptions
    fetches_weights = True
    rehearsal = Preset("For the conformance suite.", options={"backbone": "resnet18"})
    checkpoint_formats = (
        CheckpointFormat(
            name="torchvision",
            summary="torchvision's classifiers, e.g. resnet50-0676ba61.pth",
            recognise=_recognise,
            translate=_translate,
        ),
    )

    def build(self, options: ImageNetOptions) -> ImageNetNetwork:
        return ImageNetNetwork(options)

    def default_checkpoint(self, options: ImageNetOptions, progress: Progress) -> Path:
        return fetch(_URLS[options.backbone], cache_folder("released"), progress)


def fetch(url: str, folder: Path, progress: Progress) -> Path:
    """A file of torchvision's, downloaded once. Its name ends with the start of its hash, which is checked.

    Raises:
        BenchError: where there is no network, or another file came; says how to get it by hand.
    """
    name = PurePosixPath(url).name
    path = folder / name
    prefix = name.removesuffix(".pth").rpartition("-")[2]
    require_writable(folder)
    with FileLock(folder / f".{name}.lock"):
        if path.is_file():
            return path
        progress.say(f"fetching {url} into {folder}")
        try:
            download_url_to_file(url, str(path), hash_prefix=prefix, progress=not progress.quiet)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise _by_hand(f"{url} cannot be had: {getattr(error, 'reason', error)}", name) from error
        except RuntimeError as error:
            raise _by_hand(f"{url} gave another file than torchvision published: {error}", name) from error
        except OSError as error:
            raise BenchError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _by_hand(message: str, name: str) -> BenchError:
    return BenchError(
        message,
        hint=f"On a machine with a network, download that address; then give the file with --checkpoint {name}.",
    )
