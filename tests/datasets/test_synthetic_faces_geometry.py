"""The procedural faces: names of landmarks, shape, projection, what hides what."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import BenchError
from datasets.synthetic_faces import layout
from datasets.synthetic_faces.deformation import displace, movements, traits
from datasets.synthetic_faces.head import head_mesh
from tests.datasets.faces_on_stage import SIZE, YTF68, plain_capture, plain_person, rendered

# --- layout -----------------------------------------------------------------------------------------


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


# --- geometry ---------------------------------------------------------------------------------------


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
