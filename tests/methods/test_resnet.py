"""The residual networks against published parameter counts and the official ContrastLandmarks numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bench.features import FeatureMap
from methods.networks.resnet import Backbone, ResNet, hypercolumn_levels
from tests.goldens import SHARED, fill_parameters, golden

PUBLISHED_PARAMETERS: dict[Backbone, int] = {
    "resnet18": 11_242_176,
    "resnet50half": 6_033_728,
    "resnet50": 23_770_304,
}
PREFIX = "encoder.module."


@pytest.mark.parametrize("backbone", PUBLISHED_PARAMETERS)
def test_parameter_counts_are_the_published_ones(backbone: Backbone) -> None:
    network = ResNet(backbone, embedding=128)
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED_PARAMETERS[backbone]


def test_hypercolumn_of_resnet50_has_3840_channels_deepest_first() -> None:
    with torch.inference_mode():
        levels = hypercolumn_levels(ResNet("resnet50").eval()(torch.zeros(1, 3, 96, 96)))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (2048, 3, 3),
        (1024, 6, 6),
        (512, 12, 12),
        (256, 24, 24),
    ]


def test_a_narrow_network_scales_every_stage() -> None:
    assert ResNet("resnet18", width=32).stage_channels == (32, 64, 128, 256)
    assert ResNet("resnet50half").stage_channels == (128, 256, 512, 1024)


@pytest.mark.parametrize("backbone", PUBLISHED_PARAMETERS)
def test_official_numbers(backbone: Backbone) -> None:
    stored = golden(f"contrast/a_{backbone}.npz")
    keys = json.loads((SHARED / "spec" / "keys" / f"{backbone}_keys.json").read_text())["keys"]
    network = ResNet(backbone, embedding=128)
    own = [[PREFIX + name, list(entry.shape)] for name, entry in network.state_dict().items()]
    assert own == [entry[:2] for entry in keys]
    fill_parameters(network, float(stored["gain"]), PREFIX)
    network.eval()
    for tag in ("x96", "x64"):
        images = torch.tensor(stored[f"{tag}__input"])
        with torch.inference_mode():
            stages = network(images)
            embedding = network.embed(images)
        np.testing.assert_allclose(embedding, stored[f"{tag}__emb"], atol=1e-5)
        for number, stage in enumerate(stages, start=1):
            wanted = stored[f"{tag}__layer{number}"]
            picked = stage[:, stored[f"{tag}__layer{number}_ch"].tolist()]
            np.testing.assert_allclose(picked, wanted, atol=1e-4 + 1e-5 * np.abs(wanted).max())
        size = images.shape[-1]
        for side in (size // 2, size):
            dense = FeatureMap(hypercolumn_levels(stages), (side, side), (size, size)).dense()
            name = f"{tag}__hc{side}x{side}"
            if f"{name}_allch" not in stored:
                continue
            at = stored[f"{name}_allch_ij"]
            got = dense[:, :, at[:, 0], at[:, 1]].transpose(1, 2)
            wanted = stored[f"{name}_allch"]
            np.testing.assert_allclose(got, wanted, atol=1e-4 + 1e-5 * np.abs(wanted).max())
