"""Regressors, features and targets computed by the released DVE and ContrastLandmarks codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.features import FeatureMap
from bench.interpolation import resize
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor
from tests.goldens import seeded_normal


def regressor_with(scores: np.ndarray[Any, Any], linear: np.ndarray[Any, Any]) -> VirtualKeypointRegressor:
    """A regressor with the weights of the official convolutions, (K V, C, 1, 1) and (2 K, 2 V, 1, 1)."""
    landmarks, virtual = linear.shape[0] // 2, linear.shape[1] // 2
    regressor = VirtualKeypointRegressor(scores.shape[1], landmarks, torch.Generator(), virtual)
    with torch.no_grad():
        regressor.score_weight.copy_(torch.from_numpy(scores).flatten(1))
        regressor.linear_weight.copy_(torch.from_numpy(linear).reshape(landmarks, 2, -1))
    return regressor


def relative(actual: Tensor, expected: np.ndarray[Any, Any]) -> float:
    """Largest difference, as a part of the largest absolute value of ``expected``."""
    difference = np.abs(actual.detach().numpy().reshape(expected.shape) - expected)
    return float(difference.max() / np.abs(expected).max())


@dataclass
class SmallCase:
    """A case whose tensors are all stored."""

    arrays: dict[str, np.ndarray[Any, Any]]
    tag: str

    def __getitem__(self, key: str) -> np.ndarray[Any, Any]:
        return self.arrays[f"{self.tag}__{key}"]

    @property
    def features(self) -> FeatureMap:
        level = torch.from_numpy(self["feats"])
        size = (level.shape[2], level.shape[3])
        return FeatureMap((level,), size, (96, 96))

    @property
    def regressor(self) -> VirtualKeypointRegressor:
        return regressor_with(self["inner"], self["reg"])

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(self["kp"])

    @property
    def all_visible(self) -> Tensor:
        return torch.ones(self.targets.shape[:2], dtype=torch.bool)


def hypercolumn(arrays: dict[str, np.ndarray[Any, Any]]) -> FeatureMap:
    """The 3840-d features of the ``full`` cases, deep levels first; checked against a stored pixel."""
    batch, _, _, height, width, _ = (int(v) for v in arrays["full__BnAnIHWmul"])
    levels = [
        torch.from_numpy(
            np.maximum(0, seeded_normal(f"e.layer{n}", (batch, 128 * 2**n, *map(int, shape)))).astype(
                np.float32
            )
        )
        for n, shape in zip((4, 3, 2, 1), arrays["full__block_sizes"], strict=True)
    ]
    features = FeatureMap(tuple(levels), (height, width), (96, 96))
    pixel = torch.cat([resize(level[-1:], (height, width))[0, :, 5, 7] for level in levels])
    np.testing.assert_allclose(pixel[::64].numpy(), arrays["full__feat_pix_s64"], atol=1e-5)
    return features
