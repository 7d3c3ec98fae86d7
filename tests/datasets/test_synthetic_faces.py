"""The procedural faces: determinism, geometry, visibility, cache."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.contact_sheet import contact_sheet
from bench.errors import BenchError
from bench.progress import Progress
from bench.seeds import numpy_generator
from datasets.procedural import cache as disk
from datasets.procedural.rasteriser import rasterise
from datasets.procedural.renderer import Rendering
from datasets.synthetic_faces import SyntheticFaces, SyntheticFacesOptions, SyntheticFacesProvider, layout
from datasets.synthetic_faces.deformation import displace, movements, traits
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.job import Job
from datasets.synthetic_faces.renderer import head_surface, render, render_sample
from datasets.synthetic_faces.scene import Capture, Pose, draw_capture

REPOSITORY = Path(__file__).resolve().parents[2]
YTF68 = REPOSITORY.parent / "shared" / "data" / "ytf68" / "val" / "annotations.json"
SIZE = 96


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


def opened(split: str = "test", **options: object) -> SyntheticFaces:
    provider = SyntheticFacesProvider()
    chosen = SyntheticFacesOptions.model_validate(
        {"size": 64, "test": 6, "train": 6, "pretrain": 6} | options
    )
    dataset = provider.open(split, None, chosen)
    dataset._progress = Progress.silent()
    return dataset


def plain_person() -> Identity:
    """The mean head, bald, beardless and without glasses, so that nothing but the head hides anything."""
    person = draw_identity(0, "learn", 0)
    return replace(
        person, shape=dict.fromkeys(person.shape, 0.0), hair_style="bald", beard="none", glasses=None
    )


def plain_capture(yaw: float = 0.0, pitch: float = 0.0) -> Capture:
    capture = draw_capture(numpy_generator(0, "test", "capture"), wild=False)
    return replace(
        capture, pose=Pose(yaw=yaw, pitch=pitch), expression={}, gaze=(0.0, 0.0), hat=False, occluder=None
    )


def rendered(capture: Capture, person: Identity | None = None) -> Rendering:
    return render(person or plain_person(), capture, SIZE, numpy_generator(0, "test", "grain"))


# --- layout ---------------------------------------------------------------------------------------


def test_names_and_mirror_images_are_those_of_ytf68() -> None:
    if not YTF68.exists():
        pytest.skip("shared/data/ytf68 is not beside this checkout")
    category = json.loads(YTF68.read_text())["categories"][0]
    assert list(layout.NAMES_68) == category["keypoints"]
    assert list(layout.FLIP_68) == category["flip_indices"]


@pytest.mark.parametrize(
    ("names", "flip"), [(layout.NAMES_68, layout.FLIP_68), (layout.NAMES_5, layout.FLIP_5)]
)
def test_mirror_images_swap_right_and_left(names: tuple[str, ...], flip: tuple[int, ...]) -> None:
    assert sorted(flip) == list(range(len(names)))
    for i, j in enumerate(flip):
        assert flip[j] == i
        side, _, what = names[i].partition("_")
        if side in ("right", "left"):
            other, _, mirrored = names[j].partition("_")
            assert {side, other} == {"right", "left"}
            assert what.rstrip("01234") == mirrored.rstrip("01234")


def test_five_points_are_eye_means_nose_and_mouth_corners() -> None:
    points = np.random.default_rng(0).random((68, 2)).astype(np.float32)
    five = layout.five_points(points)
    np.testing.assert_allclose(five[0], sum(points[i] for i in range(36, 42)) / 6, rtol=1e-6)
    np.testing.assert_allclose(five[1], sum(points[i] for i in range(42, 48)) / 6, rtol=1e-6)
    np.testing.assert_array_equal(five[2:], points[[30, 48, 54]])
    seen = np.ones(68, dtype=np.bool_)
    seen[36:40] = False
    seen[54] = False
    assert layout.five_visible(seen).tolist() == [False, True, True, True, False]


# --- rasteriser -----------------------------------------------------------------------------------


def test_rasteriser_agrees_with_a_naive_loop() -> None:
    rng = np.random.default_rng(3)
    side = 24
    vertices = rng.uniform(-4, 28, (60, 3)).astype(np.float32)
    triangles = rng.integers(0, 60, (40, 3))
    got = rasterise(vertices, triangles, side)
    depth = np.full((side, side), -np.inf)
    owner = np.full((side, side), -1)
    for t, corners in enumerate(triangles):
        p = vertices[corners].astype(np.float64)
        area = np.linalg.det(np.stack([p[1, :2] - p[0, :2], p[2, :2] - p[0, :2]]))
        if area <= 1e-6:
            continue
        for i in range(side):
            for j in range(side):
                system = np.vstack([p[:, :2].T, np.ones(3)])
                w = np.linalg.solve(system, [j + 0.5, i + 0.5, 1.0])
                if w.min() >= 0 and w @ p[:, 2] > depth[i, j]:
                    depth[i, j], owner[i, j] = w @ p[:, 2], t
    mine = np.full(side * side, -1)
    mine[got.sample] = got.triangle
    assert (mine == owner.reshape(-1)).mean() > 0.99  # the rest lies on edges, within rounding
    shown = got.interpolate(vertices[:, 2:], triangles)[:, 0]
    same = got.triangle == owner.reshape(-1)[got.sample]
    np.testing.assert_allclose(shown[same], depth.reshape(-1)[got.sample][same], atol=2e-3)


# --- geometry -------------------------------------------------------------------------------------


def test_a_frontal_neutral_head_has_mirrored_landmarks() -> None:
    points = rendered(plain_capture()).points
    mirrored = points[list(layout.FLIP_68)]
    centre = points[27, 0]
    np.testing.assert_allclose(2 * centre - points[:, 0], mirrored[:, 0], atol=0.02)
    np.testing.assert_allclose(points[:, 1], mirrored[:, 1], atol=0.02)


def test_the_mean_face_is_shaped_like_real_faces() -> None:
    """Against the mean of near-frontal real annotation, in units of the distance of the outer eye corners."""
    if not YTF68.exists():
        pytest.skip("shared/data/ytf68 is not beside this checkout")
    content = json.loads(YTF68.read_text())
    frontal = {image["id"] for image in content["images"] if abs(image["yaw_proxy"]) < 0.06}
    real = []
    for annotation in content["annotations"]:
        if annotation["image_id"] in frontal:
            points = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)[:, :2]
            axis = points[45] - points[36]
            turn = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]]) / (axis @ axis)
            real.append((points - (points[36] + points[45]) / 2) @ turn.T)
    assert len(real) > 50
    ours = head_mesh().landmarks(head_mesh().vertices)[:, :2]
    distance = np.linalg.norm(np.mean(real, axis=0) - ours, axis=1)
    assert distance.max() < 0.16
    assert distance.mean() < 0.06


def test_projection_is_the_rotation_of_the_same_surface_points() -> None:
    """Weak perspective: landmarks of a turned head are an affine image of the 3D landmarks, to rounding."""
    capture = plain_capture(yaw=35, pitch=-12)
    points = rendered(capture).points.astype(np.float64)
    solid = head_mesh().landmarks(head_mesh().vertices).astype(np.float64)
    system = np.concatenate([solid, np.ones((68, 1))], axis=1)
    solution, *_ = np.linalg.lstsq(system, points, rcond=None)
    np.testing.assert_allclose(system @ solution, points, atol=1e-3)
    yaw, pitch = np.radians(35), np.radians(-12)
    expected_x = np.array([np.cos(yaw), 0.0, np.sin(yaw)]) * capture.scale * SIZE
    np.testing.assert_allclose(solution[:3, 0], expected_x, atol=1e-2)
    assert solution[1, 1] == pytest.approx(np.cos(pitch) * capture.scale * SIZE, abs=1e-2)


@pytest.mark.parametrize("yaw", [-60.0, 60.0])
def test_the_far_side_of_a_turned_head_is_hidden(yaw: float) -> None:
    """Positive yaw turns the face to the image's right, which hides the subject's left."""
    frontal, turned = rendered(plain_capture()).visible, rendered(plain_capture(yaw=yaw)).visible
    near, far = (range(7), range(10, 17)) if yaw > 0 else (range(10, 17), range(7))
    assert frontal.sum() >= 64
    assert not turned[list(far)].any()
    assert turned[list(near)].all()
    far_eye = slice(42, 48) if yaw > 0 else slice(36, 42)
    near_eye = slice(36, 42) if yaw > 0 else slice(42, 48)
    assert turned[near_eye].all()
    assert turned[far_eye].sum() < 6
    assert turned.sum() < frontal.sum() - 8


def test_hair_hides_brows_and_a_hand_hides_a_mouth() -> None:
    bald = rendered(plain_capture()).visible
    fringe = replace(plain_person(), hair_style="fringe", hair_length=1.0, hair_swing=0.0, hair_body=1.3)
    covered = rendered(plain_capture(), fringe)
    assert bald[17:27].all()
    assert covered.visible[17:27].sum() < 5
    assert covered.visible[31:68].all()
    hidden = []
    for seed in range(6):
        result = rendered(replace(plain_capture(), occluder="hand", occluder_seed=seed))
        hidden.append(68 - int(result.visible.sum()))
        assert result.mask.sum() < rendered(plain_capture()).mask.sum()
    assert max(hidden) > 8


def test_dark_glasses_hide_eyes_and_clear_ones_do_not() -> None:
    seen: dict[bool, list[int]] = {}
    for design in range(40):
        person = replace(plain_person(), glasses=design)
        result = rendered(replace(plain_capture(), glasses=True), person)
        eyes = int(result.visible[36:48].sum())
        seen.setdefault(eyes <= 2, []).append(eyes)
        if len(seen) == 2:
            break
    assert set(seen) == {True, False}
    assert max(seen[False]) >= 10


def test_movements_do_what_they_are_called() -> None:
    mesh = head_mesh()

    def moved(**coefficients: float) -> np.ndarray:
        return mesh.landmarks(displace(mesh.vertices, movements(), coefficients))

    rest = moved()
    shut = moved(blink=1.0)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert shut[lower, 1] - shut[upper, 1] < 0.15 * (rest[lower, 1] - rest[upper, 1])
    assert moved(jaw_open=1.0)[66, 1] - moved(jaw_open=1.0)[62, 1] > 0.2
    assert moved(jaw_open=1.0)[8, 1] - rest[8, 1] > 0.2
    np.testing.assert_allclose(moved(jaw_open=1.0)[17:48], rest[17:48], atol=0.02)
    smile = moved(smile_right=1.0, smile_left=1.0)
    assert smile[54, 0] - smile[48, 0] > rest[54, 0] - rest[48, 0] + 0.08
    assert smile[48, 1] < rest[48, 1]
    assert (moved(brows_up=1.0)[17:27, 1] < rest[17:27, 1]).all()


def test_an_unknown_trait_is_named() -> None:
    with pytest.raises(BenchError, match="nose_lenght") as caught:
        displace(head_mesh().vertices, traits(), {"nose_lenght": 1.0})
    assert "nose_length" in str(caught.value)


# --- samples --------------------------------------------------------------------------------------


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


# --- cache ----------------------------------------------------------------------------------------

_CHILD = """
from bench.progress import Progress
from datasets.procedural.cache import open_split
from datasets.synthetic_faces.job import Job
job = Job(split="test", count=6, size=64, seed=0, wild=False)
print(int(open_split(job, Progress.silent(), workers=1)["images"].sum(dtype="int64")))
"""


def test_two_processes_share_one_empty_cache(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(2)
    ]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert outputs[0] == outputs[1]
    assert int(outputs[0]) == sum(int(s.image.sum()) for s in opened())
    folders = [p for p in (tmp_path / "synthetic-faces").iterdir() if p.is_dir()]
    assert len(folders) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "manifest"])
def test_a_damaged_cache_is_rendered_again(tmp_path: Path, damage: str) -> None:
    whole = [sample.image for sample in opened()]
    (folder,) = (p for p in (tmp_path / "synthetic-faces").iterdir() if p.is_dir())
    target = folder / "images.npy"
    if damage == "truncated":
        os.truncate(target, target.stat().st_size // 2)
    elif damage == "flipped":
        content = bytearray(target.read_bytes())
        content[-10] ^= 0xFF
        target.write_bytes(bytes(content))
    elif damage == "missing":
        (folder / "points.npy").unlink()
    else:
        (folder / "manifest.json").write_text("{")
    for before, after in zip(whole, opened(), strict=True):
        assert torch.equal(before, after.image)


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    dataset = opened()
    abandoned = tmp_path / "synthetic-faces" / f".{dataset.job.key}.killed"
    abandoned.mkdir(parents=True)
    (abandoned / "images.npy").write_bytes(b"half")
    dataset.prepare(workers=1)
    assert not abandoned.exists()


def test_an_intact_cache_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened()[0].image

    def refuse(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(disk, "_render", refuse)
    assert torch.equal(opened()[0].image, before)


def test_a_failing_worker_is_reported_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_ALONE", 0)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(BenchError, match="rendering process failed"):
        opened().prepare(workers=2)
    assert [p for p in (tmp_path / "synthetic-faces").iterdir() if p.is_dir()] == []


# --- contact sheet --------------------------------------------------------------------------------


def test_contact_sheet_marks_landmarks() -> None:
    dataset = opened(landmarks=5)
    bare, marked = contact_sheet(dataset, 2, 4, landmarks=False), contact_sheet(dataset, 2, 4)
    assert bare.size == marked.size == (4 * 160, 2 * 160)
    difference = (np.asarray(bare).astype(int) != np.asarray(marked).astype(int)).any(-1)
    scale = 160 / 64
    for cell in range(6):
        row, column = divmod(cell, 4)
        sample = dataset[cell]
        for (x, y), seen in zip(sample.points.tolist(), sample.visible.tolist(), strict=True):
            if seen:
                assert difference[row * 160 + int(y * scale), column * 160 + int(x * scale)]
    assert not np.asarray(marked)[160:, 320:].any()
    with pytest.raises(BenchError, match="at least one"):
        contact_sheet(dataset, 0, 4)
