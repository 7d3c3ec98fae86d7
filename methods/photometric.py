"""Changes of colour and quality that leave every landmark where it is: what DVE and ContrastLandmarks train with.

Every random number comes from one CPU generator in a fixed order, so that a step's images depend on its seed alone.

Reference: released code of Thewlis et al., ICCV 2019 (DVE), and Cheng et al., ICCV 2021 (ContrastLandmarks). Both
work on images of 8 bits; here only the JPEG noise does.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.sharing import share
from methods.augmentation import adjust_brightness, adjust_contrast, adjust_saturation

JPEG_QUALITY = (30, 98)
"""Lowest and highest, both drawn."""

PCA_VALUES = (0.2175, 0.0188, 0.0045)
PCA_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Of the colours of ImageNet (Krizhevsky et al., NeurIPS 2012, section 4.1); column k belongs to value k."""

_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def jpeg_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Resize every image to a random side, save it as JPEG of a random quality, and bring it back to its size.

    The side is max(int(0.8 W), int(W (1 + 0.5 n))) with n standard normal; the resized image is square. Resizing is
    Pillow's antialiased bilinear, as in the released code.

    Shapes:
        images: (B, 3, H, W), float in [0, 1], rounded to 8 bits here.  returns: the same shape, in [0, 1], 8 bits.
    """
    count, _, _, width = images.shape
    stretch = 1 + 0.5 * torch.randn(count, generator=generator)
    low, high = JPEG_QUALITY
    qualities = torch.randint(low, high + 1, (count,), generator=generator)
    sides = torch.tensor([max(int(0.8 * width), int(width * s)) for s in stretch.tolist()])
    pixels = images.detach().mul(255).round().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    # By far the slowest change of an image, so processes that train together share it.
    return share(_all_through_jpeg, pixels, sides, qualities).permute(0, 3, 1, 2).to(images.dtype).div(255)


def _all_through_jpeg(images: Tensor, sides: Tensor, qualities: Tensor) -> Tensor:
    """(B, H, W, 3), uint8 -> the same shape, on the same device."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # Pillow frees the interpreter lock
        changed = pool.map(_through_jpeg, images.cpu().numpy(), sides.tolist(), qualities.tolist())
        return torch.from_numpy(np.stack(list(changed))).to(images.device)


def _through_jpeg(pixels: _Pixels, side: int, quality: int) -> _Pixels:
    """(H, W, 3) -> (H, W, 3)."""
    height, width = pixels.shape[:2]
    stream = io.BytesIO()
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    resized.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as read:
        return np.asarray(read.resize((width, height), Image.Resampling.BILINEAR))


def colour_jitter(
    images: Tensor,
    generator: torch.Generator,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
) -> Tensor:
    """Brightness, contrast and saturation times 1 +- the given strengths, in a random order for every image.

    Equal, image by image, to torchvision's functions on float images.

    Shapes:
        images: (B, 3, H, W), float in [0, 1].  returns: the same shape and range.
    """
    count = images.shape[0]
    adjustments: tuple[tuple[Callable[[Tensor, Tensor], Tensor], float], ...] = (
        (adjust_brightness, brightness),
        (adjust_contrast, contrast),
        (adjust_saturation, saturation),
    )
    factors = []
    for _, strength in adjustments:
        low, high = max(0.0, 1 - strength), 1 + strength
        factors.append((torch.rand(count, generator=generator) * (high - low) + low).to(images.device))
    order = torch.rand(count, len(adjustments), generator=generator).argsort(dim=1).to(images.device)
    jittered = images.clone()
    for place in range(len(adjustments)):
        for which, (adjust, _) in enumerate(adjustments):
            rows = (order[:, place] == which).nonzero().squeeze(1)
            jittered[rows] = adjust(jittered[rows], factors[which][rows])
    return jittered


def pca_lighting(images: Tensor, generator: torch.Generator, sigma: float = 0.1) -> Tensor:
    """Add one random colour to every image, along the principal components of natural colours.

    The colour is sum over k of alpha_k value_k vector_k with alpha ~ N(0, sigma).

    Shapes:
        images: (B, 3, H, W), float in [0, 1].  returns: the same shape; not clamped, as in the released code.
    """
    alpha = torch.randn(images.shape[0], 3, generator=generator) * sigma
    # Not a matrix product, which autocast would narrow.
    colours = (alpha[:, None] * torch.tensor(PCA_VALUES) * torch.tensor(PCA_VECTORS)).sum(dim=2)
    return images + colours.to(images)[:, :, None, None]
