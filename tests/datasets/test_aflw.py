"""``aflw-m:FOLDER`` and ``aflw-r:FOLDER``: hand-checked coordinates, the released pipeline, and damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from bench.data_checks import verify_split
from bench.data_requirements import check_requirements
from bench.errors import BenchError
from bench.loading import PREPROCESSINGS, load_split
from bench.progress import Progress
from datasets.aflw import AflwMOptions, AflwMProvider, AflwROptions, AflwRProvider, SizedFaces
from datasets.aflw_lists import read_mtfl, read_recrop

Array = np.ndarray[Any, Any]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
# Left eye, right eye, nose, left mouth, right mouth: upright, 1-based.
FACE = np.array([[50.0, 60], [98, 62], [74.5, 90], [55.25, 110], [92, 109]])
PAGE = "<html><head><title>Quota exceeded</title></head></html>"
TEST_LIST, TABLE = "MTFL/testing.txt", "aflw_cropped/facedata_cropped.csv"
HEADER = "idx,image_file,face_id,crop_file," + ",".join(f"{a}{i}" for i in range(1, 6) for a in "xy") + ",set"

pytestmark = pytest.mark.usefixtures("own_cache")


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} does not lie beside this checkout")
    return path


def jittered(count: int, seed: int = 0) -> np.ndarray:
    return np.round(FACE + np.random.default_rng(seed).normal(0, 1, (count, 5, 2)), 2)


def picture(path: Path, seed: int, width: int = 150, height: int = 150) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


def mtfl_row(name: str, points: np.ndarray, attributes: str = "1 2 2 3") -> str:
    return f" AFLW\\{name} {' '.join(f'{v:g}' for v in points.T.reshape(-1))} {attributes}"


def crop_row(number: int, points: np.ndarray, chosen: int) -> str:
    values = ",".join(f"{v:g}" for v in points.reshape(-1))
    return f"{number},photo{number}.jpg,{number},cropped/face{number}.jpg,{values},{chosen}"


def write_m(root: Path, train: np.ndarray, test: np.ndarray, *, pictures: bool = True) -> Path:
    """Training faces are photo0.., test faces photo100..; the table has both, in sets 1 and 2."""
    table = [HEADER]
    table += [crop_row(i, points, 1) for i, points in enumerate(train)]
    table += [crop_row(100 + i, points, 2) for i, points in enumerate(test)]
    for i in range(len(train) if pictures else 0):
        picture(root / "aflw_cropped" / "cropped" / f"face{i}.jpg", i)
    for i in range(len(test) if pictures else 0):
        picture(root / "MTFL" / "AFLW" / f"{i:04}-photo{100 + i}.jpg", 100 + i)
    rows = [mtfl_row(f"{i:04}-photo{100 + i}.jpg", points) for i, points in enumerate(test)]
    for file in (TABLE, TEST_LIST):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / TABLE).write_text("\r\n".join(table) + "\r\n")
    (root / TEST_LIST).write_text("\n".join(rows))
    return root


def open_m(root: Path, split: str = "train", **options: Any) -> SizedFaces:
    options.setdefault("check_counts", False)
    return AflwMProvider().open(split, str(root), AflwMOptions(**options))


def write_r_lists(root: Path, part: str, names: list[str], points: np.ndarray, sizes: np.ndarray) -> None:
    """``points`` as (x, y), ``sizes`` as (width, height)."""
    root.mkdir(parents=True, exist_ok=True)
    (root / f"aflw_{part}_images.txt").write_text("\n".join(names))
    content = {"gt": points[:, :, ::-1], "hw": sizes[:, ::-1]}
    scipy.io.savemat(root / f"aflw_{part}_keypoints.mat", content)


def write_r(
    root: Path, train: int = 20, width: int = 150, height: int = 149, *, pictures: bool = True
) -> Path:
    for part, count, folder in (("train", train, "0"), ("test", 12, "2")):
        names = [f"{folder}/image{i:05}_{i}.jpg" for i in range(count)]
        for i, name in enumerate(names if pictures else []):
            picture(root / "output" / name, i + 50 * int(folder), width, height)
        sizes = np.tile([width, height], (count, 1))
        write_r_lists(root, part, names, jittered(count, seed=int(folder)), sizes)
    return root


def open_r(root: Path, split: str = "train", **options: Any) -> SizedFaces:
    options.setdefault("check_counts", False)
    return AflwRProvider().open(split, str(root), AflwROptions(**options))


def test_mtfl_fixture() -> None:
    folder = shared("fixtures", "mtfl_synthetic")
    training = read_mtfl(folder / "training.txt")
    assert training.paths == ("lfw_5590/Aaron_Eckhart_0001.jpg", "net_7876/0_0_0.jpg")
    assert training.points[0].tolist() == [
        [107.25, 108.75],
        [147.75, 113.25],
        [126.25, 143.75],
        [106.25, 158.75],
        [140.75, 162.75],
    ]
    testing = read_mtfl(folder / "testing.txt")
    assert (testing.paths, testing.originals) == (("AFLW/0001-image20056.jpg",), ("image20056.jpg",))
    assert testing.points[0, 2].tolist() == [74.5, 84.5]


def test_recrop_fixture(tmp_path: Path) -> None:
    folder = shared("fixtures", "aflw_recrop_synthetic")
    faces = read_recrop(folder / "aflw_test_images.txt", folder / "aflw_test_keypoints.mat")
    assert faces.paths == ("0/image13759_58891.jpg", "2/image01165_55562.jpg")
    assert faces.sizes is not None
    assert faces.sizes.tolist() == [[150, 150], [151, 149]]
    root = write_r(tmp_path)
    for file in folder.iterdir():
        (root / file.name).unlink()
        shutil.copyfile(file, root / file.name)
    picture(root / "output" / "0" / "image13759_58891.jpg", 1, 150, 150)
    sample = open_r(root, "test")[0]
    # gt has (20.7, 104.99) as (y, x), 0-based.
    assert sample.points[0].tolist() == pytest.approx([105.49, 21.2], abs=1e-4)
    assert sample.points[4].tolist() == pytest.approx([86.75, 84.05], abs=1e-4)


def test_coordinates_by_hand(tmp_path: Path) -> None:
    train, test = jittered(12), jittered(11, seed=1)
    train[3], test[5] = FACE, FACE + 0.5
    root = write_m(tmp_path, train, test)
    assert open_m(root)[3].id == "cropped/face3.jpg"
    assert open_m(root)[3].points.tolist() == (FACE - 0.5).tolist()
    sample = open_m(root, "test")[5]
    assert sample.id == "AFLW/0005-photo105.jpg"
    assert sample.points.tolist() == FACE.tolist()
    assert sample.visible.all()
    schema = open_m(root).schema
    assert schema.names == ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    assert schema.normaliser == ((0,), (1,))
    assert schema.flip_indices == (1, 0, 2, 4, 3)


def normalised(images: Array) -> Array:
    mean = np.array([0.5084, 0.4224, 0.3769])[:, None, None]
    std = np.array([0.2599, 0.2371, 0.2323])[:, None, None]
    scaled: Array = (images / 255 - mean) / std
    return scaled


@pytest.mark.parametrize(("preprocessing", "side"), [("dve-70", 100), ("contrast-96", 136)])
def test_released_pipeline(preprocessing: str, side: int, tmp_path: Path) -> None:
    """What the released loaders gave for one image of each list."""
    golden = np.load(shared("goldens", "dve", "f_pipeline.npz"))
    train = golden["aflwM_train_row0_x1y1_x5y5"].reshape(1, 5, 2)
    test = golden["aflwM_test_row0_x1x5_y1y5"].reshape(2, 5).T[None]
    m = write_m(tmp_path / "m", train, test)
    files = {"train": "aflw_cropped/cropped/face0.jpg", "test": "MTFL/AFLW/0000-photo100.jpg"}
    for split, file in files.items():
        Image.fromarray(golden[f"aflwM_{split}_image0_u8"]).save(m / file, "PNG")
    r = write_r(tmp_path / "r")
    points, size = golden["aflwR_gt0"][None, :, ::-1], golden["aflwR_hw0"][None, ::-1]
    write_r_lists(r, "test", ["3/a.jpg"], points, size)
    picture(r / "output" / "3" / "a.jpg", 0)
    Image.fromarray(golden["aflwR_image0_u8"]).save(r / "output" / "3" / "a.jpg", "PNG")
    for name, dataset in (
        ("aflwM_train", open_m(m, "train")),
        ("aflwM_test", open_m(m, "test")),
        ("aflwR", open_r(r, "test")),
    ):
        loaded = load_split(dataset, PREPROCESSINGS[preprocessing]).cropped()
        pixels = normalised(loaded.images[0].numpy())[:, ::3, ::3]
        difference = np.abs(pixels - golden[f"{name}_{side}__data0_s3"])
        assert difference.max() < 0.0175  # one level of 255: the resize rounds elsewhere than Pillow
        assert (difference < 1e-5).mean() > 0.97
        np.testing.assert_allclose(loaded.points[0].numpy() - 0.5, golden[f"{name}_{side}__kp0"], atol=1e-4)


def test_published_sizes_are_insisted_on(tmp_path: Path) -> None:
    m, r = write_m(tmp_path / "m", jittered(12), jittered(11)), write_r(tmp_path / "r")
    with pytest.raises(BenchError, match=r"found 12, published 10,122"):
        open_m(m, check_counts=True)
    with pytest.raises(BenchError, match=r"aflw_train_images\.txt: found 20, published 10,122"):
        open_r(r, "test", check_counts=True)
    needed = {q.path: q.count for q in AflwMProvider().requirements(AflwMOptions())}
    assert needed == {
        TEST_LIST: 2995,
        "MTFL/AFLW": 2995,
        TABLE: None,
        "aflw_cropped/cropped": 10122,
    }
    counts = {q.path: q.count for q in AflwRProvider().requirements(AflwROptions())}
    assert (counts["aflw_train_images.txt"], counts["aflw_test_images.txt"]) == (10122, 2991)
    assert [counts[f"output/{k}"] for k in (0, 2, 3)] == [7074, 2993, 2918]


def test_validation_is_the_last_tenth(tmp_path: Path) -> None:
    root = write_r(tmp_path, train=25)
    everything, val = open_r(root), open_r(root, "val")
    assert (len(everything), val.ids) == (25, everything.ids[23:])
    assert open_r(root, hold_out_val=True).ids == everything.ids[:23]
    assert open_r(root, "val", hold_out_val=True).ids == val.ids
    assert val[0].points.tolist() == everything[23].points.tolist()


def test_repeats_count_as_published_but_have_ids_of_their_own(tmp_path: Path) -> None:
    root = write_r(tmp_path)
    names = [f"2/image{i:05}_{i}.jpg" for i in (0, 1, 0, 0)]
    write_r_lists(root, "test", names, jittered(4), np.tile([150, 149], (4, 1)))
    dataset = open_r(root, "test")
    assert dataset.ids == (names[0], names[1], f"{names[0]}#2", f"{names[0]}#3")
    np.testing.assert_array_equal(dataset[0].image, dataset[3].image)
    assert len(load_split(dataset, PREPROCESSINGS["dve-70"])) == 4


def test_points_follow_a_copy_of_another_size(tmp_path: Path) -> None:
    root = write_r(tmp_path)
    original = open_r(root)[2]
    picture(root / "output" / "0" / "image00002_2.jpg", 2, 300, 298)
    larger = open_r(root)[2]
    np.testing.assert_allclose(larger.points, 2 * original.points, atol=1e-4)
    picture(root / "output" / "0" / "image00002_2.jpg", 2, 150, 120)
    with pytest.raises(BenchError, match=r"image00002_2\.jpg is 150 x 120, its points are for 150 x 149"):
        open_r(root)[2]
    m = write_m(tmp_path / "m", jittered(12), jittered(11))
    picture(m / "MTFL" / "AFLW" / "0000-photo100.jpg", 2, 150, 120)
    with pytest.raises(BenchError, match=r"photo100\.jpg is 150 x 120, its points are for 150 x 150"):
        open_m(m, "test")[0]


def test_half_unpacked_and_damaged_images_are_named(tmp_path: Path) -> None:
    root = write_m(tmp_path, jittered(12), jittered(11))
    folder = root / "aflw_cropped" / "cropped"
    (folder / "face4.jpg").unlink()
    whole = (folder / "face5.jpg").read_bytes()
    (folder / "face5.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = open_m(root)
    assert len(dataset) == 12
    with pytest.raises(BenchError, match=r"face4\.jpg is missing"):
        dataset[4]
    with pytest.raises(BenchError, match=r"face5\.jpg is damaged"):
        dataset[5]
    with pytest.raises(BenchError, match=r"face4\.jpg is missing"):
        load_split(dataset, PREPROCESSINGS["dve-70"])


def test_verification_finds_what_is_wrong(tmp_path: Path) -> None:
    """The hall's own checks on a copy whose files are fewer than published, and on its samples."""
    root = write_r(tmp_path)
    checks = check_requirements(root, AflwRProvider().requirements(AflwROptions()))
    found = {check.requirement.path: check for check in checks}
    assert found["output/3"].state == "missing"
    assert found["output/2"].state == "damaged"
    assert "2,993" in found["output/2"].problems[0]
    assert found["aflw_test_keypoints.mat"].state == "sound"
    assert verify_split(open_r(root), Progress.silent()).problems == []
    (root / "output" / "0" / "image00007_7.jpg").unlink()
    assert any("image00007_7.jpg" in line for line in verify_split(open_r(root), Progress.silent()).problems)


Damage = Callable[[Path], object]


def _list(rows: list[str]) -> Damage:
    return lambda root: (root / TEST_LIST).write_text("\n".join(rows))


def _table(change: Callable[[str], str]) -> Damage:
    return lambda root: (root / TABLE).write_text(change((root / TABLE).read_text()))


def _faces(transform: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """The test list with its points rearranged."""
    points = transform(jittered(12))
    return _list([mtfl_row(f"{i:04}-photo{100 + i}.jpg", points[i]) for i in range(12)])


INTERLEAVED = "AFLW\\0000-photo100.jpg 84 161 92 169 106.25 107.75 146.75 112.25 125 142 105 157 139 161"
ONE = mtfl_row("0000-photo100.jpg", FACE)
DAMAGE_M: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "list gone": (lambda root: (root / TEST_LIST).unlink(), (TEST_LIST, "is missing", "MTFL archive")),
    "list is a page": (_list([PAGE]), (TEST_LIST, "web page")),
    "list is empty": (_list([""]), (TEST_LIST, "empty file")),
    "a column short": (_list([ONE, ONE.rsplit(" ", 1)[0]]), (TEST_LIST, "line 2", "14 fields, expected 15")),
    "no number": (_list([ONE.replace("74.5", "74,5")]), (TEST_LIST, "line 1", "'74,5'")),
    "the older list": (_list([INTERLEAVED]), ("line 1", "gender is 105", "CNN_FacePoint")),
    "axes swapped": (_faces(lambda p: p[:, :, ::-1]), (TEST_LIST, "x and y are swapped")),
    "interleaved": (_faces(lambda p: p.reshape(-1, 2, 5).transpose(0, 2, 1)), (TEST_LIST, "median face")),
    "left is right": (_faces(lambda p: p[:, [1, 0, 2, 4, 3]]), ("left and right are exchanged",)),
    "leak": (
        _list([mtfl_row("0000-photo7.jpg", FACE)]),
        ("1 photographs of set 1", "photo7.jpg", "wrong split list"),
    ),
    "another test list": (_list([mtfl_row("0000-photo999.jpg", FACE)]), ("photo999.jpg", "are not in")),
    "table gone": (lambda root: (root / TABLE).unlink(), (TABLE, "is missing", "aflw-mtfl.tar.gz")),
    "list of blanks": (_list([" ", " "]), (TEST_LIST, "nothing but blanks")),
    "a face twice": (_list([ONE, ONE]), ("lists 'AFLW/0000-photo100.jpg' twice",)),
    "table without rows": (_table(lambda text: text.partition("\n")[0]), (TABLE, "no faces below")),
    "table is a page": (_table(lambda _: PAGE), (TABLE, "web page")),
    "no set column": (_table(lambda text: text.replace(",set", ",part")), (TABLE, "no column set")),
    "no header": (_table(lambda text: text.partition("\n")[2]), ("no column image_file, crop_file, set",)),
    "row cut off": (_table(lambda text: text.rstrip()[:-9]), (TABLE, "columns, expected 15")),
    "table not numeric": (_table(lambda text: text.replace(",1\n", ",one\n", 1)), (TABLE, "line 2", "'one'")),
}


@pytest.mark.parametrize("damage", DAMAGE_M)
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_lists_of_mtfl(damage: str, split: str, tmp_path: Path) -> None:
    root = write_m(tmp_path, jittered(12), jittered(12, seed=1), pictures=False)
    apply, words = DAMAGE_M[damage]
    apply(root)
    with pytest.raises(BenchError) as caught:
        open_m(root, split)
    for word in words:
        assert word in str(caught.value)


def _mat(**content: Any) -> Damage:
    """The test keypoints with other variables."""

    def apply(root: Path) -> None:
        whole = {"gt": jittered(12)[:, :, ::-1], "hw": np.tile([149, 150], (12, 1))} | content
        scipy.io.savemat(root / "aflw_test_keypoints.mat", {k: v for k, v in whole.items() if v is not None})

    return apply


def _half(name: str) -> Damage:
    def apply(root: Path) -> None:
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) // 2])

    return apply


def _same_lists(root: Path) -> None:
    for kind in ("images.txt", "keypoints.mat"):
        shutil.copyfile(root / f"aflw_train_{kind}", root / f"aflw_test_{kind}")


not_finite = jittered(12)
not_finite[4, 2, 0] = np.nan
MAT = "aflw_test_keypoints.mat"
DAMAGE_R: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "points gone": (lambda root: (root / MAT).unlink(), (MAT, "is missing", "aflw-recrop.tar.gz")),
    "points are a page": (lambda root: (root / MAT).write_text(PAGE), (MAT, "web page")),
    "points cut off": (_half(MAT), (MAT, "is damaged")),
    "axes swapped": (_mat(gt=jittered(12)), ("'gt' of", "x and y are swapped", "(y, x)")),
    "a row short": (_mat(gt=jittered(11)), ("(11, 5, 2), expected (12, 5, 2)", "lists 12 images")),
    "other points": (_mat(gt=np.ones((12, 68, 2))), ("(12, 68, 2), expected (12, 5, 2)",)),
    "not finite": (_mat(gt=not_finite), ("'gt' of", "finite")),
    "sizes gone": (_mat(hw=None), ("no variable 'hw'", "It holds: gt")),
    "sizes of nothing": (_mat(hw=np.zeros((12, 2))), ("sizes below 1",)),
    "one list twice": (_same_lists, ("20 of 20 images", "aflw_train_images.txt")),
}


@pytest.mark.parametrize("damage", DAMAGE_R)
def test_damaged_lists_of_the_recrop(damage: str, tmp_path: Path) -> None:
    root = write_r(tmp_path, pictures=False)
    apply, words = DAMAGE_R[damage]
    apply(root)
    with pytest.raises(BenchError) as caught:
        open_r(root, "test")
    for word in words:
        assert word in str(caught.value)


def test_swapped_sizes_are_told_by_the_image(tmp_path: Path) -> None:
    root = write_r(tmp_path, width=120, height=150)
    _mat(hw=np.tile([120, 150], (12, 1)))(root)
    with pytest.raises(BenchError, match="height and width swapped"):
        open_r(root, "test")[0]
