"""DVE's two networks behind the one interface, and how released checkpoints fill them.

Reference: Thewlis et al., Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019, released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from bench.features import FeatureExtractor, FeatureMap
from bench.method import CheckpointFormat, MethodOptions, Translation
from methods.colour import FACE_MEAN, FACE_STD, IMAGENET_MEAN, IMAGENET_STD, NormaliseColours
from methods.networks.hourglass import Hourglass
from methods.networks.resnet import match_memory_format
from methods.networks.smallnet import Padding, SmallNet

NetworkName = Literal["smallnet", "hourglass"]


class DVEOptions(MethodOptions):
    """The network."""

    network: NetworkName = "hourglass"
    dim: int = Field(
        default=64, ge=1, description="Size of a descriptor; released: 64, and of SmallNet also 3, 16 and 32."
    )
    padding: Padding = Field(
        default="zeros",
        description="Of SmallNet's convolutions. Released: zeros, which show every cell how far the border is. "
        "Replicate hides it.",
    )
    colours: Literal["faces", "imagenet"] = Field(
        default="faces", description="Channel statistics of the input: CelebA's, or ImageNet's as for birds."
    )


class DVENetwork(FeatureExtractor):
    """Descriptors at half the image's resolution, compared by plain dot products as in the released code."""

    def __init__(self, options: DVEOptions) -> None:
        super().__init__()
        self.options = options
        faces = options.colours == "faces"
        self.normalise = NormaliseColours(
            *((FACE_MEAN, FACE_STD) if faces else (IMAGENET_MEAN, IMAGENET_STD))
        )
        self.backbone: nn.Module
        if options.network == "smallnet":
            self.backbone = SmallNet(options.dim, padding=options.padding)
            self.stride = self.shift_period = 2
            # 12 cells to either side in the dilated convolutions, the pooled pixels, and 2 more in the first one.
            self.receptive_radius = 27
        else:
            self.backbone = Hourglass(options.dim)
            self.stride = 32
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        maps = self.descriptors(images)
        height, width = images.shape[-2:]
        return FeatureMap((maps,), (maps.shape[2], maps.shape[3]), (height, width), "none")

    def descriptors(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), RGB in [0, 1] -> (B, dim, H / 2, W / 2)."""
        maps: Tensor = self.backbone(self.normalise(images))
        return maps

    def counted_network(self) -> nn.Module:
        return self.backbone


# --- released checkpoints: {"arch", "epoch", "state_dict", "optimizer", "monitor_best", "config"} ---------------

_LAST_LAYER: dict[NetworkName, str] = {"smallnet": "conv6.weight", "hourglass": "output_layers.0.4.weight"}
_WRAPPERS = ("module.", "0.wrapped_module.")  # data parallelism, and a regressor around its backbone
_REGRESSOR = "1."


def _released_names(content: Mapping[str, Any]) -> dict[str, str]:
    """Name in the file's state dict -> name in the released network."""
    state = content.get("state_dict")
    names = {}
    for key in state if isinstance(state, Mapping) else ():
        names[key] = name = str(key)
        for wrapper in _WRAPPERS:
            names[key] = name = name.removeprefix(wrapper)
    return names


def _recognise(content: Mapping[str, Any]) -> bool:
    return bool(set(_LAST_LAYER.values()) & set(_released_names(content).values()))


def _translate(content: Mapping[str, Any]) -> Translation:
    state, names = content["state_dict"], _released_names(content)
    unused = {key: "the released training's own" for key in content if key != "state_dict"}
    tensors = {}
    for key, name in names.items():
        if name.startswith(_REGRESSOR):
            unused[f"state_dict.{key}"] = "a trained regressor; protocols train their own"
        else:
            tensors[f"backbone.{name}"] = state[key]
    network, last = next((n, last) for n, last in _LAST_LAYER.items() if f"backbone.{last}" in tensors)
    return Translation(tensors, {"network": network, "dim": tensors[f"backbone.{last}"].shape[0]}, unused)


RELEASED = CheckpointFormat(
    name="dve",
    summary="jamt9000/DVE, e.g. checkpoint-epoch100.pth; of a regressor's checkpoint the backbone is read",
    recognise=_recognise,
    translate=_translate,
)
