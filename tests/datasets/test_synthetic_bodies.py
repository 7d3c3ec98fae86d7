"""The procedural signers: skeleton, motion, meshes, visibility, clips, identities, correspondences."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from bench.errors import BenchError
from bench.progress import Progress
from bench.seeds import numpy_generator
from bench.surfaces import match_surfaces
from datasets import bbcpose
from datasets.procedural.category import Shot
from datasets.procedural.provider import ProceduralOptions
from datasets.procedural.renderer import Rendering, render
from datasets.procedural.samples import SUPERSAMPLING
from datasets.procedural.surface import shot_surface
from datasets.synthetic_bodies import SyntheticBodiesProvider
from datasets.synthetic_bodies.arms import arm_mesh, wrist_frame
from datasets.synthetic_bodies.category import CLIPS, FRAMES, SyntheticBodies
from datasets.synthetic_bodies.hands import REST, SHAPES, HandPose, hand_mesh
from datasets.synthetic_bodies.motion import Moment, Signing
from datasets.synthetic_bodies.person import JOINTS, person
from datasets.synthetic_bodies.signer import draw_outfit, draw_signer
from datasets.synthetic_bodies.skeleton import SIDES, Build, bent_arm, rest_arm
from datasets.synthetic_bodies.torso import trunk_mesh
from datasets.synthetic_bodies.tubes import Mesh

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 96
BODIES = SyntheticBodies()
HEAD, RIGHT_WRIST, LEFT_WRIST, RIGHT_ELBOW, LEFT_ELBOW, RIGHT_SHOULDER, LEFT_SHOULDER = range(7)

Float = npt.NDArray[np.floating]


def staged(index: int, *, wild: bool = False, split: str = "train", seed: int = 0) -> Shot:
    return BODIES.shot(BODIES.take(seed, split, index, wild))


def rendered(shot: Shot, size: int = SIZE) -> Rendering:
    return render(shot, size, numpy_generator(0, "test", "grain"))


def standing(wrists: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Shot:
    """A clip's first frame with the wrists elsewhere, hands flat, facing the viewer, nothing in front."""
    take = BODIES.take(0, "train", 0, False)
    signer = draw_signer(take)
    signer = replace(signer, build=Build(), face=replace(signer.face, hair_style="bald"))
    outfit = draw_outfit(numpy_generator(0, "test", "outfit"), signer)
    hands = (HandPose(np.array(SHAPES["flat"])), HandPose(np.array(SHAPES["flat"])))
    zero = np.zeros(3)
    moment = Moment(np.asarray(wrists), np.zeros(2), np.zeros(2), hands, zero, zero, {}, (0.0, 0.0))
    subject = person(signer, outfit, moment, legs=False)
    return replace(staged(0), subject=subject, scale=0.1, centre=(0.5, 0.45), foreground=None)


# --- skeleton -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", [(0.4, 1.0, 2.5), (3.0, -2.0, 1.0), (2.2, 4.5, 0.3), (9.0, 9.0, 9.0)])
def test_bones_keep_their_lengths(side: float, target: tuple[float, float, float]) -> None:
    build = Build(upper_arm=3.1, forearm=2.4)
    goal = np.array(target) * (side, 1, 1)
    arm = bent_arm(build, side, goal, 0.4, 0.0)
    assert np.linalg.norm(arm.elbow - arm.shoulder) == pytest.approx(3.1)
    assert np.linalg.norm(arm.wrist - arm.elbow) == pytest.approx(2.4)
    if target[0] < 9:
        np.testing.assert_allclose(arm.wrist, goal, atol=1e-9)
    # The hinge is perpendicular to both bones and right-handed from the upper arm to the forearm.
    plane = np.cross(arm.elbow - arm.shoulder, arm.wrist - arm.elbow)
    np.testing.assert_allclose(plane / np.linalg.norm(plane), arm.hinge, atol=1e-6)


def test_lifting_the_elbow_moves_it_outwards_and_up() -> None:
    for side in SIDES:
        target = np.array([0.5 * side, 1.0, 2.5])
        low, high = (bent_arm(Build(), side, target, swivel, 0.0).elbow for swivel in (0.0, 0.8))
        assert side * high[0] > side * low[0] + 0.5
        assert high[1] < low[1] - 0.3


def test_left_and_right_mirror_each_other() -> None:
    mirror = np.array([-1.0, 1.0, 1.0])
    arms = [bent_arm(Build(), side, np.array([side * 0.9, 1.1, 2.4]), 0.3, 0.5) for side in SIDES]
    np.testing.assert_allclose(arms[0].elbow * mirror, arms[1].elbow, atol=1e-9)
    np.testing.assert_allclose(wrist_frame(arms[0]) * mirror, wrist_frame(arms[1]), atol=1e-9)
    hands = [
        hand_mesh(
            wrist_frame(arm), arm.wrist, HandPose(np.array(SHAPES["vee"]), 0.2, 0.1), 1.0, rest_wrist(side)
        )
        for arm, side in zip(arms, SIDES, strict=True)
    ]
    np.testing.assert_allclose(_sorted(hands[0].vertices * mirror), _sorted(hands[1].vertices), atol=1e-4)
    np.testing.assert_allclose(_sorted(hands[0].surface * mirror), _sorted(hands[1].surface), atol=1e-4)


def rest_wrist(side: float) -> tuple[Float, Float]:
    arm = rest_arm(Build(), side)
    return wrist_frame(arm), arm.wrist


def _sorted(points: npt.NDArray[np.floating]) -> Float:
    points = np.round(points.astype(np.float64), 4)
    return points[np.lexsort(points.T)]


# --- meshes ---------------------------------------------------------------------------------------


def _meshes() -> list[Mesh]:
    meshes = [trunk_mesh(Build(), 0.1, 1.0)]
    for side in SIDES:
        arm = bent_arm(Build(), side, np.array([0.8 * side, 0.5, 2.6]), 0.3, 0.6)
        meshes.append(arm_mesh(arm, Build(), 0.7, 0.1, 1.0))
        pose = HandPose(np.array(SHAPES["claw"]), 0.3, 0.0)
        meshes.append(hand_mesh(wrist_frame(arm), arm.wrist, pose, 1.0, rest_wrist(side)))
    return meshes


def test_meshes_face_outwards() -> None:
    for mesh in _meshes():
        corners = mesh.vertices[mesh.triangles].astype(np.float64)
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        agree = np.einsum("td,td->t", facing, mesh.normals[mesh.triangles].mean(1))
        assert (agree[np.linalg.norm(facing, axis=1) > 1e-6] > 0).mean() > 0.98
        # By the divergence theorem a closed mesh that faces outwards has a positive volume.
        corners = corners - mesh.vertices.mean(0)
        volume = np.einsum("td,td->t", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert volume > 0.05


def test_spots_of_the_template_do_not_depend_on_the_individual() -> None:
    slim, heavy = Build(girth=0.85, breadth=0.9, bust=0.4), Build(girth=1.2, breadth=1.15, hips=1.1)
    np.testing.assert_array_equal(trunk_mesh(slim, 0.1, 0.0).surface, trunk_mesh(heavy, 0.2, 2.0).surface)
    for side in SIDES:
        bent, straight = (
            bent_arm(build, side, np.array([x * side, y, 2.0]), 0.5, turn)
            for build, x, y, turn in ((slim, 0.2, 1.0, 1.0), (heavy, 3.0, 2.0, -0.5))
        )
        first, second = arm_mesh(bent, slim, 1.0, 0.1, 0.0), arm_mesh(straight, heavy, 1.0, 0.0, 1.0)
        np.testing.assert_array_equal(first.surface, second.surface)


def test_fingers_of_the_template_are_apart() -> None:
    frame, wrist = rest_wrist(-1.0)
    mesh = hand_mesh(frame, wrist, REST, 1.0, (frame, wrist))
    np.testing.assert_allclose(mesh.vertices, mesh.surface, atol=1e-5)
    tips = mesh.surface.reshape(-1, 3)[8 * 13 :].reshape(5, 10, 8, 3)[:, 4:]  # the outer half of each finger
    for one in range(5):
        for other in range(one):
            apart = np.linalg.norm(tips[one].reshape(-1, 1, 3) - tips[other].reshape(1, -1, 3), axis=-1)
            assert apart.min() > 0.02


# --- motion ---------------------------------------------------------------------------------------


def test_motion_is_continuous_and_ends_somewhere_else() -> None:
    signing = Signing(numpy_generator(3, "test", "motion"), 0, 1.0, 2.56)
    times = np.arange(0.0, 2.5, 0.005)
    moments = [signing.at(float(time)) for time in times]
    wrists = np.stack([moment.wrists for moment in moments])
    steps = np.linalg.norm(np.diff(wrists, axis=0), axis=-1)
    assert steps.max() < 0.2  # 4 m/s
    assert np.ptp(wrists, axis=0).max() > 1.0
    states = np.stack(
        [np.concatenate([m.head, m.trunk, m.swivels, m.turns, m.hands[0].shape]) for m in moments]
    )
    assert np.abs(np.diff(states, axis=0)).max() < 2.0


def test_consecutive_frames_show_one_signer_in_one_outfit_and_place() -> None:
    shots = [staged(index) for index in range(FRAMES - 2, FRAMES + 2)]
    within = [np.abs(a.subject.landmarks - b.subject.landmarks).max() for a, b in itertools.pairwise(shots)]
    assert 0 < within[0] < 4.0
    light = [shot.light.direction for shot in shots]
    np.testing.assert_array_equal(light[0], light[1])
    assert not np.array_equal(light[1], light[2])  # the next clip
    assert [BODIES.individual("train", i) for i in (0, FRAMES, FRAMES * CLIPS - 1, FRAMES * CLIPS)] == [
        0,
        0,
        0,
        1,
    ]


def test_signers_are_their_own_in_every_split_and_the_same_in_all_their_pictures() -> None:
    def trait(split: str, index: int, seed: int = 0) -> tuple[float, ...]:
        signer = draw_signer(BODIES.take(seed, split, index, False))
        return (signer.build.upper_arm, *signer.face.skin)

    assert trait("train", 0) == trait("train", FRAMES * CLIPS - 1)
    people = [trait(split, i * FRAMES * CLIPS) for split in ("pretrain", "train", "test") for i in range(4)]
    assert len({*people, trait("train", 0, seed=1)}) == 13


# --- pictures -------------------------------------------------------------------------------------


def test_names_are_those_of_bbc_pose() -> None:
    assert JOINTS == bbcpose.JOINTS
    assert BODIES.flip_indices == bbcpose.SCHEMA.flip_indices


def test_a_picture_depends_on_its_number_and_nothing_else() -> None:
    first = rendered(staged(5))
    staged(3)
    again, other = rendered(staged(5)), rendered(staged(5, seed=1))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("wild", [False, True])
def test_annotation_fits_the_picture(wild: bool) -> None:
    for index in range(4, 200, 25):
        shot = staged(index, wild=wild, split="pretrain")
        picture = rendered(shot)
        assert ((picture.points >= 0) & (picture.points < SIZE)).all()
        x0, y0, x1, y1 = picture.box
        assert ((picture.points >= (x0, y0)) & (picture.points <= (x1, y1))).all()
        rows, columns = np.nonzero(picture.mask)
        assert columns.min() >= x0 - 1
        assert columns.max() <= x1 + 1
        assert rows.min() >= y0 - 1
        assert rows.max() <= y1 + 1
        share = picture.mask.mean()
        assert 0.01 < share < 0.2 if wild else 0.12 < share < 0.7
        # A visible joint lies within the figure, up to a pixel at its border.
        around = ndimage.binary_dilation(picture.mask, np.ones((3, 3), dtype=bool))
        column, row = picture.points[picture.visible].astype(int).T
        assert around[row, column].all()


def _nearest_at(
    place: Float, pieces: Sequence[tuple[Float, npt.NDArray[np.signedinteger]]]
) -> tuple[float, int]:
    """Depth and piece of the nearest front-facing triangle over a place on the screen: every triangle is tried."""
    best, which = -np.inf, -1
    for number, (vertices, triangles) in enumerate(pieces):
        a, b, c = (vertices[triangles[:, i]] for i in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        front = area > 1e-9
        a, b, c, area = a[front], b[front], c[front], area[front]
        u = ((b[:, 0] - place[0]) * (c[:, 1] - place[1]) - (b[:, 1] - place[1]) * (c[:, 0] - place[0])) / area
        v = ((c[:, 0] - place[0]) * (a[:, 1] - place[1]) - (c[:, 1] - place[1]) * (a[:, 0] - place[0])) / area
        hit = (u >= 0) & (v >= 0) & (u + v <= 1)
        depth = np.where(hit, u * a[:, 2] + v * b[:, 2] + (1 - u - v) * c[:, 2], -np.inf)
        if len(depth) and depth.max() > best:
            best, which = float(depth.max()), number
    return best, which


@pytest.mark.parametrize("wild", [False, True])
def test_visibility_equals_that_of_rays(wild: bool) -> None:
    side, decided = SIZE * SUPERSAMPLING, []
    for index in (3, 40, 75, 104):
        shot = staged(index, wild=wild, split="test")
        # Ragged borders exist per fragment only: without hair, every triangle counts as a whole.
        subject = replace(shot.subject, pieces=[p for p in shot.subject.pieces if p.present is None])
        others = [piece for piece in shot.others if piece.present is None]
        shot = replace(shot, subject=subject, others=others, foreground=None)
        picture = rendered(shot)
        unit, pieces = shot.scale * side, [*subject.pieces, *others]
        offset = np.array([*shot.centre, 0.0]) * side
        screen = [(p.vertices.astype(np.float64) * unit + offset, p.triangles) for p in pieces]
        for joint, tolerance, visible in zip(
            subject.landmarks, subject.tolerances, picture.visible, strict=True
        ):
            place = joint.astype(np.float64) * unit + offset
            depth, piece = _nearest_at(np.floor(place[:2]) + 0.5, screen)
            own = 0 <= piece < len(subject.pieces)
            gap = depth - place[2] - (float(tolerance) * unit + 1.0 if own else 0.0)
            if (
                abs(gap) > 0.5
            ):  # half a sample: at a finger's edge, float32 may find the neighbouring triangle
                assert visible == (gap < 0)
                decided.append(bool(visible))
    assert len(decided) > 24
    assert 0 < sum(decided) < len(decided)


def test_what_is_held_in_front_hides_what_is_behind() -> None:
    hanging = rendered(standing(((-2.2, 4.0, 0.6), (2.2, 4.0, 0.6))))
    assert hanging.visible.all()
    before_face = rendered(standing(((-0.15, -1.2, 2.4), (2.2, 4.0, 0.6))))
    assert not before_face.visible[HEAD]
    assert before_face.visible[[RIGHT_WRIST, LEFT_WRIST, LEFT_SHOULDER]].all()
    behind_back = rendered(standing(((-0.4, 3.2, -1.6), (2.2, 4.0, 0.6))))
    assert not behind_back.visible[RIGHT_WRIST]
    assert behind_back.visible[[HEAD, LEFT_WRIST, LEFT_ELBOW]].all()


# --- surface coordinates --------------------------------------------------------------------------


def test_a_picture_corresponds_to_itself() -> None:
    surface = shot_surface(staged(20), SIZE)
    assert len(surface.pixel) > 0.08 * SIZE * SIZE
    pairs = match_surfaces(surface, surface)
    np.testing.assert_allclose(pairs.target, pairs.source, atol=1e-6)
    assert len(pairs.source) == len(surface.pixel)


def test_frames_and_signers_correspond() -> None:
    here, next_frame, other = (shot_surface(staged(index), SIZE) for index in (40, 41, 100))
    for target, share in ((next_frame, 0.5), (other, 0.1)):
        pairs = match_surfaces(here, target)
        assert len(pairs.source) > share * len(here.pixel)
        column, row = np.clip(np.floor(pairs.target), 0, SIZE - 1).astype(int).T
        source_column, source_row = np.floor(pairs.source).astype(int).T
        gap = here.image()[source_row, source_column] - target.image()[row, column]
        # The same spot up to the pixel in which it lies: a pixel is about a decimetre wide.
        assert np.nanmedian(np.linalg.norm(gap, axis=-1)) < 0.15


def test_clothes_on_the_body_have_coordinates_and_hair_has_none() -> None:
    shot = staged(0)
    known = [np.isfinite(piece.surface).all() for piece in shot.subject.pieces if piece.present is None]
    ragged = [np.isnan(piece.surface).all() for piece in shot.subject.pieces if piece.present is not None]
    assert sum(known) >= 6  # trunk, arms, hands, head
    assert all(ragged)


# --- the data set ---------------------------------------------------------------------------------


def test_the_provider_opens_disjoint_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    provider = SyntheticBodiesProvider()
    options = ProceduralOptions(size=48, test=3, train=3, wild=True)
    assert provider.pretraining_splits(None, options) == ("pretrain", "train")
    assert provider.evaluation_splits(None, options) == ("train", "test")
    identities = []
    for split in ("train", "test"):
        dataset = provider.open(split, None, options)
        dataset._progress = Progress.silent()
        assert dataset.ids == tuple(f"{split}-{i:06d}" for i in range(3))
        assert dataset.schema.names == JOINTS
        samples = list(dataset)
        assert all(sample.points.shape == (7, 2) for sample in samples)
        identities.append({sample.identity for sample in samples})
        surface = dataset.surface(1)
        mask = samples[1].mask
        assert mask is not None
        assert mask.numpy().reshape(-1)[surface.pixel].mean() > 0.85
    assert [len(found) for found in identities] == [1, 1]
    assert identities[0].isdisjoint(identities[1])
    with pytest.raises(BenchError, match="no split 'val'"):
        provider.open("val", None, options)


def test_rendering_needs_no_torch() -> None:
    code = "import sys, datasets.synthetic_bodies.category; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
