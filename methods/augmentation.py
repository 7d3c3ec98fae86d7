"""BYOL's random views, drawn per image and applied to whole batches of tensors.

Every random number comes from one CPU generator in a fixed order, so that a step's views depend on its seed alone.

Reference: Grill et al., BYOL, 2020, appendix B; the settings are those of OpenSelfSup, which LEAD used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601, as in torchvision


@dataclass(frozen=True)
class ViewSettings:
    """Strengths and probabilities of one view (defaults: the first view of BYOL)."""

    size: int = 96
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 1.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0
    interpolation: str = "bicubic"


def random_views(images: Tensor, settings: ViewSettings, generator: torch.Generator) -> Tensor:
    """One random view of every image.

    Shapes:
        images: (B, 3, H, W), float in [0, 1].  returns: (B, 3, size, size), float in [0, 1].
    """
    count = images.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        draw = torch.rand(count, generator=generator) * (high - low) + low
        return draw.to(images.device)

    def chosen(probability: float) -> Tensor:
        return uniform(0, 1) < probability

    boxes = _crop_boxes(settings, images.shape[-2:], uniform)
    views = _crop(images, boxes, chosen(settings.flip), settings).clamp_(0, 1)
    jittered, greyed, blurred = chosen(settings.jitter), chosen(settings.grey), chosen(settings.blur)
    factors = [
        uniform(1 - strength, 1 + strength)
        for strength in (settings.brightness, settings.contrast, settings.saturation)
    ]
    shift = uniform(-settings.hue, settings.hue)
    sigma = uniform(*settings.blur_sigma)
    solarised = chosen(settings.solarise)
    if settings.jitter > 0:
        one, zero = torch.ones_like(shift), torch.zeros_like(shift)
        brightness, contrast, saturation = (torch.where(jittered, f, one) for f in factors)
        views = adjust_colours(views, brightness, contrast, saturation, torch.where(jittered, shift, zero))
    if settings.grey > 0:
        views = torch.where(greyed[:, None, None, None], luminance(views), views)
    if settings.blur > 0:
        views = torch.where(blurred[:, None, None, None], gaussian_blur(views, sigma), views)
    if settings.solarise > 0:
        views = torch.where(solarised[:, None, None, None] & (views >= 0.5), 1 - views, views)
    return views


def _crop_boxes(settings: ViewSettings, size: torch.Size, uniform: object) -> Tensor:
    """Random boxes (B, 4) as (centre x, centre y, width, height), in units of the image."""
    area = uniform(*settings.crop_scale)  # type: ignore[operator]
    low, high = settings.crop_ratio
    ratio = uniform(math.log(low), math.log(high)).exp()  # type: ignore[operator]
    aspect = size[0] / size[1]
    # A box that would not fit is clamped to the image; torchvision redraws, which keeps the same range of areas.
    width = (area * ratio * aspect).sqrt().clamp(max=1)
    height = (area / ratio / aspect).sqrt().clamp(max=1)
    left = uniform(0, 1) * (1 - width)  # type: ignore[operator]
    top = uniform(0, 1) * (1 - height)  # type: ignore[operator]
    return torch.stack([left + width / 2, top + height / 2, width, height], dim=1)


def _crop(images: Tensor, boxes: Tensor, flipped: Tensor, settings: ViewSettings) -> Tensor:
    theta = images.new_zeros(images.shape[0], 2, 3)
    theta[:, 0, 0] = boxes[:, 2] * torch.where(flipped, -1.0, 1.0)
    theta[:, 1, 1] = boxes[:, 3]
    theta[:, 0, 2] = 2 * boxes[:, 0] - 1
    theta[:, 1, 2] = 2 * boxes[:, 1] - 1
    # Autocast would round the crop's corners to the three digits of bfloat16.
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(theta, [images.shape[0], 3, settings.size, settings.size], align_corners=False)
    return F.grid_sample(
        images, grid, mode=settings.interpolation, padding_mode="border", align_corners=False
    )


def luminance(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    weights = images.new_tensor(_GREY)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def adjust_colours(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    """Colour jitter with one factor per image, (B,) each, in this order; equal to torchvision's, image by image.

    A factor of 1 (and a hue shift of 0, in turns) leaves an image as it is.
    """
    images = adjust_brightness(images, brightness)
    images = adjust_contrast(images, contrast)
    images = adjust_saturation(images, saturation)
    return shift_hue(images, hue)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black; ``factor`` (B,)."""
    return (images * factor[:, None, None, None]).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey; ``factor`` (B,)."""
    factor = factor[:, None, None, None]
    mean = luminance(images).mean(dim=(2, 3), keepdim=True)
    return (images * factor + mean * (1 - factor)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image; ``factor`` (B,)."""
    factor = factor[:, None, None, None]
    return (images * factor + luminance(images) * (1 - factor)).clamp_(0, 1)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue by ``shift`` (B,) turns at constant HSV saturation and value.

    With value V, chroma C and sextant hue h, a channel is V - C * clamp(min(k, 4 - k), 0, 1), k = (n + h) mod 6.
    """
    value, arg = images.max(dim=1)
    chroma = value - images.min(dim=1).values
    red, green, blue = images.unbind(1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sextant = torch.where(
        arg == 0,
        (green - blue) / safe,
        torch.where(arg == 1, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sextant = sextant + 6 * shift[:, None, None]
    channels = []
    for n in (5, 3, 1):
        k = (n + sextant) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one sigma per image, (B,) in pixels; weights are renormalised at the border.

    Two batched products with banded matrices: on small images cheaper than a grouped convolution per image.
    """
    rows, columns = (_blur_matrix(side, sigma) for side in images.shape[-2:])
    return rows[:, None] @ images @ columns.transpose(1, 2)[:, None]


def _blur_matrix(side: int, sigma: Tensor) -> Tensor:
    position = torch.arange(side, device=sigma.device, dtype=sigma.dtype)
    squared = (position[:, None] - position[None, :]).square()
    weights = torch.exp(-squared[None] / (2 * sigma[:, None, None].square()))
    return weights / weights.sum(2, keepdim=True)
