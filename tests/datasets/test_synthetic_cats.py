"""The procedural cats: geometry, visibility, identities, correspondences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench.errors import BenchError
from bench.progress import Progress
from bench.seeds import numpy_generator
from bench.surfaces import match_surfaces
from datasets.procedural.category import Shot
from datasets.procedural.dataset import RenderedDataset
from datasets.procedural.mesh import grid_normals
from datasets.procedural.provider import ProceduralOptions
from datasets.procedural.renderer import Rendering, render
from datasets.procedural.samples import SUPERSAMPLING
from datasets.procedural.surface import shot_surface
from datasets.synthetic_cats import SyntheticCatsProvider, layout
from datasets.synthetic_cats.cat import draw_cat
from datasets.synthetic_cats.category import Cats
from datasets.synthetic_cats.deformation import displace, movements, traits
from datasets.synthetic_cats.template import template

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 96
CATS = Cats()


def staged(index: int, *, wild: bool = False, split: str = "train", seed: int = 0) -> Shot:
    return CATS.shot(CATS.take(seed, split, index, wild))


def rendered(shot: Shot, size: int = SIZE) -> Rendering:
    return render(shot, size, numpy_generator(0, "test", "grain"))


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RenderedDataset:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    dataset = SyntheticCatsProvider().open("test", None, ProceduralOptions(size=48, test=4))
    dataset._progress = Progress.silent()
    return dataset


def test_samples_are_complete(opened: RenderedDataset) -> None:
    assert opened.ids == tuple(f"test-{i:06d}" for i in range(4))
    for sample in opened:
        assert sample.mask is not None
        assert sample.box is not None
        assert sample.image.shape == (3, 48, 48)
        assert sample.points.shape == (9, 2)
        assert ((sample.points >= 0) & (sample.points <= 48)).all()
        inside = sample.points[sample.visible]
        assert (inside >= sample.box[:2]).all()
        assert (inside <= sample.box[2:]).all()
        rows, columns = np.nonzero(sample.mask.numpy())
        x0, y0, x1, y1 = sample.box.tolist()
        assert columns.min() + 1 >= x0
        assert columns.max() <= x1
        assert rows.min() + 1 >= y0
        assert rows.max() <= y1
    assert opened.schema.names == layout.NAMES
    assert opened.schema.normaliser == ((0,), (1,))


def test_wrong_locations_and_splits_are_named() -> None:
    provider = SyntheticCatsProvider()
    assert provider.splits(None, ProceduralOptions()) == ("pretrain", "train", "test")
    with pytest.raises(BenchError, match="no split 'tets'"):
        provider.open("tets", None, ProceduralOptions())
    with pytest.raises(BenchError, match="lies nowhere"):
        provider.open("test", "somewhere", ProceduralOptions())


def test_pictures_depend_on_their_arguments_alone() -> None:
    first, again = rendered(staged(3)), rendered(staged(3))
    for name in ("image", "points", "visible", "mask", "box"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    for other in (staged(3, split="pretrain"), staged(3, seed=1), staged(3, wild=True), staged(4)):
        assert not np.array_equal(rendered(other).image, first.image)


def test_an_individual_is_the_same_in_all_its_pictures_and_in_one_pool() -> None:
    def shape(split: str, index: int) -> tuple[float, ...]:
        take = CATS.take(0, split, index, wild=False)
        return tuple(draw_cat(take.individual_generator(CATS.name, "cat")).shape.values())

    learned = [shape("train", i) for i in range(10)]
    assert learned == [shape("train", i + 10) for i in range(10)]
    assert learned == [shape("pretrain", i) for i in range(10)]
    assert len({*learned, *(shape("test", i) for i in range(10))}) == 20


def test_the_template_is_symmetric_and_holds_the_landmarks() -> None:
    cat = template()
    points = cat.landmarks(cat.vertices)
    mirrored = points[list(layout.MIRROR)] * np.array([-1, 1, 1])
    np.testing.assert_allclose(points, mirrored, atol=1e-4)  # the cells' diagonals are not mirrored
    x, y = layout.EYE
    np.testing.assert_allclose(points[:3, :2], [(-x, y), (x, y), layout.MOUTH], atol=1e-5)
    ear_points = np.asarray((layout.EAR_OUTER, layout.EAR_TIP, layout.EAR_INNER))
    assert np.linalg.norm(points[3:6] - ear_points, axis=1).max() < 0.15
    assert np.argmin(points[3:6, 1]) == 1
    middle = cat.vertices[cat.head.part].mean(0)
    outward = grid_normals(cat.vertices[cat.head.part], cat.head.rows, cat.head.columns)
    away = cat.vertices[cat.head.part] - middle
    assert ((outward * away).sum(1) > 0).mean() > 0.98


def test_individuals_and_movements_keep_landmarks_on_the_surface() -> None:
    cat = template()
    fields = traits() | movements()
    for name, field in fields.items():
        moved = displace(cat.vertices, fields, {name: 1.0})
        np.testing.assert_allclose(
            cat.landmarks(moved) - cat.landmarks(cat.vertices), cat.landmarks(field), atol=1e-6
        )
    shut = displace(cat.vertices, movements(), {"shut_left": 1.0})[cat.head.part]
    rest = cat.vertices[cat.head.part]
    x, y, z = rest.T
    lids = (np.abs(x + layout.EYE[0]) < 0.04) & (np.abs(y) < 0.19) & (z > 0)
    assert np.ptp(shut[lids, 1]) < 0.25 * np.ptp(rest[lids, 1])
    untouched = x > 1.3
    np.testing.assert_allclose(shut[untouched], rest[untouched], atol=1e-3)
    opened = displace(cat.vertices, movements(), {"jaw_open": 1.0})
    assert np.linalg.norm(cat.landmarks(opened) - cat.landmarks(cat.vertices), axis=1).max() < 0.06
    chin = np.argmin(np.hypot(x, y - 1.05) - z)
    assert opened[chin, 1] - rest[chin, 1] > 0.3


def test_landmarks_have_the_same_surface_coordinates_on_every_cat() -> None:
    expected = template().landmarks(template().vertices)
    seen, missed = 0, []
    for index in range(6):
        shot = staged(index)
        picture = rendered(shot)
        surface = shot_surface(shot, SIZE)
        for k in np.flatnonzero(picture.visible[:3]):
            column, row = np.floor(picture.points[k]).astype(int)
            at = np.flatnonzero(surface.pixel == row * SIZE + column)
            assert len(at) == 1
            step = picture.points[k] - surface.centres[at[0]]
            here = surface.coordinates[at[0]] + surface.slope[at[0]] @ step
            missed.append(np.linalg.norm(here - expected[k]) / np.linalg.norm(surface.slope[at[0]]))
            seen += 1
    assert seen >= 12
    # In pixels; where an edge of the mesh lies between the pixel's centre and the landmark, the slope changes.
    assert np.median(missed) < 0.02
    assert max(missed) < 1.0


def test_correspondences() -> None:
    shots = [staged(i) for i in range(8)]
    maps = [shot_surface(shot, SIZE) for shot in shots]
    same = match_surfaces(maps[0], maps[0])
    assert len(same.source) > 0.95 * len(maps[0].pixel)
    assert np.linalg.norm(same.source - same.target, axis=1).max() < 1.0
    assert np.median(np.linalg.norm(same.source - same.target, axis=1)) < 1e-6
    pictures = [rendered(shot) for shot in shots]
    errors = []
    for source, target, from_map, to_map in zip(pictures, pictures[1:], maps, maps[1:], strict=False):
        found = match_surfaces(from_map, to_map)
        for k in np.flatnonzero(source.visible & target.visible)[:3]:
            away = np.linalg.norm(found.source - source.points[k], axis=1)
            nearest = int(np.argmin(away))
            if away[nearest] <= 1:
                errors.append(np.linalg.norm(found.target[nearest] - target.points[k]))
    assert len(errors) >= 10
    assert np.median(errors) < 1.2


def hidden(shot: Shot, places: npt.NDArray[np.float64], tolerance: float) -> list[bool]:
    """Whether a front face lies over points (N, 3) of the view: by the definition, triangle by triangle, in float64."""
    answers = np.zeros(len(places), dtype=bool)
    own = shot.subject.pieces
    for number, piece in enumerate((*own, *shot.others)):
        allowed = tolerance if number < len(own) and piece.figure else 0.0
        corners = piece.vertices.astype(np.float64)[piece.triangles]
        low, high = places.min(0), places.max(0)
        near = (corners[..., :2].max(1) >= low[:2]).all(1) & (corners[..., :2].min(1) <= high[:2]).all(1)
        for (ax, ay, az), (bx, by, bz), (cx, cy, cz) in corners[near]:
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if area <= 1e-12:
                continue
            x, y, z = places.T
            b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
            c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
            depth = az + b * (bz - az) + c * (cz - az)
            answers |= (b >= 0) & (c >= 0) & (b + c <= 1) & (depth > z + allowed)
    return answers.tolist()


def test_visibility_against_rays() -> None:
    agreed = {True: 0, False: 0}
    for index in (*range(12), *range(60, 66)):
        shot = staged(index, wild=index % 3 == 0)
        if shot.foreground is not None:
            continue
        picture = rendered(shot)
        sample = 1.0 / (shot.scale * SIZE * SUPERSAMPLING)
        offsets = np.array([(dx, dy, 0.0) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]) * sample
        for k, landmark in enumerate(shot.subject.landmarks.astype(np.float64)):
            around = hidden(shot, landmark + offsets, float(shot.subject.tolerances[k]) + sample)
            # Only where a neighbourhood of one sample agrees is the answer beyond rounding.
            if len(set(around)) == 1:
                assert bool(picture.visible[k]) is not around[0], (index, layout.NAMES[k])
                agreed[around[0]] += 1
    assert agreed[True] >= 4
    assert agreed[False] >= 80


def test_the_mask_is_the_head_in_front_of_the_body() -> None:
    for index in range(4):
        shot = staged(index)
        head = [piece for piece in shot.subject.pieces if piece.figure]
        assert len(head) == 5
        assert all(np.isfinite(piece.surface).all() for piece in head)
        assert all(np.isnan(p.surface).all() for p in shot.subject.pieces if not p.figure)
        picture = rendered(shot)
        low, high = (f([f(p.vertices[:, :2], axis=0) for p in head], axis=0) for f in (np.min, np.max))
        bounds = (np.stack([low, high]) * shot.scale + shot.centre) * SIZE
        rows, columns = np.nonzero(picture.mask)
        assert columns.min() >= np.floor(bounds[0, 0]) - 1
        assert columns.max() <= np.ceil(bounds[1, 0]) + 1
        assert rows.min() >= np.floor(bounds[0, 1]) - 1
        assert rows.max() <= np.ceil(bounds[1, 1]) + 1
        assert picture.mask.sum() > 0.08 * SIZE * SIZE


def test_wild_heads_are_small_and_in_different_places() -> None:
    boxes = np.stack([rendered(staged(i, wild=True), 64).box for i in range(8)])
    crops = np.stack([rendered(staged(i), 64).box for i in range(4)])
    assert (boxes[:, 2:] - boxes[:, :2]).max() < (crops[:, 2:] - crops[:, :2]).max()
    assert np.ptp((boxes[:, 0] + boxes[:, 2]) / 2) > 16


def test_rendering_needs_no_torch() -> None:
    code = "import sys; import datasets.synthetic_cats.category; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
