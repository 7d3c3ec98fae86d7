"""The files that the official ContrastLandmarks repository saves, read into bench's network.

A projector's file has no encoder: it fills a network together with the encoder's file. Neither says which of the
projector's modes it was trained with; the released ones have the soft-max, which is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bench.method import CheckpointFormat, Translation
from methods.networks.resnet import Backbone

_BACKBONES: dict[int, Backbone] = {8: "resnet18", 16: "resnet50half", 32: "resnet50"}
"""By the channels of the last stage, relative to those of the stem."""

_HYPERCOLUMNS: dict[int, Backbone] = {960: "resnet18", 1920: "resnet50half", 3840: "resnet50"}


def _state(content: Mapping[str, Any], entry: str, *prefixes: str) -> dict[str, Tensor]:
    """The tensors of an entry, without the given prefixes (in this order, each where it is there)."""
    found = content.get(entry)
    state = {}
    for key, value in found.items() if isinstance(found, Mapping) else ():
        name = str(key)
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        if isinstance(value, Tensor):
            state[name] = value
    return state


def _encoder(content: Mapping[str, Any]) -> dict[str, Tensor]:
    # Never model_ema: the official readers take the trained network, not its moving average.
    return _state(content, "model", "module.", "encoder.", "module.")


def _is_moco(content: Mapping[str, Any]) -> bool:
    state = _encoder(content)
    return all(name in state for name in ("conv1.weight", "layer4.0.conv1.weight", "fc.weight"))


def _translate_moco(content: Mapping[str, Any]) -> Translation:
    state = _encoder(content)
    width = state["conv1.weight"].shape[0]
    options: dict[str, Any] = {"width": width}
    ratio = state["fc.weight"].shape[1] // width
    if ratio in _BACKBONES:
        options["backbone"] = _BACKBONES[ratio]
    reasons = {
        "model_ema": "the moving average of the encoder, which gave the keys",
        "contrast": "the queue of training",
        "optimizer": "only training needs it",
    }
    tensors = {f"encoder.{name}": value for name, value in state.items()}
    return Translation(tensors, options, {name: reasons[name] for name in reasons if name in content})


def _projector(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return _state(content, "feat_disiller", "module.")  # spelt so


def _is_projector(content: Mapping[str, Any]) -> bool:
    return "reg_conv.weight" in _projector(content)


def _translate_projector(content: Mapping[str, Any]) -> Translation:
    state = _projector(content)
    dim, channels = state["reg_conv.weight"].shape[:2]
    options: dict[str, Any] = {"features": "projected", "dim": dim}
    if channels in _HYPERCOLUMNS:
        options["backbone"] = _HYPERCOLUMNS[channels]
    reasons = {"val_error": "a result", "test_error": "a result"}
    tensors = {f"projector.{name}": value for name, value in state.items()}
    return Translation(tensors, options, {name: reasons[name] for name in reasons if name in content})


MOCO = CheckpointFormat(
    name="moco",
    summary="cvl-umass/contrast-landmark's encoder, e.g. ckpt_epoch_800_resnet50_celeba.pth",
    recognise=_is_moco,
    translate=_translate_moco,
)

PROJECTOR = CheckpointFormat(
    name="projector",
    summary="cvl-umass/contrast-landmark's projector, e.g. feat_distiller/128d.pth; give the encoder's file too",
    recognise=_is_projector,
    translate=_translate_projector,
)
