"""Photometric noise against Pillow, torchvision and the formulas written out."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from methods.augmentation import luminance
from methods.photometric import PCA_VALUES, PCA_VECTORS, colour_jitter, jpeg_noise, pca_lighting


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int = 6, height: int = 40, width: int = 48) -> Tensor:
    """Smooth images of 8 bits with some texture."""
    coarse = torch.rand(count, 3, 6, 6, generator=generator(7))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    texture = 0.05 * torch.rand(count, 3, height, width, generator=generator(8))
    return (smooth + texture).clamp(0, 1).mul(255).round().div(255)


def test_jpeg_noise_is_what_pillow_does() -> None:
    images = photos()
    noisy = jpeg_noise(images, generator(1))
    draws = generator(1)
    stretch = torch.randn(6, generator=draws)
    qualities = torch.randint(30, 99, (6,), generator=draws)
    for i in range(6):
        side = max(int(0.8 * 48), int(48 * (1 + 0.5 * float(stretch[i]))))
        picture = Image.fromarray((images[i] * 255).round().byte().permute(1, 2, 0).numpy())
        stream = io.BytesIO()
        picture.resize((side, side), Image.Resampling.BILINEAR).save(
            stream, format="JPEG", quality=int(qualities[i])
        )
        back = Image.open(stream).resize((48, 40), Image.Resampling.BILINEAR)
        assert np.array_equal((noisy[i] * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(back))


def test_jpeg_noise_changes_little_and_keeps_shape_and_range() -> None:
    images = photos(count=16)
    noisy = jpeg_noise(images, generator(2))
    assert noisy.shape == images.shape
    assert noisy.dtype == images.dtype
    assert 0 <= float(noisy.min()) <= float(noisy.max()) <= 1
    apart = (noisy - images).abs().mean(dim=(1, 2, 3))
    assert 0.001 < float(apart.min()) <= float(apart.max()) < 0.06


def test_jitter_with_one_strength_is_torchvisions_function() -> None:
    images = photos().double()
    for place, adjust in enumerate((tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation)):
        strengths = [0.0, 0.0, 0.0]
        strengths[place] = 0.4
        draws = generator(3)
        # The factors of the adjustments before this one are drawn first.
        unused = [torch.rand(6, generator=draws) for _ in range(place)]
        factors = torch.rand(6, generator=draws) * 0.8 + 0.6
        jittered = colour_jitter(images, generator(3), *strengths)
        assert len(unused) == place
        for i in range(6):
            wanted = adjust(images[i].float(), float(factors[i])).double()
            torch.testing.assert_close(jittered[i], wanted, atol=2e-6, rtol=0)


def test_jitter_applies_every_order_equally_often_and_nothing_else() -> None:
    """Each jittered image equals torchvision's result in exactly one of the six orders."""
    count = 240
    images = photos(count=4).repeat(count // 4, 1, 1, 1)
    jittered = colour_jitter(images, generator(4))
    draws = generator(4)
    factors = [(torch.rand(count, generator=draws) * 0.8 + 0.6).tolist() for _ in range(3)]
    adjust = (tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation)
    orders = list(itertools.permutations(range(3)))
    seen = dict.fromkeys(orders, 0)
    for i in range(count):
        apart = {}
        for order in orders:
            wanted = images[i]
            for which in order:
                wanted = adjust[which](wanted, factors[which][i])
            apart[order] = float((wanted - jittered[i]).abs().max())
        best = min(apart, key=lambda order: apart[order])
        assert apart[best] < 2e-6
        seen[best] += 1
    # 40 expected each, standard deviation 5.8.
    assert all(17 < times < 63 for times in seen.values())


def test_no_jitter_is_the_identity() -> None:
    images = photos()
    torch.testing.assert_close(colour_jitter(images, generator(), 0, 0, 0), images, atol=1e-6, rtol=0)


def test_an_image_without_colour_stays_without_colour() -> None:
    grey = luminance(photos()).repeat(1, 3, 1, 1)
    jittered = colour_jitter(grey, generator(5))
    torch.testing.assert_close(jittered[:, 0], jittered[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(jittered[:, 0], jittered[:, 2], atol=1e-5, rtol=0)


def test_lighting_adds_the_written_colour() -> None:
    images = photos()
    lit = pca_lighting(images, generator(6), sigma=0.3)
    alpha = torch.randn(6, 3, generator=generator(6)) * 0.3
    for i, channel in itertools.product(range(6), range(3)):
        added = sum(PCA_VECTORS[channel][k] * float(alpha[i, k]) * PCA_VALUES[k] for k in range(3))
        torch.testing.assert_close(lit[i, channel], images[i, channel] + added, atol=1e-6, rtol=0)
    assert torch.equal(pca_lighting(images, generator(6), sigma=0.0), images)


def test_the_components_are_orthonormal() -> None:
    vectors = torch.tensor(PCA_VECTORS)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3), atol=2e-3, rtol=0)


def test_lighting_has_the_stated_spread() -> None:
    shift = pca_lighting(torch.zeros(20_000, 3, 1, 1), generator(9), sigma=0.1)[:, :, 0, 0]
    for channel in range(3):
        variance = sum((PCA_VECTORS[channel][k] * PCA_VALUES[k]) ** 2 for k in range(3))
        assert float(shift[:, channel].std()) == pytest.approx(0.1 * math.sqrt(variance), rel=0.03)


@pytest.mark.parametrize("change", [jpeg_noise, colour_jitter, pca_lighting])
def test_the_generator_alone_decides(change: Callable[[Tensor, torch.Generator], Tensor]) -> None:
    images = photos()
    before = images.clone()
    torch.manual_seed(1)
    one = change(images, generator(11))
    torch.manual_seed(2)
    assert torch.equal(one, change(images, generator(11)))
    assert not torch.equal(one, change(images, generator(12)))
    assert torch.equal(images, before)


def test_pinned_values() -> None:
    """Draws and arithmetic, in numbers; a change here changes every training that uses it."""
    image = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(2, 3, 2, 2)
    lit = pca_lighting(image, generator(0))[:, :, 0, 0]
    jittered = colour_jitter(image, generator(0))[:, :, 0, 0]
    assert lit.flatten().tolist() == pytest.approx(
        [0.1801895, 0.4813341, 0.8804109, 0.1912651, 0.4933408, 0.8939368], abs=1e-6
    )
    assert jittered.flatten().tolist() == pytest.approx(
        [0.3097507, 0.479473, 0.7057693, 0.3108825, 0.5955716, 0.975157], abs=1e-6
    )
