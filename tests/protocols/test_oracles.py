"""Every protocol must tell features that know the answer from features that know nothing.

The images are painted with the surface coordinates of rendered heads, so that whatever a protocol does to an image it
does to the answer. The oracle reads them; the constant and the noise do not.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.context import EvaluationData, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.landmarks import LandmarkSchema
from bench.loading import LoadedSplit
from bench.protocol import Measurement
from bench.surfaces import FramedSurfaces, SurfaceMap, match_surfaces
from datasets.synthetic_faces import SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.head import head_mesh
from protocols.equivariance import Equivariance, EquivarianceOptions
from protocols.fewshot import FewShot, FewShotOptions
from protocols.heads.regressor import RegressorOptions
from protocols.matching import Matching, MatchingOptions
from protocols.regression import Regression
from protocols.segmentation import Segmentation, SegmentationOptions

SIDE, MARGIN = 64, 8
FRAME = SIDE + 2 * MARGIN
LANDMARKS = {
    "right brow": 19,
    "left brow": 24,
    "nasion": 27,
    "nose tip": 30,
    "nose base": 33,
    "lower lip": 57,
}
LOWEST, HIGHEST = np.array([-1.0, -1.0, -0.8]), np.array([1.0, 1.5, 1.4])
DARKEST, LIGHTEST = 55, 255


# --- the world --------------------------------------------------------------------------------------------


def painted(name: str, count: int) -> LoadedSplit:
    """Colours tell the place on the template head, from dark to light; black is everything that is not its skin.

    The landmarks are where the head shows those of the template, and visible where it does.
    """
    options = SyntheticFacesOptions.model_validate({"size": FRAME, name: count})
    dataset = SyntheticFacesProvider().open(name, None, options)
    images = torch.zeros(count, 3, FRAME, FRAME, dtype=torch.uint8)
    points, visible = (
        torch.zeros(count, len(LANDMARKS), 2),
        torch.zeros(count, len(LANDMARKS), dtype=torch.bool),
    )
    template = head_mesh().landmarks(head_mesh().vertices).astype(np.float64)[list(LANDMARKS.values())]
    wanted = SurfaceMap(FRAME, np.arange(len(template)), template, np.zeros((len(template), 3, 2)))
    for i in range(count):
        surface = dataset.surface(i)
        found = match_surfaces(wanted, surface)
        points[i, found.row] = torch.from_numpy(found.target).float()
        visible[i, found.row] = True
        places = (surface.coordinates - LOWEST) / (HIGHEST - LOWEST)
        colours = torch.from_numpy((DARKEST + places * (LIGHTEST - DARKEST)).round()).byte()
        images[i].flatten(1)[:, torch.from_numpy(surface.pixel)] = colours.T
    return LoadedSplit(
        name=f"painted/{name}",
        fingerprint="",
        ids=dataset.ids,
        identities=tuple(f"{name} {dataset.job.person(i)}" for i in range(count)),
        images=images,
        points=points,
        visible=visible,
        schema=LandmarkSchema(tuple(LANDMARKS), ((0,), (1,)), "brows"),
        margin=MARGIN,
        surfaces=FramedSurfaces(dataset, tuple(range(count)), FRAME),
        masks=images.any(1).byte(),
    )


@pytest.fixture(scope="module")
def data() -> EvaluationData:
    return EvaluationData(painted("train", 24), painted("test", 14))


class Oracle(FeatureExtractor):
    """The place on the template, as a point of a sphere: two descriptors are most similar where they are equal.

    What is not skin is orthogonal to all of it. Colours between skin and black occur at outlines after a warp.
    """

    def forward(self, images: Tensor) -> FeatureMap:
        place = 4 * ((255 * images - DARKEST) / (LIGHTEST - DARKEST) - 0.5)
        squared = place.square().sum(1, keepdim=True)
        sphere = torch.cat([2 * place, squared - 1], 1) / (squared + 1)
        skin = (images >= DARKEST / 255).all(1, keepdim=True)
        level = torch.cat([torch.where(skin, sphere, 0), (~skin).float()], 1)
        return FeatureMap((level,), (SIDE, SIDE), (SIDE, SIDE))


class Constant(FeatureExtractor):
    def forward(self, images: Tensor) -> FeatureMap:
        return FeatureMap((images.new_ones(len(images), 5, SIDE, SIDE),), (SIDE, SIDE), (SIDE, SIDE))


class Noise(FeatureExtractor):
    """Other random numbers at every pixel of every image: the best match is a pixel drawn uniformly."""

    def forward(self, images: Tensor) -> FeatureMap:
        drawn = []
        for image in images:
            stream = torch.Generator().manual_seed(zlib.crc32(image.numpy().tobytes()))
            drawn.append(torch.randn(6, SIDE, SIDE, generator=stream))
        return FeatureMap((torch.stack(drawn),), (SIDE, SIDE), (SIDE, SIDE))


def by_metric(measurement: Measurement) -> dict[tuple[Any, ...], float]:
    """(metric, then the condition's values) -> value."""
    return {(v.metric, *v.condition.values()): v.value for v in measurement.values}


def distances(places: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Between all places (M, 2) and targets (N, 2)."""
    between: np.ndarray[Any, Any] = np.linalg.norm(places[:, None] - targets[None], axis=-1)
    return between


def all_pixels() -> np.ndarray[Any, Any]:
    return np.stack(np.meshgrid(*2 * [np.arange(SIDE) + 0.5]), -1).reshape(-1, 2)


# --- matching ---------------------------------------------------------------------------------------------


def matched(
    extractor: FeatureExtractor, data: EvaluationData, points: Literal["landmarks", "surface"]
) -> Measurement:
    options = MatchingOptions(points=points, surface_points=120)
    Matching().check(options, data)
    return Matching().measure(extractor, data, options, RunContext(batch_size=8))


@pytest.mark.parametrize(("points", "tolerance"), [("landmarks", 0.15), ("surface", 0.05)])
def test_matching(data: EvaluationData, points: Literal["landmarks", "surface"], tolerance: float) -> None:
    """The oracle's median is the rounding to pixels; its mean has outlines in it, where warps mix colours."""
    metric = "matching_error_px70" if points == "landmarks" else "surface_error_px70"
    oracle, constant, noise = (matched(e, data, points) for e in (Oracle(), Constant(), Noise()))
    for i, pairs in enumerate(("same", "different")):
        counted = oracle.per_sample["counted"][:, i]
        targets = oracle.per_sample["targets"][:, i][counted]
        assert len(targets) > (70 if points == "landmarks" else 1000)
        first_cell = distances(np.array([[0.5, 0.5]]), targets).mean() * 70 / SIDE
        any_cell = distances(all_pixels(), targets).mean() * 70 / SIDE
        known, blind, drawn = (by_metric(m)[metric, pairs] for m in (oracle, constant, noise))
        assert blind == pytest.approx(first_cell, rel=1e-9)
        assert drawn == pytest.approx(any_cell, rel=tolerance)
        assert known < 0.12 * min(blind, drawn)
        assert np.median(oracle.per_sample["errors"][:, i][counted]) <= 1
        if points == "surface":
            chance = 100 * (distances(all_pixels(), targets) * 70 / SIDE <= 10).mean()
            assert by_metric(oracle)["surface_acc@5px70", pairs] > 94
            assert by_metric(noise)["surface_acc@10px70", pairs] == pytest.approx(chance, abs=2)


# --- equivariance -----------------------------------------------------------------------------------------


def test_equivariance(data: EvaluationData) -> None:
    options = EquivarianceOptions()
    Equivariance().check(options, data)
    oracle, constant, noise = (
        Equivariance().measure(extractor, data, options, RunContext(batch_size=8))
        for extractor in (Oracle(), Constant(), Noise())
    )
    known, blind, drawn = by_metric(oracle), by_metric(constant), by_metric(noise)
    arrays = constant.per_sample
    targets = arrays["targets"][arrays["counted"]]
    assert len(targets) > 40
    assert known["equivariance_error_mean", "features"] < 1.5
    assert known["equivariance_auc", "features"] > 0.9
    assert known["equivariance_acc@20px", "features"] > 98
    from_corner = distances(np.array([[0.5, 0.5]]), targets)[0]
    assert blind["equivariance_error_mean", "features"] == pytest.approx(from_corner.mean())
    assert blind["equivariance_acc@20px", "features"] == pytest.approx(100 * (from_corner <= 20).mean())
    anywhere = distances(all_pixels(), targets)
    for distance in (5, 10, 20):
        exact = 100 * (anywhere <= distance).mean()
        key = ("equivariance_acc", "random", distance)
        assert known[key] == blind[key] == drawn[key] == pytest.approx(exact)
        found = drawn["equivariance_acc", "features", distance]
        assert found == pytest.approx(exact, abs=4 * (exact * (100 - exact) / len(targets)) ** 0.5)
    assert blind["equivariance_auc", "features"] < 0.2


# --- regression -------------------------------------------------------------------------------------------


def mean_shape_error(data: EvaluationData) -> float:
    """Of predicting the mean of the visible training annotations, in percent of the normalising distance."""
    train, test = data.training().cropped(), data.test.cropped()
    seen = train.visible[..., None].double()
    shape = (train.points * seen).sum(0) / seen.sum(0)
    apart = (test.points[:, 0] - test.points[:, 1]).double().norm(dim=-1, keepdim=True)
    counted = test.visible & test.visible[:, :2].all(1, keepdim=True)
    return 100 * float(((test.points - shape).norm(dim=-1) / apart)[counted].mean())


REGRESSOR: dict[str, Any] = {
    "epochs": 40,
    "cosine_t_max": 40,
    "learning_rate": 0.02,
    "batch_size": 8,
    "map_stride": 4,
}


def test_regression(data: EvaluationData) -> None:
    options = RegressorOptions(**REGRESSOR)
    Regression().check(options, data)
    oracle, constant = (
        Regression().measure(extractor, data, options, RunContext()) for extractor in (Oracle(), Constant())
    )
    known, blind = by_metric(oracle)["nme_interocular",], by_metric(constant)["nme_interocular",]
    # The regressor has no bias: uniform maps can only say the centre of the image.
    np.testing.assert_allclose(constant.per_sample["predictions"], SIDE / 2, atol=1e-3)
    assert known < 0.4 * mean_shape_error(data)
    assert mean_shape_error(data) < blind


def test_fewshot(data: EvaluationData) -> None:
    options = FewShotOptions(counts=(10,), draws=1, copies=40, **REGRESSOR)
    FewShot().check(options, data)
    known, blind = (
        by_metric(FewShot().measure(extractor, data, options, RunContext()))["nme_interocular", 10]
        for extractor in (Oracle(), Constant())
    )
    assert known < 0.4 * mean_shape_error(data)
    assert mean_shape_error(data) < blind


# --- segmentation -----------------------------------------------------------------------------------------


def test_segmentation(data: EvaluationData) -> None:
    options = SegmentationOptions(
        counts=(10,), draws=1, steps=60, batch_size=8, learning_rate=0.3, map_stride=4
    )
    Segmentation().check(options, data)
    known, blind = (
        by_metric(Segmentation().measure(extractor, data, options, RunContext()))
        for extractor in (Oracle(), Constant())
    )
    masks = data.test.cropped().masks
    assert masks is not None
    skin = float(masks.float().mean())
    assert known["miou", 10] > 0.9
    assert known["pixel_accuracy", 10] > 95
    # One class for every pixel, whichever the layer took for the more frequent.
    share = skin if blind["miou", 10] else 1 - skin
    assert blind["miou", 10] in (0, pytest.approx(skin))
    assert blind["pixel_accuracy", 10] == pytest.approx(100 * share)
