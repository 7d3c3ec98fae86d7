"""The shared renderer on ellipsoids, whose geometry is known; the faces through the same doors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from bench.cli.data import app as data_app
from bench.errors import BenchError
from bench.landmarks import NoOptions
from bench.surfaces import HasSurface
from datasets.coco import CocoOptions, CocoProvider
from datasets.procedural import cache as disk
from datasets.procedural.category import Take
from datasets.procedural.framing import centred, framed
from datasets.procedural.job import CategoryJob, class_path
from datasets.procedural.provider import ProceduralOptions
from datasets.procedural.surface import shot_surface
from datasets.synthetic_faces import SyntheticFacesOptions, SyntheticFacesProvider
from datasets.synthetic_faces.job import Job
from tests.datasets.balls_on_stage import SIZE, BallsProvider, hits, opened, rendered, staged
from tests.datasets.procedural_balls import Balls, upper_half, wall

pytestmark = pytest.mark.usefixtures("own_cache")


# --- pictures -------------------------------------------------------------------------------------


def test_points_are_the_orthographic_projection_of_the_landmarks() -> None:
    shot = staged(0)
    expected = (shot.subject.landmarks[:, :2] * shot.scale + np.asarray(shot.centre)) * SIZE
    np.testing.assert_allclose(rendered(shot).points, expected, atol=1e-4)


def test_visibility_agrees_with_rays_through_the_landmarks() -> None:
    hidden = 0
    for index in range(12):
        shot = staged(index)
        landmarks = shot.subject.landmarks
        expected = []
        for (_, _, z), on_ray in zip(landmarks, hits(shot, landmarks[:, :2]), strict=True):
            own = max((float(depth) for piece, depth, _ in on_ray if piece == 0), default=-np.inf)
            other = max((float(depth) for piece, depth, _ in on_ray if piece > 0), default=-np.inf)
            expected.append(bool(own <= z + 0.05 and other <= z))
        assert rendered(shot).visible.tolist() == expected, index
        hidden += len(expected) - sum(expected)
    assert hidden > 15  # the back of every ball at least, and poles behind the other ball


def test_others_hide_and_are_not_part_of_the_mask() -> None:
    shot = staged(1)
    alone = rendered(replace(shot, others=[]))
    both = rendered(shot)
    assert both.mask.sum() < 0.95 * alone.mask.sum()
    assert not (both.mask & ~alone.mask).any()
    np.testing.assert_array_equal(both.box, alone.box)
    rows, columns = np.nonzero(alone.mask)
    tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(alone.box, tight, atol=1.0)


def test_the_mask_is_the_ellipse_that_an_ellipsoid_projects_to() -> None:
    shot = staged(0)
    turn, *_ = np.linalg.lstsq(shot.subject.pieces[0].surface, shot.subject.pieces[0].vertices)
    flat = turn[:, :2].T @ turn[:, :2]  # the outline is the image of the unit ball under this 2 x 3 map
    grid = (np.stack(np.meshgrid(*2 * [np.arange(SIZE)]), -1) + 0.5) / SIZE
    away = (grid - shot.centre) / shot.scale
    inside = np.einsum("ijk,kl,ijl->ij", away, np.linalg.inv(flat), away) <= 1
    assert (inside != rendered(shot).mask).mean() < 0.01


def test_foregrounds_hide_landmarks_mask_and_surface() -> None:
    shot = replace(staged(2), foreground=wall)
    result, free = rendered(shot), rendered(staged(2))
    assert not result.mask[:, : SIZE // 2].any()
    left = free.points[:, 0] < SIZE / 2
    assert free.visible[left].any()
    assert not result.visible[left].any()
    np.testing.assert_array_equal(result.visible[~left], free.visible[~left])
    assert (result.image[:, : SIZE // 2].mean((0, 1)) < free.image[:, : SIZE // 2].mean((0, 1))).all()
    assert (shot_surface(shot, SIZE).pixel % SIZE >= SIZE // 2).all()


def test_fragments_that_are_not_present_leave_holes() -> None:
    shot = staged(0)
    half = replace(shot.subject.pieces[0], present=upper_half)
    cut = replace(shot, subject=replace(shot.subject, pieces=[half]))
    surface = shot_surface(cut, SIZE)
    assert 0 < len(surface.pixel) < len(shot_surface(shot, SIZE).pixel)
    assert surface.coordinates[:, 1].max() < 0.02
    assert rendered(cut).box[3] < rendered(shot).box[3] - 5


def test_a_piece_that_is_no_figure_counts_as_something_else() -> None:
    shot = staged(0)
    prop = replace(shot.subject.pieces[0], figure=False)
    result = rendered(replace(shot, subject=replace(shot.subject, pieces=[prop])))
    assert not result.mask.any()


@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 3.0),
    centre=st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
)
@settings(max_examples=60, deadline=None)
def test_framed_points_lie_in_the_picture(seed: int, scale: float, centre: tuple[float, float]) -> None:
    points = np.random.default_rng(seed).normal(0, 1, (5, 3)).astype(np.float32)
    fitted, where = framed(points, scale, centre)
    assert fitted <= scale
    placed = points[:, :2] * fitted + np.asarray(where)
    assert placed.min() >= 0.02 - 1e-5
    assert placed.max() <= 0.98 + 1e-5
    assert framed(points, fitted, where) == pytest.approx((fitted, pytest.approx(where, abs=1e-5)))


def test_centred_puts_the_middle_of_the_bounds_where_asked() -> None:
    points = np.array([[0.0, 0.0, 5.0], [2.0, 4.0, 0.0], [1.0, 1.0, 1.0]], dtype=np.float32)
    assert centred(points, 0.1, (0.5, 0.6)) == pytest.approx((0.4, 0.4))


# --- data sets ------------------------------------------------------------------------------------


def test_samples_have_the_declared_form() -> None:
    dataset = opened("test")
    sample = dataset[-1]
    assert sample.id == dataset.ids[-1] == "test-000005"
    assert sample.image.shape == (3, SIZE, SIZE)
    assert sample.points.shape == (5, 2)
    assert sample.points.dtype == torch.float32
    assert sample.identity == "test-00005"
    assert sample.mask is not None
    assert sample.mask.dtype == torch.bool
    assert sample.box is not None
    assert dataset.schema.names == Balls.landmark_names
    assert isinstance(dataset, HasSurface)
    with pytest.raises(IndexError):
        dataset[6]
    with pytest.raises(IndexError):
        dataset.surface(6)


def test_processes_render_what_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = opened(train=4)
    alone.prepare(workers=1)
    monkeypatch.setattr(disk, "_ALONE", 0)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    together = opened(train=4)
    together.prepare(workers=2)
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.points, two.points)
        assert one.identity == two.identity


def test_a_shot_depends_on_its_take_only() -> None:
    first, again = rendered(staged(3)), rendered(staged(3))
    np.testing.assert_array_equal(first.image, again.image)
    take = Balls().take(0, "train", 3, False)
    shape = take.individual_generator("x").random()
    assert Take(0, "test", 99, take.pool, take.individual, True).individual_generator("x").random() == shape
    assert take.picture_generator("x").random() != replace(take, index=4).picture_generator("x").random()
    assert replace(take, pool="test").individual_generator("x").random() != shape


def test_individuals_of_training_and_test_are_different() -> None:
    category = Balls()
    learn = {(t.pool, t.individual) for t in (category.take(0, "train", i, False) for i in range(300))}
    held = {(t.pool, t.individual) for t in (category.take(0, "test", i, False) for i in range(300))}
    assert len(learn) == len(held) == 30
    assert not learn & held


def test_fingerprints_differ_where_results_could() -> None:
    changes: list[dict[str, object]] = [{}, {"size": 96}, {"seed": 1}, {"wild": True}, {"train": 7}]
    prints = {opened("train", **change).fingerprint for change in changes} | {opened("test").fingerprint}
    assert len(prints) == len(changes) + 1
    assert opened().fingerprint == opened(test=9).fingerprint


def test_keys_of_the_cache_stay_valid() -> None:
    """Renderings that lie on users' disks are found again; a change here means to render everything anew."""
    assert Job(split="test", count=300, size=128, seed=0, wild=False).key == "v1-test-3cfe26c63a02d011"
    job = CategoryJob(
        split="test", count=3, size=64, seed=0, wild=False, version=1, category=class_path(Balls), engine=1
    )
    assert json.loads(job.model_dump_json())["category"] == "tests.datasets.procedural_balls:Balls"


def test_wrong_use_is_explained() -> None:
    provider = BallsProvider()
    options = ProceduralOptions()
    with pytest.raises(BenchError, match="trian") as caught:
        provider.open("trian", None, options)
    assert "'train'" in str(caught.value)
    with pytest.raises(BenchError, match="location"):
        provider.open("train", "/somewhere", options)
    with pytest.raises(BenchError, match="ProceduralOptions"):
        provider.open("train", None, NoOptions())
    assert provider.pretraining_splits(None, options) == ("pretrain", "train")
    assert provider.splits(None, options) == ("pretrain", "train", "test")


# --- bench data render ----------------------------------------------------------------------------


def test_render_writes_a_folder_that_coco_reads(tmp_path: Path) -> None:
    output = tmp_path / "faces"
    arguments = ["synthetic-faces", "--count", "3", "--size", "64", "--seed", "4", "--split", "train"]
    command = ["render", *arguments, "--split", "test", "--surface", "-o", str(output), "-q", "--json"]
    done = CliRunner().invoke(data_app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "folders": [str(output / "train"), str(output / "test")],
        "images": 6,
    }
    chosen = SyntheticFacesOptions(size=64, seed=4, train=3)
    original = SyntheticFacesProvider().open("train", None, chosen)
    options = CocoOptions(occluded="drop")
    copy = CocoProvider().open("train", str(output), options)
    assert CocoProvider().evaluation_splits(str(output), options) == ("train", "test")
    assert copy.schema.names == original.schema.names
    assert copy.schema.flip_indices == original.schema.flip_indices
    assert copy.schema.normaliser == original.schema.normaliser
    for index, (read, sample) in enumerate(zip(copy, original, strict=True)):
        assert torch.equal(read.image, sample.image)
        assert read.identity == sample.identity
        assert torch.equal(read.visible, sample.visible)
        seen = sample.visible
        torch.testing.assert_close(read.points[seen], sample.points[seen], atol=1e-4, rtol=0)
        torch.testing.assert_close(read.box, sample.box, atol=1e-4, rtol=0)
        mask = np.asarray(Image.open(output / "train" / "masks" / f"{sample.id}.png")) > 0
        assert sample.mask is not None
        np.testing.assert_array_equal(mask, sample.mask.numpy())
        surface = np.load(output / "train" / "surface" / f"{sample.id}.npy")
        np.testing.assert_array_equal(surface, original.surface(index).image().astype(np.float32))
    again = CliRunner().invoke(data_app, command)
    assert isinstance(again.exception, BenchError)
    assert "exists" in str(again.exception)


def test_render_refuses_what_is_not_procedural(tmp_path: Path) -> None:
    done = CliRunner().invoke(data_app, ["render", "coco:somewhere", "-o", str(tmp_path)])
    assert isinstance(done.exception, BenchError)
    assert "coco is not rendered" in str(done.exception)
    wrong = CliRunner().invoke(
        data_app, ["render", "synthetic-faces", "--split", "tset", "-o", str(tmp_path)]
    )
    assert isinstance(wrong.exception, BenchError)
    assert "'test'" in str(wrong.exception)
