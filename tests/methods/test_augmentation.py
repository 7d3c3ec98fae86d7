"""Batched views against torchvision, image by image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from methods.augmentation import (
    ViewSettings,
    adjust_colours,
    gaussian_blur,
    luminance,
    random_views,
    shift_hue,
)

PLAIN: dict[str, Any] = {"flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0, "interpolation": "bilinear"}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def test_colour_jitter_equals_torchvision(images: Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    b, c, s = (torch.rand(6, generator=generator) * 0.8 + 0.6 for _ in range(3))
    h = torch.rand(6, generator=generator) * 0.2 - 0.1
    ours = adjust_colours(images.clone(), b, c, s, h)
    for i, image in enumerate(images):
        wanted = tvf.adjust_brightness(image, b[i].item())
        wanted = tvf.adjust_contrast(wanted, c[i].item())
        wanted = tvf.adjust_saturation(wanted, s[i].item())
        wanted = tvf.adjust_hue(wanted, h[i].item())
        torch.testing.assert_close(ours[i], wanted, atol=2e-5, rtol=0)


def test_no_hue_shift_is_the_identity(images: Tensor) -> None:
    torch.testing.assert_close(shift_hue(images, torch.zeros(6)), images)
    torch.testing.assert_close(shift_hue(images, torch.ones(6)), images, atol=1e-5, rtol=0)
    grey = luminance(images).expand(-1, 3, -1, -1)
    torch.testing.assert_close(shift_hue(grey, torch.full((6,), 0.3)), grey)


def test_blur_equals_torchvision_away_from_the_border(images: Tensor) -> None:
    ours = gaussian_blur(images, torch.linspace(0.3, 1.2, 6))
    for i, sigma in enumerate(torch.linspace(0.3, 1.2, 6).tolist()):
        wanted = tvf.gaussian_blur(images[i], [17, 17], [sigma, sigma])
        torch.testing.assert_close(ours[i, :, 8:-8, 8:-8], wanted[:, 8:-8, 8:-8], atol=1e-4, rtol=0)


def test_a_constant_image_stays_constant_under_blur() -> None:
    constant = torch.full((3, 3, 9, 9), 0.7)
    torch.testing.assert_close(gaussian_blur(constant, torch.tensor([0.2, 1.0, 3.0])), constant)


def test_the_whole_image_is_the_identity_crop(images: Tensor) -> None:
    settings = ViewSettings(size=20, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), **PLAIN)
    views = random_views(images, settings, torch.Generator().manual_seed(0))
    torch.testing.assert_close(views, images, atol=1e-5, rtol=0)


def test_a_certain_flip_mirrors_the_image(images: Tensor) -> None:
    settings = ViewSettings(size=20, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), **{**PLAIN, "flip": 1.0})
    views = random_views(images, settings, torch.Generator().manual_seed(0))
    torch.testing.assert_close(views, images.flip(3), atol=1e-5, rtol=0)


def test_solarise_inverts_what_is_bright(images: Tensor) -> None:
    settings = ViewSettings(size=20, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), solarise=1.0, **PLAIN)
    views = random_views(images, settings, torch.Generator().manual_seed(0))
    wanted = torch.stack([tvf.solarize(image, 0.5) for image in images])
    near = (images - 0.5).abs() > 1e-4
    torch.testing.assert_close(views[near], wanted[near], atol=1e-4, rtol=0)


def test_views_depend_on_the_generator_alone(images: Tensor) -> None:
    settings = ViewSettings(size=16)
    first, again, other = (
        random_views(images, settings, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert first.shape == (6, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


def test_crops_stay_inside_and_cover_the_range_of_areas() -> None:
    """Views of an image that encodes its own coordinates tell where they were cut."""
    ramp = torch.linspace(0, 1, 101)
    image = torch.stack([ramp.expand(101, -1), ramp[:, None].expand(-1, 101), torch.zeros(101, 101)])
    settings = ViewSettings(size=16, crop_scale=(0.2, 0.9), **PLAIN)
    views = random_views(image.expand(500, -1, -1, -1), settings, torch.Generator().manual_seed(0))
    # The outermost samples lie half a cell inside the box.
    width = (views[:, 0, 8, -1] - views[:, 0, 8, 0]) * 16 / 15
    height = (views[:, 1, -1, 8] - views[:, 1, 0, 8]) * 16 / 15
    area = width * height
    assert 0.15 < area.min() < 0.25
    assert 0.75 < area.max() <= 1.0
    assert (width / height).max() < 4 / 3 + 0.05
