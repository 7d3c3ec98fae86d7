"""Official ContrastLandmarks checkpoints: their layouts are recognised and give the official numbers."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pytest
import torch

from bench.method import CheckpointFormat
from methods.contrast import ContrastLandmarks, ContrastNetwork, ContrastOptions
from methods.networks.projector import Projector
from methods.networks.resnet import Backbone, ResNet
from tests.goldens import SHARED, fill_parameters, golden


def _moco_file(backbone: Backbone, gain: float) -> dict[str, Any]:
    """The layout of the official file, filled by the golden rule."""
    network, average = (ResNet(backbone, embedding=128) for _ in range(2))
    fill_parameters(network, gain, prefix="encoder.module.")
    return {
        "opt": argparse.Namespace(nce_k=4096),
        "model": {f"encoder.module.{name}": tensor for name, tensor in network.state_dict().items()},
        "contrast": {"params": torch.tensor([-1]), "memory": torch.rand(4096, 128)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.rand(64, 3, 7, 7)}}, "param_groups": []},
        "epoch": 800,
        "model_ema": {f"encoder.module.{name}": tensor for name, tensor in average.state_dict().items()},
    }


def _projector_file(dim: int, channels: int) -> dict[str, Any]:
    projector = Projector(channels, dim, "softmax", 7.0)
    fill_parameters(projector, 0.5, prefix="module.")
    return {
        "opt": argparse.Namespace(),
        "epoch": 10,
        "feat_disiller": {f"module.{name}": tensor for name, tensor in projector.state_dict().items()},
        "val_error": [0.7, 2.0],
        "test_error": [0.7, 2.1],
    }


def _format(content: dict[str, Any]) -> CheckpointFormat:
    (known,) = [one for one in ContrastLandmarks.checkpoint_formats if one.recognise(content)]
    return known


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50half", "resnet50"])
def test_official_encoder_gives_the_official_numbers(backbone: Backbone) -> None:
    stored = golden(f"contrast/a_{backbone}.npz")
    content = _moco_file(backbone, float(stored["gain"]))
    translation = _format(content).translate(content)
    options = ContrastOptions(**{"backbone": "resnet18", **translation.options})
    assert (options.backbone, options.width, options.features) == (backbone, 64, "hypercolumn")
    assert set(translation.unused) == {"contrast", "optimizer", "model_ema"}
    network = ContrastNetwork(options)
    network.load_state_dict(translation.tensors)
    network.eval()
    images = torch.from_numpy(stored["x96__input"])
    with torch.inference_mode():
        embedding = network.encoder.embed(images)
        # The stored input is normalised already.
        mean, std = network.normalise.get_buffer("mean"), network.normalise.get_buffer("std")
        hypercolumn = network.hypercolumn(images * std + mean).dense()
    np.testing.assert_allclose(embedding, stored["x96__emb"], atol=1e-5)
    at, wanted = stored["x96__hc48x48_ij"], stored["x96__hc48x48"]
    channels = stored["x96__hc48x48_ch"].tolist()
    found = hypercolumn[:, :, at[:, 0], at[:, 1]][:, channels].transpose(1, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-4 + 1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("dim", "channels", "backbone"), [(128, 3840, "resnet50"), (64, 960, "resnet18"), (5, 17, None)]
)
def test_official_projector(dim: int, channels: int, backbone: str | None) -> None:
    content = _projector_file(dim, channels)
    translation = _format(content).translate(content)
    assert translation.options.pop("backbone", None) == backbone
    assert translation.options == {"features": "projected", "dim": dim}
    weight = content["feat_disiller"]["module.reg_conv.weight"]
    assert translation.tensors["projector.reg_conv.weight"] is weight
    assert set(translation.tensors) == {"projector.reg_conv.weight", "projector.reg_conv.bias"}


def test_encoder_and_projector_together_fill_a_network() -> None:
    parts = [
        _format(content).translate(content)
        for content in (_moco_file("resnet18", 0.8), _projector_file(64, 960))
    ]
    told = {name: value for part in parts for name, value in part.options.items()}
    network = ContrastNetwork(ContrastOptions(**told))
    network.load_state_dict({name: tensor for part in parts for name, tensor in part.tensors.items()})
    assert network.extract(torch.rand(1, 3, 96, 96)).channels == 64


def test_other_files_are_not_recognised() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"state_dict": {"conv1.0.weight": torch.zeros(1)}},
        {"model": {"encoder.module.conv1.weight": torch.zeros(1)}},
        {"model": torch.zeros(3), "feat_disiller": None},
        {"regressor": {"inner_conv.weight": torch.zeros(250, 3840, 1, 1)}},
    ]
    for content in others:
        assert not any(one.recognise(content) for one in ContrastLandmarks.checkpoint_formats)


def test_layout_is_the_recorded_one() -> None:
    """Names that the formats rely on, as they were written down from the official code."""
    path = SHARED / "spec" / "keys" / "checkpoint_layout.json"
    if not path.is_file():
        pytest.skip("needs the recorded layout of the official checkpoints, which is not beside the checkout")
    recorded = path.read_text()
    for name in (*_moco_file("resnet18", 1.0), *_projector_file(4, 4), "module.reg_conv.weight"):
        assert f'"{name}"' in recorded
