"""Thin-plate splines, against the released code's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.geometry import (
    TRAINING,
    TPSStrength,
    TPSWarp,
    warp_pair,
)
from tests.goldens import golden


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def warp_of(weights: np.ndarray[Any, Any]) -> TPSWarp:
    return TPSWarp(torch.from_numpy(weights).double()[None])


@pytest.mark.parametrize("name", ["dve/b_tps.npz", "contrast/f_tps.npz"])
def test_golden_random_weights(name: str) -> None:
    stored = golden(name)
    drawn = [key for key in stored if key.startswith("rand_") and "_seed" in key]
    assert len(drawn) >= 4
    for key in drawn:
        kind, seed = key.removeprefix("rand_").split("_seed")
        strength = TPSStrength(*stored[f"rand_args_{kind}"][1:].tolist())
        weights = TPSWarp.draw(1, strength, generator(int(seed))).weights[0]
        assert np.abs(weights.numpy() - stored[key]).max() < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_golden_training_pair(seed: int) -> None:
    stored = golden("dve/b_tps.npz")
    stream = generator(seed)
    first = TPSWarp.draw(1, TRAINING, stream, multiplier=0.5)
    second = TPSWarp.draw(1, TRAINING, stream)
    weights = torch.cat([first.weights, second.weights])
    assert np.abs(weights.numpy() - stored[f"call_seed{seed}_w"]).max() < 1e-6
    grid = normalised(second.source_map((100, 100), margin=15), 70, 70)[0, ::5, ::5]
    assert np.abs(grid - stored[f"call_seed{seed}_grid_s5"]).max() < 5e-5


def normalised(places: Tensor, height: int, width: int) -> np.ndarray[Any, Any]:
    return (2 * (places - 0.5) / torch.tensor([width - 1, height - 1]) - 1).numpy()


def zero_based(points: Tensor, crop: int) -> np.ndarray[Any, Any]:
    return (points[0] - 0.5 - crop).numpy()


@pytest.mark.parametrize("tag", ["p100", "p136"])
def test_golden_dve_warps(tag: str) -> None:
    stored = golden("dve/b_tps.npz")
    height, width, crop = (int(v) for v in stored[f"{tag}__HWcrop"])
    inside = (slice(None), slice(crop, height - crop), slice(crop, width - crop))
    first, second = warp_of(stored[f"{tag}__w1"]), warp_of(stored[f"{tag}__w2"])
    for warp, key in ((first, "grid1"), (second, "grid2")):
        grid = warp.grid(height, width)[0, ::4, ::4].numpy()
        assert np.abs(grid - stored[f"{tag}__{key}_full_s4"]).max() < 2e-5
    images = torch.from_numpy(stored[f"{tag}__image"])[None]
    pair = warp_pair(images, first, second)
    assert np.abs(pair.more_warped[0].numpy()[inside] - stored[f"{tag}__out_im1"]).max() < 2e-2
    assert np.abs(pair.less_warped[0].numpy()[inside] - stored[f"{tag}__out_im2"]).max() < 2e-2

    places = second.source_map((height, width), margin=crop)
    rows, columns = height - 2 * crop, width - 2 * crop
    assert np.abs(normalised(places, rows, columns)[0] - stored[f"{tag}__out_grid"]).max() < 5e-5
    here = TPSWarp.identity(1).source_map((height, width), margin=crop)
    assert np.abs((places - here)[0, ::2, ::2].numpy() - stored[f"{tag}__out_flow"]).max() < 2e-3

    points = torch.from_numpy(stored[f"{tag}__kps"]).double()[None] + 0.5
    once = first.move_points_to_nearest_node(points, (height, width))
    twice = second.move_points_to_nearest_node(once, (height, width))
    assert np.abs(zero_based(twice, crop) - stored[f"{tag}__out_kp1"]).max() < 2e-6
    assert np.abs(zero_based(once, crop) - stored[f"{tag}__out_kp2"]).max() < 2e-6

    single = warp_of(stored[f"{tag}__single_w"])
    warped = single.warp_images(images)[0].numpy()[inside]
    assert np.abs(warped - stored[f"{tag}__single_im"]).max() < 2e-2
    moved = single.move_points_to_nearest_node(points, (height, width))
    assert np.abs(zero_based(moved, crop) - stored[f"{tag}__single_kp"]).max() < 2e-6


@pytest.mark.parametrize("tag", ["p136", "p60x48"])
def test_golden_contrast_warps(tag: str) -> None:
    stored = golden("contrast/f_tps.npz")
    height, width, crop = (int(v) for v in stored[f"{tag}__HWcrop"])
    size = (height, width)
    inside = (slice(None), slice(crop, height - crop, 2), slice(crop, width - crop, 2))
    images = torch.from_numpy(stored[f"{tag}__image_u8"]).float()[None]
    points = torch.from_numpy(stored[f"{tag}__kps"]).double()[None] + 0.5
    for kind in ("single0", "single1"):
        warp = warp_of(stored[f"{tag}__{kind}_w"])
        grid = warp.grid(*size)[0, ::4, ::4].numpy()
        assert np.abs(grid - stored[f"{tag}__{kind}_grid_s4"]).max() < 2e-5
        assert np.abs(warp.warp_images(images)[0].numpy()[inside] - stored[f"{tag}__{kind}_im"]).max() < 2e-2
        moved = zero_based(warp.move_points_to_nearest_node(points, size), crop)
        assert np.abs(moved - stored[f"{tag}__{kind}_kp"]).max() < 2e-5

    first, second = warp_of(stored[f"{tag}__pair_w1"]), warp_of(stored[f"{tag}__pair_w2"])
    pair = warp_pair(images, first, second)
    assert np.abs(pair.more_warped[0].numpy()[inside] - stored[f"{tag}__pair_im_first"]).max() < 2e-2
    assert np.abs(pair.less_warped[0].numpy()[inside] - stored[f"{tag}__pair_im_second"]).max() < 2e-2
    once = first.move_points_to_nearest_node(points, size)
    twice = second.move_points_to_nearest_node(once, size)
    assert np.abs(zero_based(once, crop) - stored[f"{tag}__pair_kp_second"]).max() < 2e-5
    assert np.abs(zero_based(twice, crop) - stored[f"{tag}__pair_kp_first"]).max() < 2e-5
    places = second.source_map(size, margin=crop)
    grid = normalised(places, height - 2 * crop, width - 2 * crop)[0, ::3, ::3]
    assert np.abs(grid - stored[f"{tag}__pair_grid"]).max() < 5e-5
    flow = (places - TPSWarp.identity(1).source_map(size, margin=crop))[0, ::3, ::3]
    assert np.abs(flow.numpy() - stored[f"{tag}__pair_flow"]).max() < 2e-3
