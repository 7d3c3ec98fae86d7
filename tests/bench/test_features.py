"""FeatureMap against the dense tensor that it never builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap, Normalisation
from bench.interpolation import resize, resize_matrix, taps

SIDES = st.integers(1, 13)
Maker = Callable[..., FeatureMap]
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "joint", "per_level")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}
FEW = settings(max_examples=25, deadline=None)


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def hypercolumn(dtype: torch.dtype = torch.float64, batch: int = 3) -> FeatureMap:
    """Three levels, one of them a single cell, one finer than the dense map."""
    levels = (rand(batch, 5, 1, 1, seed=1), rand(batch, 4, 3, 5, seed=2), rand(batch, 2, 17, 16, seed=3))
    return FeatureMap(tuple(level.to(dtype) for level in levels), size=(9, 14), image_size=(36, 70))


def single(dtype: torch.dtype = torch.float64) -> FeatureMap:
    return FeatureMap((rand(2, 6, 4, 3, seed=4).to(dtype),), size=(8, 10), image_size=(16, 20))


def native(dtype: torch.dtype = torch.float64) -> FeatureMap:
    return FeatureMap((rand(2, 6, 8, 10, seed=5).to(dtype),), size=(8, 10), image_size=(64, 60))


MAPS = pytest.mark.parametrize("make", [hypercolumn, single, native])
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def reference_dense(features: FeatureMap) -> Tensor:
    """By torch's own bilinear resizing, in float64."""
    parts = [
        F.interpolate(level.double(), features.size, mode="bilinear", align_corners=False)
        for level in features.levels
    ]
    return torch.cat(parts, 1)


def reference_sample(features: FeatureMap, points: Tensor) -> Tensor:
    """Four neighbours in the dense map, clamped at its border, one point at a time."""
    dense = reference_dense(features)
    height, width = features.size
    out = torch.zeros(*points.shape[:2], dense.shape[1], dtype=torch.float64)
    for b in range(points.shape[0]):
        for n in range(points.shape[1]):
            x = float(points[b, n, 0]) * width / features.image_size[1] - 0.5
            y = float(points[b, n, 1]) * height / features.image_size[0] - 0.5
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            for i in range(height):
                for j in range(width):
                    weight = max(0.0, 1 - abs(x - j)) * max(0.0, 1 - abs(y - i))
                    out[b, n] += weight * dense[b, :, i, j]
    return out


def reference_similarity(features: FeatureMap, descriptors: Tensor) -> Tensor:
    """Normalise the dense descriptors themselves, then take dot products."""
    dense, queries = reference_dense(features), descriptors.double()
    widths = [level.shape[1] for level in features.levels]
    if features.normalisation == "joint":
        widths = [sum(widths)]
    blocks = zip(torch.split(dense, widths, 1), torch.split(queries, widths, 2), strict=True)
    if features.normalisation == "none":
        return torch.einsum("bnc,bchw->bnhw", queries, dense)
    parts = [
        torch.einsum("bnc,bchw->bnhw", F.normalize(q, dim=2, eps=1e-12), F.normalize(d, dim=1, eps=1e-12))
        for d, q in blocks
    ]
    return torch.stack(parts).sum(0)


def close(result: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    assert result.dtype == dtype
    assert result.shape == expected.shape
    scale = max(1.0, float(expected.abs().max()))
    return float((result.double() - expected).abs().max()) < TOLERANCE[dtype] * scale


# --- interpolation ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(h=SIDES, w=SIDES, height=st.integers(1, 40), width=st.integers(1, 40))
def test_resizing_equals_torchs_bilinear(h: int, w: int, height: int, width: int) -> None:
    maps = rand(2, 3, h, w, seed=h * 100 + w)
    expected = F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
    assert (resize(maps, (height, width)) - expected).abs().max() < 1e-12
    assert (resize(maps.float(), (height, width)).double() - expected).abs().max() < 1e-5


def test_resizing_to_the_same_size_copies_nothing() -> None:
    maps = rand(1, 2, 5, 4)
    assert resize(maps, (5, 4)) is maps


@FEW
@given(size=st.integers(1, 9), positions=st.lists(st.floats(-3, 12), min_size=1, max_size=8))
def test_taps_are_the_weights_of_linear_interpolation(size: int, positions: list[float]) -> None:
    rows = taps(torch.tensor(positions, dtype=torch.float64), size)
    for position, row in zip(positions, rows, strict=True):
        clamped = min(max(position, 0), size - 1)
        expected = [max(0.0, 1 - abs(clamped - node)) for node in range(size)]
        assert row.tolist() == pytest.approx(expected, abs=1e-12)


def test_kept_matrices_serve_training_after_inference() -> None:
    with torch.inference_mode():
        resize(rand(1, 1, 7, 11), (23, 29))
    maps = rand(1, 1, 7, 11).requires_grad_()
    (gradient,) = torch.autograd.grad(resize(maps, (23, 29)).sum(), maps)
    assert float(gradient.sum()) == pytest.approx(23 * 29)
    assert resize_matrix(23, 7, maps).shape == (23, 7)


# --- against the dense map --------------------------------------------------------------------------------


@MAPS
@DTYPES
def test_dense(make: Maker, dtype: torch.dtype) -> None:
    features = make(dtype)
    assert close(features.dense(), reference_dense(features), dtype)
    other = replace(features, size=(5, 6))
    assert close(features.dense((5, 6)), reference_dense(other), dtype)
    assert close(features.defined_at((5, 6)).dense(), reference_dense(other), dtype)


@MAPS
@DTYPES
def test_condensed_maps_are_smaller_and_the_same(make: Maker, dtype: torch.dtype) -> None:
    features = make(dtype).defined_at((4, 6))
    condensed = features.condensed()
    assert all(level.shape[2] * level.shape[3] <= 24 for level in condensed.levels)
    weight = rand(7, features.channels, seed=9, dtype=dtype)
    scale = TOLERANCE[dtype]
    torch.testing.assert_close(condensed.dense(), features.dense(), rtol=scale, atol=scale)
    torch.testing.assert_close(
        condensed.project(weight), features.project(weight), rtol=scale, atol=10 * scale
    )


@MAPS
def test_mean_length_is_that_of_the_dense_descriptors(make: Maker) -> None:
    features = make()
    wanted = reference_dense(features).square().sum(1).mean().sqrt()
    assert features.mean_length() == pytest.approx(float(wanted), rel=1e-12)
    assert features.scaled(0.25).mean_length() == pytest.approx(float(wanted) / 4, rel=1e-12)


@MAPS
@DTYPES
def test_project_is_a_convolution_of_the_dense_map(make: Maker, dtype: torch.dtype) -> None:
    features = make(dtype)
    weight, bias = rand(4, features.channels, seed=6), rand(4, seed=7)
    expected = F.conv2d(reference_dense(features), weight[:, :, None, None], bias)
    assert close(features.project(weight.to(dtype), bias.to(dtype)), expected, dtype)
    assert close(features.project(weight.to(dtype)[:, :, None, None]), expected - bias[:, None, None], dtype)


@MAPS
@DTYPES
def test_sample(make: Maker, dtype: torch.dtype) -> None:
    features = make(dtype)
    height, width = features.image_size
    spread = torch.rand(len(features), 12, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    points = (spread * 1.4 - 0.2) * torch.tensor([width, height])
    assert close(features.sample(points.to(dtype)), reference_sample(features, points.to(dtype)), dtype)


@MAPS
def test_sampling_at_cell_centres_gives_the_cells(make: Maker) -> None:
    features = make()
    height, width = features.size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([x, y], -1).reshape(1, -1, 2).double().expand(len(features), -1, -1)
    sampled = features.sample(features.centres(cells))
    expected = reference_dense(features).flatten(2).mT
    assert (sampled - expected).abs().max() < 1e-12
    assert (features.cells(features.centres(cells)) - cells).abs().max() < 1e-12


def test_cells_of_corners() -> None:
    features = hypercolumn()
    corners = torch.tensor([[[0.0, 0.0], [70.0, 36.0]]], dtype=torch.float64)
    assert features.cells(corners).tolist() == [[[-0.5, -0.5], [13.5, 8.5]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_sampled_at_the_right_place(dtype: torch.dtype) -> None:
    edge = (torch.arange(96) >= 90).to(dtype).expand(1, 1, 96, 96)
    features = FeatureMap((edge,), size=(96, 96), image_size=(96, 96))
    sampled = features.sample(torch.tensor([[[90.13, 50.0], [89.77, 5.0]]]))
    assert sampled.dtype == dtype
    assert sampled.flatten().tolist() == pytest.approx([0.63, 0.27], abs=0.003)


@MAPS
@DTYPES
def test_squared_norms(make: Maker, dtype: torch.dtype) -> None:
    features = make(dtype)
    widths = [level.shape[1] for level in features.levels]
    expected = [part.square().sum(1) for part in torch.split(reference_dense(features), widths, 1)]
    for norms, reference in zip(features.squared_norms(), expected, strict=True):
        assert close(norms, reference, dtype)


@settings(max_examples=40, deadline=None)
@given(h=SIDES, w=SIDES, height=st.integers(1, 30), width=st.integers(1, 30))
def test_squared_norms_at_any_size(h: int, w: int, height: int, width: int) -> None:
    features = FeatureMap((rand(1, 3, h, w, seed=h + 20 * w),), size=(height, width), image_size=(32, 32))
    expected = reference_dense(features).square().sum(1)
    assert (features.squared_norms()[0] - expected).abs().max() < 1e-12 * max(1, float(expected.max()))


@MAPS
@DTYPES
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_similarity(make: Maker, dtype: torch.dtype, normalisation: Normalisation) -> None:
    features = make(dtype).with_normalisation(normalisation)
    queries = rand(len(features), 7, features.channels, seed=9).to(dtype)
    assert close(features.similarity(queries), reference_similarity(features, queries), dtype)


@pytest.mark.parametrize("normalisation", ["joint", "per_level"])
def test_a_descriptor_is_most_similar_to_itself(normalisation: Normalisation) -> None:
    features = hypercolumn().with_normalisation(normalisation)
    points = features.centres(
        torch.tensor([[[3.0, 4.0], [13.0, 0.0]]], dtype=torch.float64).expand(3, -1, -1)
    )
    scores = features.similarity(features.sample(points))
    best = scores.flatten(2).max(-1)
    full = 1.0 if normalisation == "joint" else 3.0
    assert (best.values - full).abs().max() < 1e-9
    assert best.indices.tolist() == [[4 * 14 + 3, 13]] * 3


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_features_that_vanish_give_zeros(normalisation: Normalisation) -> None:
    features = FeatureMap((torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 1, 1)), (4, 4), (8, 8), normalisation)
    scores = features.similarity(torch.zeros(1, 2, 5))
    assert scores.abs().max() == 0


@pytest.mark.parametrize("one", [hypercolumn, single, native])
@pytest.mark.parametrize("size", [(9, 14), (5, 3), (17, 16)])
def test_gram_is_the_product_of_all_dense_descriptors(one: Maker, size: tuple[int, int]) -> None:
    """Also between maps of other levels and sizes, and where one side fits its only level."""
    features = one()
    levels = tuple(rand(*level.shape[:2], 1 + i, 4, seed=i) for i, level in enumerate(features.levels))
    for other in (replace(features, size=size), replace(features, levels=levels, size=size)):
        dense = reference_dense(features).flatten(2)
        expected = torch.einsum("bcu,bcv->buv", dense, reference_dense(other).flatten(2))
        assert close(features.gram(other), expected, torch.float64)


def test_gram_needs_the_same_channels() -> None:
    with pytest.raises(BenchError, match="as many maps of the same channels"):
        hypercolumn().gram(hypercolumn(batch=2))
    with pytest.raises(BenchError, match=r"\(6, 4, 3\)"):
        single().gram(hypercolumn(batch=2))


@pytest.mark.parametrize("make", [hypercolumn, single])
def test_gradients_flow_as_through_the_dense_map(make: Maker) -> None:
    features = make()
    levels = tuple(level.clone().requires_grad_() for level in features.levels)
    features = replace(features, levels=levels)
    weight = rand(3, features.channels, seed=10).requires_grad_()
    target = rand(len(features), 3, *features.size, seed=11)
    ours = torch.autograd.grad((features.project(weight) * target).sum(), [weight, *levels])
    dense = torch.einsum("mc,bchw->bmhw", weight, reference_dense(features))
    expected = torch.autograd.grad((dense * target).sum(), [weight, *levels])
    for gradient, reference in zip(ours, expected, strict=True):
        assert (gradient - reference).abs().max() < 1e-11


# --- batches, rows, moves ---------------------------------------------------------------------------------


def equal(a: FeatureMap, b: FeatureMap) -> bool:
    same = all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))
    return same and (a.size, a.image_size, a.normalisation) == (b.size, b.image_size, b.normalisation)


def test_slices_join_to_the_whole() -> None:
    features = replace(hypercolumn(batch=5), normalisation="per_level")
    assert len(features) == 5
    assert features.channels == 11
    assert features.layout == ((5, 1, 1), (4, 3, 5), (2, 17, 16))
    assert equal(FeatureMap.cat(list(features.split(2))), features)
    assert [len(part) for part in features.split(2)] == [2, 2, 1]
    picked = features[[4, 0, 4]]
    assert torch.equal(picked.levels[1], features.levels[1][[4, 0, 4]])
    assert equal(features[torch.tensor([1, 2])], features[1:3])


def test_moves_keep_everything_else() -> None:
    features = hypercolumn().with_normalisation("none")
    moved = features.to(dtype=torch.float32)
    assert {level.dtype for level in moved.levels} == {torch.float32}
    assert (moved.size, moved.normalisation) == (features.size, "none")


# --- mistakes ---------------------------------------------------------------------------------------------


def test_mistakes_are_explained() -> None:
    with pytest.raises(BenchError, match="at least one level"):
        FeatureMap((), (4, 4), (8, 8))
    with pytest.raises(BenchError, match="one batch size"):
        FeatureMap((torch.zeros(2, 1, 3, 3), torch.zeros(3, 1, 3, 3)), (4, 4), (8, 8))
    with pytest.raises(BenchError, match="one batch size"):
        FeatureMap((torch.zeros(2, 3, 3),), (4, 4), (8, 8))
    with pytest.raises(BenchError, match="a projection of 10 channels cannot read 11-d"):
        hypercolumn().project(torch.zeros(2, 10))
    with pytest.raises(BenchError, match="12-d descriptors against 11-d"):
        hypercolumn().similarity(torch.zeros(3, 1, 12))


class Pooled(FeatureExtractor):
    """Average colours of 4x4 blocks."""

    stride = 4

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((F.avg_pool2d(images, 4),), (height, width), (height, width))


def test_extract_takes_bytes_and_floats_alike() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    extractor = Pooled().train()
    features = extractor.extract(images)
    assert not extractor.training
    assert torch.equal(features.levels[0], extractor.extract(images.float() / 255).levels[0])
    assert (features.levels[0] - F.avg_pool2d(images.float(), 4) / 255).abs().max() < 1e-6


def test_extracted_features_can_be_trained_on() -> None:
    features = Pooled().extract(torch.rand(2, 3, 8, 8))
    weight = torch.ones(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(features.project(weight).sum(), weight)
    assert (gradient > 0).all()
    assert not features.levels[0].requires_grad
    assert not features.levels[0].is_inference()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 8, 8), r"\(B, 3, H, W\)"),
        (torch.rand(1, 1, 8, 8), r"\(B, 3, H, W\)"),
        (torch.rand(1, 3, 8, 10), "multiples of 4, got 8x10"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "uint8 or float"),
        (torch.full((1, 3, 8, 8), 128.0), r"\[0, 1\]"),
        (torch.full((1, 3, 8, 8), -0.5), r"\[0, 1\]"),
    ],
)
def test_extract_refuses_other_images(images: Tensor, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Pooled().extract(images)


def test_landmarks_are_a_capability() -> None:
    assert Pooled().capabilities == frozenset({"dense"})
    with pytest.raises(BenchError, match="Pooled gives dense features only"):
        Pooled().landmarks(torch.rand(1, 3, 8, 8))
