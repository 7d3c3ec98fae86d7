"""Clusters, factors and axes read through projections, against scikit-learn and SciPy on dense descriptors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch.nn import functional as F

from bench.features import FeatureMap, Normalisation
from bench.seeds import derive_seed, torch_generator
from protocols.part_discovery.embedding import embed
from protocols.part_discovery.models import PartModels, all_the_same, descriptors_at, fit_parts, read_linear

NORMALISATIONS: tuple[Normalisation, ...] = ("none", "joint", "per_level")


def maps(normalisation: Normalisation = "joint", signed: bool = False) -> FeatureMap:
    generator = torch_generator(0, "maps")
    levels = (torch.rand(6, 5, 6, 6, generator=generator), 3 * torch.rand(6, 4, 3, 3, generator=generator))
    if signed:
        levels = (levels[0] - 0.3, levels[1])
    return FeatureMap(levels, (12, 12), (12, 12), normalisation)


def dense(features: FeatureMap) -> np.ndarray:
    """(B, H W, C), scaled cell by cell from the definition."""
    whole = features.dense().flatten(2).transpose(1, 2).double()
    if features.normalisation == "joint":
        whole = F.normalize(whole, dim=-1)
    if features.normalisation == "per_level":
        whole = torch.cat([F.normalize(whole[..., :5], dim=-1), F.normalize(whole[..., 5:], dim=-1)], -1)
    return whole.numpy()


def sample_of(features: FeatureMap) -> np.ndarray:
    return dense(features).reshape(-1, features.channels).astype(np.float32)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_descriptors_and_projections_are_those_of_the_dense_map(normalisation: Normalisation) -> None:
    features = maps(normalisation)
    expected = dense(features)
    centres = torch.tensor([[4.5, 7.5], [0.5, 0.5], [11.5, 3.5]]).expand(6, 3, 2)
    found = descriptors_at(features, centres)
    np.testing.assert_allclose(found, expected[:, [7 * 12 + 4, 0, 3 * 12 + 11]], atol=1e-5)
    weight = torch.randn(3, 9, generator=torch_generator(1, "weight"))
    read = read_linear(features, weight, torch.tensor([0.0, 1.0, -2.0]))
    reference = expected @ weight.double().T.numpy() + [0.0, 1.0, -2.0]
    np.testing.assert_allclose(read.flatten(2).transpose(1, 2), reference, atol=1e-5)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("signed", [False, True])
def test_parts_are_scikit_learn_s_on_dense_descriptors(normalisation: Normalisation, signed: bool) -> None:
    features = maps(normalisation, signed)
    sample = sample_of(features)
    models = fit_parts(sample, 4, seed=3)
    clusters, amounts, axes = models.read(features)
    pca = PCA(9, random_state=derive_seed(3, "pca") % 2**32).fit(sample)
    k_means = KMeans(4, n_init=4, random_state=derive_seed(3, "k-means") % 2**32).fit(pca.transform(sample))
    agreed = clusters.flatten().numpy() == k_means.predict(pca.transform(sample))
    assert agreed.mean() > 0.999  # a tie may fall either way
    np.testing.assert_allclose(
        axes.flatten(2).transpose(1, 2).reshape(-1, 3), pca.transform(sample)[:, :3], atol=1e-4
    )
    factors = models.weight[4:8].double().numpy()
    assert (factors >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(factors, axis=1), 1, rtol=1e-5)
    shifted = sample.astype(np.float64) - np.minimum(sample.min(0), 0)
    for pixel in range(0, len(sample), 97):
        expected, _ = nnls(factors.T, shifted[pixel])
        image, place = divmod(pixel, 144)
        np.testing.assert_allclose(amounts[image].flatten(1)[:, place], expected, atol=5e-3)


def test_an_image_is_read_alike_in_any_batch() -> None:
    features = maps()
    models = fit_parts(sample_of(features), 3, seed=0)
    whole = models.read(features)
    for image in range(6):
        for one, other in zip(models.read(features[image : image + 1]), whole, strict=True):
            torch.testing.assert_close(one[0], other[image], atol=1e-5, rtol=1e-4)


def test_equal_seeds_fit_equal_models() -> None:
    sample = sample_of(maps())
    one, same, other = (fit_parts(sample, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    again = PartModels.from_arrays(one.arrays())
    assert torch.equal(again.weight, one.weight)
    assert torch.equal(again.gram, one.gram)
    assert again.uniform is False


def test_more_parts_than_channels() -> None:
    level = torch.rand(2, 2, 6, 6, generator=torch_generator(0, "few"))
    features = FeatureMap((level,), (6, 6), (6, 6), "none")
    sample = features.levels[0].flatten(2).transpose(1, 2).reshape(-1, 2).numpy()
    clusters, amounts, axes = fit_parts(sample, 5, seed=0).read(features)
    assert len(clusters.unique()) == 5
    assert amounts.shape == (2, 5, 6, 6)
    assert bool((axes[:, 2] == 0).all())


def test_descriptors_that_differ_by_rounding_are_one_part() -> None:
    generator = torch_generator(0, "noise")
    same = (0.7 + 1e-7 * torch.rand(200, 5, generator=generator)).numpy()
    assert all_the_same(same)
    assert all_the_same(np.zeros((10, 4), np.float32))
    assert not all_the_same((0.7 + 1e-3 * torch.rand(200, 5, generator=generator)).numpy())
    features = FeatureMap((torch.full((2, 5, 3, 3), 0.7),), (6, 6), (6, 6))
    models = fit_parts(same, 3, seed=0)
    clusters, amounts, _ = models.read(features)
    assert models.uniform
    assert bool((clusters == 0).all())
    assert bool((amounts.argmax(1) == 0).all())


def test_groups_of_descriptors_are_clusters_of_the_plane() -> None:
    generator = torch_generator(0, "groups")
    true = np.arange(90) % 3
    groups = torch.eye(3, 8)[true] + 0.1 * torch.randn(90, 8, generator=generator)
    found = embed(groups.numpy(), 3, seed=0)
    assert found.positions.shape == (90, 2)
    assert len({(a, b) for a, b in zip(true, found.clusters, strict=True)}) == 3
    again = embed(groups.numpy(), 3, seed=0)
    np.testing.assert_array_equal(again.positions, found.positions)
    assert embed(np.full((20, 4), 0.5, np.float32), 3, seed=0).clusters.max() == 0
