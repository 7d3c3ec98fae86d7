"""The promises to bench, and the parts that are this package's own."""

from __future__ import annotations

import math

import pytest
import torch
from patch_contrast.method import PatchContrast
from patch_contrast.objective import patch_contrast_loss
from patch_contrast.views import CELL, recoloured, two_views

from bench import BenchError
from bench.options import build_options
from bench.testing import Check, method_checks

CHECKS = method_checks(
    PatchContrast,
    preset="tiny",
    options={"width": 8, "dim": 8},
    recipe={"image_size": 24, "crop": 16, "steps": 4, "batch_size": 8},
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_conformance(check: Check) -> None:
    check()


def test_the_loss_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 2, 5, 2, 3, dtype=torch.float64, generator=generator)
    terms = []
    for f, g in zip(first.flatten(2).mT, second.flatten(2).mT, strict=True):
        f, g = f / f.norm(dim=1, keepdim=True), g / g.norm(dim=1, keepdim=True)  # noqa: PLW2901
        for own, others in ((f, g), (g, f)):
            for i in range(6):
                values = [float(own[i] @ others[j]) / 0.2 for j in range(6)]
                terms.append(math.log(sum(map(math.exp, values))) - values[i])
    loss = patch_contrast_loss(first, second, temperature=0.2)
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-5)  # float32 inside


def test_shared_cells_show_the_same_pixels() -> None:
    pixels = torch.arange(2 * 3 * 24 * 24).reshape(2, 3, 24, 24).float()
    moved = 0
    for seed in range(20):
        first, second = two_views(pixels, 16, torch.Generator().manual_seed(seed))
        one, other = (view.images[..., ::CELL, ::CELL] for view in (first, second))
        assert torch.equal(first.shared(one, second), second.shared(other, first))
        moved += first.corner != second.corner
    assert moved > 10


def test_colours_change_within_the_strength() -> None:
    images = 0.4 + 0.2 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    changed = recoloured(images, 0.5, torch.Generator().manual_seed(1))
    ratio = changed.std((2, 3)) / images.std((2, 3))
    assert 0.5 <= ratio.min() < 0.8
    assert 1.2 < ratio.max() <= 1.5
    torch.testing.assert_close(changed.mean((2, 3)), images.mean((2, 3)))
    assert torch.equal(recoloured(images, 0.0, torch.Generator()), images)


@pytest.mark.parametrize("crop", [32, 50])
def test_crops_that_may_not_overlap_are_refused(crop: int) -> None:
    with pytest.raises(BenchError, match="two crops must overlap"):
        build_options(PatchContrast.Recipe, {"image_size": 64, "crop": crop}, "recipe")
