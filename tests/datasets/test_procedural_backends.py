"""The renderer on the host and on torch, one picture at a time and several; pictures as they have always been."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import fft, ndimage

from bench.errors import BenchError
from bench.progress import Progress
from datasets.procedural.backend import HOST, Backend, backend
from datasets.procedural.camera import Camera, develop
from datasets.procedural.category import Shot
from datasets.procedural.dataset import RenderedDataset
from datasets.procedural.job import ARRAYS, RenderJob
from datasets.procedural.light import Light
from datasets.procedural.rasteriser import rasterise
from datasets.procedural.renderer import Rendering, render, render_batch
from datasets.procedural.shading import shadow
from datasets.procedural.torch_backend import TorchBackend
from datasets.procedural.worker import render_share
from datasets.synthetic_birds import SyntheticBirdsProvider
from datasets.synthetic_bodies import SyntheticBodiesProvider
from datasets.synthetic_cats import SyntheticCatsProvider
from datasets.synthetic_faces import SyntheticFacesProvider
from datasets.synthetic_faces.job import Job
from tests.datasets.procedural_balls import Balls, upper_half, wall

SIZE = 48
EXCERPTS = json.loads((Path(__file__).parent / "rendering_excerpts.json").read_text())
PROVIDERS = {
    provider.name: provider
    for provider in (
        SyntheticFacesProvider,
        SyntheticCatsProvider,
        SyntheticBirdsProvider,
        SyntheticBodiesProvider,
    )
}
WITH_GLASSES = 8  # a face of the test split


def torch_on(device: str) -> Backend:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    return TorchBackend(device)


@pytest.fixture(params=["numpy", "cpu", "cuda"])
def on(request: pytest.FixtureRequest) -> Backend:
    """NumPy, torch on the processor, torch on a GPU."""
    return HOST if request.param == "numpy" else torch_on(request.param)


@pytest.fixture(params=["cpu", "cuda"])
def torch_backend(request: pytest.FixtureRequest) -> Backend:
    return torch_on(request.param)


def opened(name: str, size: int, wild: bool) -> RenderedDataset:
    provider = PROVIDERS[name]()
    dataset = provider.open("test", None, provider.Options.model_validate({"size": size, "wild": wild}))
    assert isinstance(dataset, RenderedDataset)
    return dataset


def ball(index: int, **changes: Any) -> Shot:
    category = Balls()
    return replace(category.shot(category.take(0, "train", index, False)), **changes)


@cache
def different_shots() -> list[Shot]:
    """Ragged borders, a foreground, a rim light, a small sensor and a moving hand, in turn."""
    first, second, third, fourth = (ball(i) for i in range(4))
    half = replace(second.subject.pieces[0], present=upper_half)
    bright = replace(third.light, rim=np.full(3, 0.8, dtype=np.float32))
    return [
        replace(first, foreground=wall, camera=replace(first.camera, shrink=0.5, motion=(0.0, 0.0))),
        replace(second, subject=replace(second.subject, pieces=[half])),
        replace(third, light=bright, camera=replace(third.camera, motion=(2.5, -1.5), shrink=1.0)),
        replace(fourth, girth=0.5),
    ]


def grains(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(i) for i in range(count)]


def assert_alike(ours: Rendering, reference: Rendering) -> None:
    """Equal but for rounding, which the compression may carry over a block of 8 x 8 pixels."""
    away = np.abs(ours.image.astype(int) - reference.image)
    assert (away > 1).mean() < 0.02
    assert away.mean() < 0.02
    np.testing.assert_array_equal(ours.points, reference.points)
    np.testing.assert_array_equal(ours.visible, reference.visible)
    np.testing.assert_array_equal(ours.box, reference.box)
    assert (ours.mask != reference.mask).sum() <= 1


# --- pictures stay the same -----------------------------------------------------------------------


@pytest.mark.parametrize("key", EXCERPTS)
def test_pictures_and_annotation_are_those_of_their_version(key: str) -> None:
    """Another picture asks for another version: measured numbers and rendered caches stand on these."""
    name, _, wild = key.partition(" ")
    expected, dataset = EXCERPTS[key], opened(name, 64, bool(wild))
    picture, surface = dataset.job.render(2), dataset.surface(2)
    pixels = np.frombuffer(bytes.fromhex(expected["pixels"]), dtype=np.uint8).reshape(8, 8, 3)
    away = np.abs(picture.image[4::8, 4::8].astype(int) - pixels)
    assert (away <= 1).mean() > 0.97  # all are equal on the processor that made the excerpts
    np.testing.assert_allclose(picture.points.reshape(-1), expected["points"], atol=2e-3)
    assert "".join(str(int(seen)) for seen in picture.visible) == expected["visible"]
    assert abs(int(picture.mask.sum()) - expected["mask"]) <= 1
    np.testing.assert_allclose(picture.box, expected["box"], atol=2e-3)
    assert abs(len(surface.pixel) - expected["surface"]["pixels"]) <= 1
    np.testing.assert_allclose(surface.coordinates.mean(0), expected["surface"]["mean"], atol=2e-3)


# --- batches and backends -------------------------------------------------------------------------


def test_a_picture_does_not_depend_on_its_batch(on: Backend) -> None:
    shots = different_shots()
    alone = [render(shot, SIZE, grain, on) for shot, grain in zip(shots, grains(4), strict=True)]
    for one, other in zip(render_batch(shots, SIZE, grains(4), on), alone, strict=True):
        if on is HOST:
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.mask, other.mask)
        assert_alike(one, other)


def test_torch_draws_what_numpy_draws(torch_backend: Backend) -> None:
    shots = different_shots()
    reference = render_batch(shots, SIZE, grains(4))
    for ours, theirs in zip(render_batch(shots, SIZE, grains(4), torch_backend), reference, strict=True):
        assert_alike(ours, theirs)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("synthetic-faces", WITH_GLASSES),
        ("synthetic-cats", 0),
        ("synthetic-birds", 0),
        ("synthetic-bodies", 0),
    ],
)
def test_torch_draws_every_category(torch_backend: Backend, name: str, index: int) -> None:
    job = opened(name, 64, False).job
    ours, reference = job.render_batch([index], torch_backend)[0], job.render(index)
    assert_alike(
        Rendering(ours.image, ours.points, ours.visible, ours.mask, ours.box),
        Rendering(reference.image, reference.points, reference.visible, reference.mask, reference.box),
    )


def test_an_empty_picture_in_a_batch_is_its_background(on: Backend) -> None:
    away = ball(1, centre=(9.0, 9.0))
    empty, other = render_batch([away, ball(2)], SIZE, grains(2), on)
    assert not empty.mask.any()
    assert not empty.visible.any()
    assert other.mask.any()
    assert_alike(other, render(ball(2), SIZE, grains(2)[1]))


def test_shares_of_a_split_are_rendered_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchBackend, "pictures_at_once", 2)
    job = Job(split="test", count=5, size=32, seed=0, wild=False)
    results = []
    for number, where in enumerate((HOST, TorchBackend("cpu"))):
        folder = tmp_path / str(number)
        results.append(shares(job, folder, where))
    for name in ("points", "visible", "boxes", "identities"):
        np.testing.assert_array_equal(results[0][name], results[1][name])
    assert (np.abs(results[0]["images"].astype(int) - results[1]["images"]) > 1).mean() < 0.02


def shares(job: RenderJob, folder: Path, where: Backend) -> dict[str, np.ndarray]:
    """The arrays of a split, rendered as two workers would."""
    folder.mkdir()
    for name, (shape, kind) in job.shapes().items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
    finished: list[int] = []
    for first in (0, 1):
        render_share(job, folder, first, 2, lambda: finished.append(1), where)
    assert len(finished) == job.count
    return {name: np.load(folder / f"{name}.npy") for name in ARRAYS}


def test_devices_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend() is backend("cpu") is HOST
    with pytest.raises(BenchError, match="toaster"):
        backend("toaster")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backend("auto") is HOST
    dataset = opened("synthetic-faces", 32, False)
    with pytest.raises(BenchError, match="none"):
        dataset.render_on("cuda")
    assert dataset.fingerprint == opened("synthetic-faces", 32, False).fingerprint


def test_another_device_keeps_its_pictures_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    provider = SyntheticFacesProvider()
    options = provider.Options.model_validate({"size": 32, "test": 3})
    plain, moved = (provider.open("test", None, options) for _ in range(2))
    plain._progress = moved._progress = Progress.silent()
    moved.render_on("cuda")
    assert moved.fingerprint != plain.fingerprint
    for one, other in zip(plain, moved, strict=True):
        assert torch.equal(one.points, other.points)
    assert len([p for p in (tmp_path / "synthetic-faces").iterdir() if p.is_dir()]) == 2


# --- operations -----------------------------------------------------------------------------------


def test_rasterising_two_pictures_is_rasterising_each(on: Backend) -> None:
    rng = np.random.default_rng(5)
    side, count = 20, 30
    meshes = [
        (rng.uniform(-3, 23, (count, 3)).astype(np.float32), rng.integers(0, count, (25, 3)))
        for _ in range(2)
    ]
    both = rasterise(
        on.array(np.concatenate([vertices for vertices, _ in meshes])),
        on.array(np.concatenate([meshes[0][1], meshes[1][1] + count])),
        side,
        picture=on.array(np.repeat([0, 1], 25)),
        pictures=2,
        on=on,
    )
    sample, triangle = on.host(both.sample), on.host(both.triangle)
    for number, (vertices, triangles) in enumerate(meshes):
        alone = rasterise(vertices, triangles, side)
        mine = sample // side**2 == number
        np.testing.assert_array_equal(sample[mine] - number * side**2, alone.sample)
        np.testing.assert_array_equal(triangle[mine] - number * 25, alone.triangle)
        np.testing.assert_allclose(on.host(both.weights)[mine], alone.weights, atol=1e-6)


def test_greatest_values_by_index(on: Backend) -> None:
    values, index = np.array([3, -5, 7, 1], dtype=np.int64) << 40, np.array([1, 4, 1, 0], dtype=np.int32)
    result = on.host(on.greatest(on.array(values), on.array(index), 5, -1))
    assert result.tolist() == [1 << 40, 7 << 40, -1, -1, -1]


def test_bounds_of_a_picture_without_rows_are_zero(on: Backend) -> None:
    rows = np.array([[1.0, 5.0], [2.0, -4.0], [9.0, 9.0]], dtype=np.float32)
    low, high = on.bounds(on.array(rows), on.array(np.array([0, 0, 2])), 4)
    assert on.host(low).tolist() == [[1, -4], [0, 0], [9, 9], [0, 0]]
    assert on.host(high).tolist() == [[2, 5], [0, 0], [9, 9], [0, 0]]


def test_sums_of_three_and_maps_of_pictures(on: Backend) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 4)).astype(np.float32)
    weights, corners = rng.normal(size=(5, 3)).astype(np.float32), rng.integers(0, 7, (5, 3))
    sums = on.interpolate(on.array(weights), on.array(corners), on.array(values))
    expected = [
        [sum(w[c] * values[k[c], d] for c in range(3)) for d in range(4)]
        for w, k in zip(weights, corners, strict=True)
    ]
    np.testing.assert_allclose(on.host(sums), expected, atol=1e-5)
    rows, picture = rng.normal(size=(5, 3)).astype(np.float32), np.array([0, 0, 1, 2, 2])
    for maps in (rng.normal(size=(3, 2, 3)).astype(np.float32), rng.normal(size=(3, 3)).astype(np.float32)):
        mapped = on.mapped(on.array(rows), on.array(maps), on.array(picture))
        expected = [maps[p] @ row for p, row in zip(picture, rows, strict=True)]
        np.testing.assert_allclose(on.host(mapped), expected, atol=1e-5)


def test_filters_are_those_of_scipy(on: Backend) -> None:
    rng = np.random.default_rng(1)
    images = rng.random((2, 12, 12, 3)).astype(np.float32)
    for sigmas, truncate in (((0.4, 1.7), 3.0), ((5.0, 0.8), 4.0)):
        expected = [
            ndimage.gaussian_filter(i, (s, s, 0), truncate=truncate)
            for i, s in zip(images, sigmas, strict=True)
        ]
        np.testing.assert_allclose(
            on.host(on.blurred(on.array(images), sigmas, truncate)), expected, atol=1e-5
        )
    rows, columns = rng.random((2, 5, 12)).astype(np.float32), rng.random((2, 7, 12)).astype(np.float32)
    expected = np.einsum("bph,bqw,bhwc->bpqc", rows, columns, images)
    np.testing.assert_allclose(on.host(on.resampled(on.array(images), rows, columns)), expected, rtol=1e-5)
    blocks = rng.random((3, 4, 8, 8)).astype(np.float32)
    cosines = on.cosines(on.array(blocks))
    np.testing.assert_allclose(on.host(cosines), fft.dctn(blocks, axes=(-2, -1), norm="ortho"), atol=1e-5)
    np.testing.assert_allclose(on.host(on.from_cosines(cosines)), blocks, atol=1e-5)


# --- shadows --------------------------------------------------------------------------------------


def test_nothing_is_shadowed_beyond_what_casts_shadows(on: Backend) -> None:
    """A plate of 2 x 2 at height 1 under a lamp at the viewer; spots of a floor at height 0."""
    corner = np.linspace(-1, 1, 81, dtype=np.float32)
    plate = np.stack([*np.meshgrid(corner, corner), np.ones((81, 81), dtype=np.float32)], -1).reshape(-1, 3)
    floor = np.array([[0.0, 0.0, 0.0], [0.9, -0.9, 0.0], [1.2, 0.0, 0.0], [0.0, -7.0, 0.0]], dtype=np.float32)
    black = np.zeros(3, dtype=np.float32)
    lamp = Light(np.array([0, 0, 1], dtype=np.float32), black, black, black, black, black, softness=0.01)

    def lit(continued: bool) -> list[float]:
        numbers = [np.zeros(len(points), dtype=np.int32) for points in (plate, floor)]
        spots = on.array(floor), on.array(numbers[1])
        share = shadow(on.array(plate), on.array(numbers[0]), *spots, [lamp], [continued], on)
        return [round(float(value), 5) for value in on.host(share)]

    assert lit(continued=False) == [0, 0, 1, 1]
    assert lit(continued=True) == [0, 0, 0, 0]


def test_without_casters_everything_is_lit(on: Backend) -> None:
    free = replace(ball(0), others=[])
    pieces = [replace(piece, casts_shadow=False) for piece in free.subject.pieces]
    bright = render(replace(free, subject=replace(free.subject, pieces=pieces)), SIZE, grains(1)[0], on)
    some = np.zeros(len(pieces[0].vertices), dtype=np.bool_)
    kept = [replace(piece, casts_shadow=some) for piece in pieces]
    same = render(replace(free, subject=replace(free.subject, pieces=kept)), SIZE, grains(1)[0], on)
    np.testing.assert_array_equal(bright.image, same.image)
    assert bright.image.astype(int).sum() >= render(free, SIZE, grains(1)[0], on).image.astype(int).sum()


# --- the camera -----------------------------------------------------------------------------------


def test_cameras_of_a_batch_are_each_pictures_own(on: Backend) -> None:
    scene = np.random.default_rng(2).random((20, 20, 3)).astype(np.float32)
    plain = Camera(1.0, 1.0, 1.0, np.ones(3, dtype=np.float32), 0.3, (0.0, 0.0), 0.0, 1.0, 1.0)
    cameras = [
        plain,
        replace(plain, shrink=0.4),
        replace(plain, motion=(6.0, 0.0)),
        replace(plain, exposure=0.0),
    ]
    images = on.host(develop(on.array(np.stack([scene] * 4)), cameras, grains(4), on)).astype(float)
    assert images.shape == (4, 20, 20, 3)
    assert images[3].max() == 0
    across = np.abs(np.diff(images, axis=2)).mean((1, 2, 3))
    assert across[1] < 0.7 * across[0]
    assert across[2] < 0.9 * across[0]
    np.testing.assert_array_equal(
        images[0], on.host(develop(on.array(scene[None]), [plain], grains(1), on))[0]
    )
