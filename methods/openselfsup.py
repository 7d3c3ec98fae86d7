"""Checkpoints of OpenSelfSup, with which LEAD trained its first stage: the encoder of a BYOL training.

A training file holds the online network's encoder twice (``online_net.0`` and its alias ``backbone``), the heads and
the moving average. Its ``tools/extract_backbone_weights.py`` writes the bare encoder. Keys of the encoder itself are
torchvision's, and bench's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bench.errors import BenchError
from bench.method import CheckpointFormat, Translation
from methods.networks.resnet import Backbone

_ONLINE = "online_net.0."
_DISCARDED = {
    "backbone.": "the same tensors as online_net.0",
    "online_net.1.": "the projector, discarded after training",
    "target_net.": "the moving average, discarded after training",
    "head.": "the predictor, discarded after training",
    "fc.": "a classifier, which the features do not use",
}


def _training(content: Mapping[str, Any]) -> bool:
    return f"{_ONLINE}conv1.weight" in _state(content)


def _extracted(content: Mapping[str, Any]) -> bool:
    return "conv1.weight" in _state(content) and "author" in content


def _state(content: Mapping[str, Any]) -> Mapping[str, Any]:
    state = content.get("state_dict")
    return state if isinstance(state, Mapping) else {}


def _translate(content: Mapping[str, Any]) -> Translation:
    state = _state(content)
    prefix = _ONLINE if _training(content) else ""
    encoder: dict[str, Tensor] = {}
    unused = {name: "describes the training" for name in content if name != "state_dict"}
    for name, value in state.items():
        reason = next((why for start, why in _DISCARDED.items() if name.startswith(start)), None)
        if reason is not None:
            unused[name] = reason
        elif name.startswith(prefix):
            encoder[name.removeprefix(prefix)] = value
    return Translation(
        tensors={f"encoder.{name}": value for name, value in encoder.items()},
        options={"features": "hypercolumn", **encoder_options(encoder)},
        unused=unused,
    )


def encoder_options(encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which residual network has these tensors: the options ``backbone`` and ``width``.

    Raises:
        BenchError: where it is a network that bench does not have, such as a ResNet-34 or -101.
    """
    width = encoder["conv1.weight"].shape[0]
    blocks = tuple(
        sum(f"layer{stage}.{n}.conv1.weight" in encoder for n in range(64)) for stage in range(1, 5)
    )
    backbone: Backbone | None = None
    if "layer1.0.conv3.weight" not in encoder:
        backbone = "resnet18" if blocks == (2, 2, 2, 2) else None
    elif blocks == (3, 4, 6, 3):
        half = 2 * encoder["layer1.0.conv1.weight"].shape[0] == width
        backbone = "resnet50half" if half else "resnet50"
    if backbone is None:
        raise BenchError(
            f"the checkpoint's encoder has {blocks} blocks in its four stages and a stem of {width} channels, which "
            "is none of ResNet-18, ResNet-50 and ResNet-50 of half the width"
        )
    return {"backbone": backbone, "width": width}


BYOL_TRAINING = CheckpointFormat(
    name="openselfsup-byol",
    summary="A BYOL training of OpenSelfSup, such as epoch_200.pth",
    recognise=_training,
    translate=_translate,
)
EXTRACTED_BACKBONE = CheckpointFormat(
    name="openselfsup-backbone",
    summary="The encoder that OpenSelfSup's extract_backbone_weights.py writes",
    recognise=_extracted,
    translate=_translate,
)
