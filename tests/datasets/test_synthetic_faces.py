"""The procedural faces as a data set: annotation, determinism, form, wrong use."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.errors import BenchError
from datasets.procedural import cache as disk
from datasets.synthetic_faces import SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import draw_identity
from datasets.synthetic_faces.job import Job
from datasets.synthetic_faces.renderer import head_surface, render_sample
from tests.datasets.faces_on_stage import SIZE, opened, plain_capture, plain_person, rendered

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("wild", [False, True])
def test_annotation_is_consistent(wild: bool) -> None:
    for index in range(16):
        result = render_sample(1, "train", index, "learn", index, SIZE, wild)
        points, (x0, y0, x1, y1) = result.points, result.box
        assert ((points >= 0) & (points < SIZE)).all()
        assert (points[:, 0] >= x0 - 1e-3).all()
        assert (points[:, 0] <= x1 + 1e-3).all()
        assert (points[:, 1] >= y0 - 1e-3).all()
        assert (points[:, 1] <= y1 + 1e-3).all()
        columns, rows = points[result.visible].astype(np.int64).T
        assert result.mask[rows, columns].all()
        ys, xs = np.nonzero(result.mask)
        assert xs.min() >= np.floor(x0)
        assert ys.min() >= np.floor(y0)
        assert xs.max() < np.ceil(x1)
        assert ys.max() < np.ceil(y1)
        assert 0 <= x0 < x1 <= SIZE
        assert 0 <= y0 < y1 <= SIZE


def test_without_an_occluder_the_box_is_tight() -> None:
    result = rendered(plain_capture())
    ys, xs = np.nonzero(result.mask)
    np.testing.assert_allclose(result.box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.0)


def test_surface_coordinates_at_visible_landmarks_are_the_landmarks_own() -> None:
    capture = plain_capture(yaw=20)
    result, surface = rendered(capture), head_surface(plain_person(), capture, SIZE)
    own = head_mesh().landmarks(head_mesh().vertices)
    inner = [i for i in range(17, 68) if result.visible[i]]
    columns, rows = result.points[inner].astype(np.int64).T
    assert len(inner) > 40
    picture = surface.image()
    slopes = np.zeros((SIZE * SIZE, 3, 2))
    slopes[surface.pixel] = surface.slope
    # From the pixel's centre to the landmark within the pixel, along the slopes.
    within = result.points[inner] - (np.stack([columns, rows], -1) + 0.5)
    there = picture[rows, columns] + np.einsum("kdx,kx->kd", slopes[rows * SIZE + columns], within)
    assert np.median(np.abs(there - own[inner])) < 1e-3
    np.testing.assert_allclose(picture[rows, columns, :2], own[inner, :2], atol=0.06)
    assert np.isnan(picture[0, 0]).all()


def test_wild_heads_are_smaller_and_in_different_places() -> None:
    close = np.array([render_sample(2, "train", i, "learn", i, SIZE, False).points for i in range(12)])
    wild = np.array([render_sample(2, "train", i, "learn", i, SIZE, True).points for i in range(12)])
    extent = {name: np.ptp(points, axis=1).max(-1) for name, points in (("close", close), ("wild", wild))}
    assert extent["wild"].max() < extent["close"].min()
    assert (wild.mean(1).std(0) > 1.5 * close.mean(1).std(0)).all()


def test_a_picture_depends_on_seed_split_and_index_only() -> None:
    first = render_sample(5, "train", 7, "learn", 3, 64, False)
    again = render_sample(5, "train", 7, "learn", 3, 64, False)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    for changed in (
        render_sample(6, "train", 7, "learn", 3, 64, False),
        render_sample(5, "pretrain", 7, "learn", 3, 64, False),
        render_sample(5, "train", 8, "learn", 3, 64, False),
    ):
        assert (first.image != changed.image).mean() > 0.5


def test_worker_count_and_split_size_change_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_ALONE", 0)
    alone = opened(test=5)
    alone.prepare(workers=1)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    shared = opened(test=5)
    shared.prepare(workers=2)
    for one, two in zip(alone, shared, strict=True):
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.points, two.points)
        assert one.identity == two.identity
    longer = opened(test=6)
    assert torch.equal(longer[4].image, alone[4].image)
    assert longer.fingerprint != alone.fingerprint


def test_samples_have_the_declared_form() -> None:
    for count in (5, 68):
        dataset = opened(landmarks=count)
        sample = dataset[-1]
        assert sample.id == dataset.ids[-1] == "test-000005"
        assert sample.image.shape == (3, 64, 64)
        assert sample.image.dtype == torch.uint8
        assert sample.points.shape == (count, 2)
        assert sample.points.dtype == torch.float32
        assert sample.visible.shape == (count,)
        assert sample.visible.dtype == torch.bool
        assert sample.mask is not None
        assert sample.mask.shape == (64, 64)
        assert sample.box is not None
        assert sample.box.shape == (4,)
        assert len(dataset.schema.names) == count
        with pytest.raises(IndexError):
            dataset[len(dataset)]


def test_people_of_the_test_split_appear_nowhere_else() -> None:
    jobs = {s: Job(split=s, count=400, size=64, seed=0, wild=False) for s in ("pretrain", "train", "test")}
    people = {s: {(j.pool, j.person(i)) for i in range(j.count)} for s, j in jobs.items()}
    assert not people["test"] & (people["train"] | people["pretrain"])
    numbers = [jobs["test"].person(i) for i in range(400)]
    assert all(a != b for a, b in itertools.pairwise(numbers))
    assert set(np.bincount(numbers)) == {10}
    first, other = draw_identity(0, "learn", 4), draw_identity(0, "test", 4)
    assert first.shape != other.shape


def test_opening_is_free_of_rendering(tmp_path: Path) -> None:
    dataset = opened("pretrain", pretrain=100_000)
    assert len(dataset.ids) == len(set(dataset.ids)) == 100_000
    assert len(dataset.fingerprint) == 64
    assert dataset.schema.normaliser == ((0,), (1,))
    assert list(tmp_path.iterdir()) == []


def test_rendering_processes_do_not_load_torch() -> None:
    code = (
        "import sys, datasets.procedural.worker, datasets.synthetic_faces.job; print('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "False"


def test_fingerprints_differ_where_results_could() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"size": 96},
        {"landmarks": 68},
        {"seed": 1},
        {"wild": True},
        {"test": 7},
    ]
    prints = [opened("test", **change).fingerprint for change in changes] + [opened("train").fingerprint]
    assert len(set(prints)) == len(prints)
    assert opened().fingerprint == opened(train=99).fingerprint


def test_wrong_use_is_explained() -> None:
    provider = SyntheticFacesProvider()
    with pytest.raises(BenchError, match="trian") as caught:
        provider.open("trian", None, SyntheticFacesOptions())
    assert "'train'" in str(caught.value)
    with pytest.raises(BenchError, match="location"):
        provider.open("train", "/somewhere", SyntheticFacesOptions())
    with pytest.raises(ValidationError):
        SyntheticFacesOptions.model_validate({"landmark": 5})
    assert provider.evaluation_splits(None, SyntheticFacesOptions()) == ("train", "test")
    assert provider.pretraining_splits(None, SyntheticFacesOptions()) == ("pretrain", "train")
    assert provider.validation_split(None, SyntheticFacesOptions()) == "pretrain"
