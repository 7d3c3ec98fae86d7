"""``coco:FOLDER``: hand-checked coordinates, every kind of damage, and real files."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError
from bench.loading import Preprocessing, load_split
from bench.options import parse_options
from datasets.coco import CocoDataset, CocoOptions, CocoProvider

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WIDTH, HEIGHT = 40, 30

# left eye (two corners), right eye (two corners), nose; x, y, v in the file's own convention.
FACE = [8, 10, 2, 12, 10, 2, 26, 11, 2, 30, 11, 1, 19, 20.5, 2]
CATEGORY = {
    "id": 1,
    "name": "toy face",
    "keypoints": ["left_eye_outer", "left_eye_inner", "right_eye_inner", "right_eye_outer", "nose"],
    "flip_indices": [3, 2, 1, 0, 4],
    "outer_eye_corners": [0, 3],
    "eye_centre_groups": [[0, 1], [2, 3]],
}

Document = dict[str, Any]


def document(count: int = 3) -> Document:
    return {
        "info": {"description": "toy faces", "version": "2", "url": "https://example.org"},
        "licenses": [{"id": 1, "name": "CC0"}],
        "images": [
            {
                "id": i,
                "file_name": f"{i}.png",
                "width": WIDTH,
                "height": HEIGHT,
                "identity": f"person {i // 2}",
            }
            for i in range(count)
        ],
        "annotations": [
            {"id": 10 + i, "image_id": i, "category_id": 1, "keypoints": list(FACE), "bbox": [8, 10, 22, 11]}
            for i in range(count)
        ],
        "categories": [copy.deepcopy(CATEGORY)],
    }


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def write_split(root: Path, split: str, content: Document | str | bytes, images: int = 3) -> Path:
    folder = root / split
    (folder / "images").mkdir(parents=True)
    for i in range(images):
        noise(i).save(folder / "images" / f"{i}.png")
    path = folder / "annotations.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def open_split(root: Path, split: str = "train", *items: str) -> CocoDataset:
    return CocoProvider().open(split, str(root), parse_options(CocoOptions, items, "data set 'coco'"))


def refused(root: Path, *items: str) -> str:
    with pytest.raises(BenchError) as caught:
        open_split(root, "train", *items)
    return str(caught.value)


def test_coordinates_become_corner_origin(tmp_path: Path) -> None:
    write_split(tmp_path, "train", document())
    dataset = open_split(tmp_path)
    sample = dataset[0]
    expected = [[8.5, 10.5], [12.5, 10.5], [26.5, 11.5], [30.5, 11.5], [19.5, 21.0]]
    assert sample.points.tolist() == expected
    assert sample.visible.tolist() == [True] * 5
    assert sample.image.shape == (3, HEIGHT, WIDTH)
    assert torch.equal(sample.image, torch.from_numpy(np.array(noise(0))).permute(2, 0, 1))
    assert sample.id == "0.png"
    assert sample.identity == "person 0"
    assert sample.box is not None
    assert sample.box.tolist() == [8.5, 10.5, 30.5, 21.5]
    assert len(dataset) == 3
    assert dataset.ids == ("0.png", "1.png", "2.png")
    assert dataset.schema.names == tuple(CATEGORY["keypoints"])  # type: ignore[arg-type]
    assert dataset.schema.normaliser == ((0,), (3,))
    assert dataset.schema.normaliser_name == "outer eye corners"
    assert dataset.schema.flip_indices == (3, 2, 1, 0, 4)
    assert (dataset.info.title, dataset.info.tier, dataset.info.licence) == ("toy faces", "own", "CC0")
    assert dataset.info.category == "toy face"
    assert dataset.name == f"coco:{tmp_path.name}"
    assert str(tmp_path.parent) not in repr(dataset.info)


def test_visibility_flags(tmp_path: Path) -> None:
    content = document(1)
    content["annotations"][0]["keypoints"][2] = 0
    content["annotations"][0]["keypoints"][0:2] = [None, 9999]
    write_split(tmp_path, "train", content)
    assert open_split(tmp_path)[0].visible.tolist() == [False, True, True, True, True]
    assert open_split(tmp_path)[0].points[0].tolist() == [0.0, 0.0]
    dropped = open_split(tmp_path, "train", "occluded=drop")
    assert dropped[0].visible.tolist() == [False, True, True, False, True]


def test_groups_are_means_and_visible_where_all_members_are(tmp_path: Path) -> None:
    write_split(tmp_path, "train", document(1))
    dataset = open_split(tmp_path, "train", 'points=[[0,1],["right_eye_inner","right_eye_outer"],4]')
    assert dataset[0].points.tolist() == [[10.5, 10.5], [28.5, 11.5], [19.5, 21.0]]
    assert dataset.schema.names == ("left_eye", "right_eye", "nose")
    # The corners are not among the points any more; the eye centres are.
    assert dataset.schema.normaliser == ((0,), (1,))
    assert dataset.schema.normaliser_name == "eye centres"
    assert dataset.schema.flip_indices == (1, 0, 2)
    dropped = open_split(tmp_path, "train", "points=[[0,1],[2,3],4]", "occluded=drop")
    assert dropped[0].visible.tolist() == [True, False, True]


def test_normaliser_by_index_name_or_group(tmp_path: Path) -> None:
    write_split(tmp_path, "train", document(1))
    assert open_split(tmp_path, "train", "normaliser=[0,4]").schema.normaliser == ((0,), (4,))
    named = open_split(tmp_path, "train", 'normaliser=["nose","left_eye_inner"]').schema
    assert (named.normaliser, named.normaliser_name) == (((4,), (1,)), "nose to left_eye_inner")
    grouped = open_split(tmp_path, "train", "normaliser=[[0,1],[2,3]]").schema
    assert grouped.normaliser == ((0, 1), (2, 3))
    # Indices count the file's keypoints, and are mapped to the chosen ones.
    assert open_split(tmp_path, "train", "points=[4,3,0]", "normaliser=[3,4]").schema.normaliser == (
        (1,),
        (0,),
    )
    assert open_split(tmp_path, "train", "points=[4,1]").schema.normaliser is None
    assert open_split(tmp_path, "train", "points=[4,1]").schema.flip_indices is None


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["normaliser=[0,9]"], "keypoint 9 does not exist"),
        (["normaliser=[-1,0]"], "keypoint -1 does not exist"),
        (['normaliser=["nose","mouth"]'], "no keypoint is called 'mouth'"),
        (["normaliser=[0,[0,1]]"], "share a keypoint"),
        (["points=[0,1]", "normaliser=[0,4]"], "not among the selected points"),
        (["points=[0,0]"], "same landmark twice"),
        (["points=[[]]"], "empty"),
        (["landmarks=5", "points=[0]"], "not both"),
        (["landmarks=7"], "names no choice of 7 among its 5 landmarks"),
        (["landmarks=some"], "'landmarks'"),
        (["landmark=5"], "Did you mean 'landmarks'"),
        (["test=train"], "train and test are both 'train'"),
        (["test=val", 'pretrain=["train","val"]'], "pretrain holds the test split 'val'"),
    ],
)
def test_options_that_cannot_work(items: list[str], words: str, tmp_path: Path) -> None:
    write_split(tmp_path, "train", document(1))
    assert words in refused(tmp_path, *items)


def test_splits_and_their_roles(tmp_path: Path) -> None:
    unlabelled = document()
    unlabelled["annotations"] = []
    for split, content in (("train", document()), ("val", document()), ("extra", unlabelled)):
        write_split(tmp_path, split, content)
    (tmp_path / "notes").mkdir()
    provider, here = CocoProvider(), str(tmp_path)
    assert provider.splits(here, CocoOptions()) == ("extra", "train", "val")
    assert provider.evaluation_splits(here, CocoOptions()) == ("train", "val")
    assert provider.pretraining_splits(here, CocoOptions()) == ("extra", "train")
    assert provider.validation_split(here, CocoOptions()) is None  # val is the test split here
    assert provider.validation_split(here, CocoOptions(test="extra")) == "val"
    assert not open_split(tmp_path, "extra")[0].visible.any()
    assert open_split(tmp_path, "extra")[0].points.shape == (5, 2)
    (tmp_path / "val").rename(tmp_path / "test")
    assert provider.evaluation_splits(here, CocoOptions()) == ("train", "test")
    chosen = parse_options(CocoOptions, ["test=extra", "pretrain=train"], "coco")
    assert provider.evaluation_splits(here, chosen) == ("train", "extra")
    assert provider.pretraining_splits(here, chosen) == ("train",)
    # A test split without any landmark is of no use.
    with pytest.raises(BenchError, match="no image of split 'extra'"):
        open_split(tmp_path, "extra", "test=extra")
    with pytest.raises(BenchError, match="holds the test split 'test'"):
        provider.pretraining_splits(here, CocoOptions(pretrain=("test",)))
    (tmp_path / "test").rename(tmp_path / "holdout")
    with pytest.raises(BenchError, match="neither test/ nor val/") as caught:
        provider.evaluation_splits(here, CocoOptions())
    assert "holdout" in str(caught.value)
    with pytest.raises(BenchError, match=r"no split '\.\./train'"):
        open_split(tmp_path, "../train")


def test_a_folder_of_images_alone_serves_pretraining(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "more", "")
    (folder / "annotations.json").unlink()
    (folder / "images" / "deeper").mkdir()
    noise(9).save(folder / "images" / "deeper" / "9.PNG")
    dataset = open_split(tmp_path, "more")
    assert dataset.ids == ("0.png", "1.png", "2.png", "deeper/9.PNG")
    assert dataset.schema.names == ()
    assert dataset[3].points.shape == (0, 2)
    assert load_split(dataset, Preprocessing(image_size=16)).points.shape == (4, 0, 2)
    folder.rename(tmp_path / "train")
    assert "annotations.json is missing" in refused(tmp_path)


def test_images_without_annotation_are_unlabelled(tmp_path: Path) -> None:
    content = document()
    del content["annotations"][1]
    content["annotations"][1]["keypoints"] = [0] * 15
    write_split(tmp_path, "train", content)
    assert [bool(sample.visible.any()) for sample in open_split(tmp_path)] == [True, False, False]


def test_several_objects_in_one_image(tmp_path: Path) -> None:
    content = document(1)
    small = {"image_id": 0, "category_id": 1, "keypoints": [1, 1, 2] * 5, "bbox": [0, 0, 2, 2], "id": 1}
    content["annotations"].insert(0, small)
    write_split(tmp_path, "train", content)
    assert "1 images show several objects, e.g. '0.png'" in refused(tmp_path)
    assert open_split(tmp_path, "train", "objects=largest")[0].points[0].tolist() == [8.5, 10.5]
    # A crowd, and an object without landmarks, are no further objects.
    for harmless in (small | {"iscrowd": 1}, small | {"keypoints": [0] * 15}):
        content["annotations"][0] = harmless
        (tmp_path / "train" / "annotations.json").write_text(json.dumps(content))
        assert open_split(tmp_path)[0].points[0].tolist() == [8.5, 10.5]


def test_largest_object_without_boxes_is_the_widest_spread(tmp_path: Path) -> None:
    content = document(1)
    del content["annotations"][0]["bbox"]
    content["annotations"].append(
        {"image_id": 0, "category_id": 1, "keypoints": [1, 1, 2, 3, 4, 2] + [2, 2, 2] * 3}
    )
    write_split(tmp_path, "train", content)
    assert open_split(tmp_path, "train", "objects=largest")[0].points[0].tolist() == [8.5, 10.5]


def change(*path: Any, to: Any = None, drop: bool = False) -> Callable[[Document], None]:
    """A change deep inside a document."""

    def apply(content: Document) -> None:
        place: Any = content
        for part in path[:-1]:
            place = place[part]
        if drop:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return apply


DAMAGE: dict[str, tuple[Callable[[Document], None], tuple[str, ...]]] = {
    "no images key": (change("images", drop=True), ("images: Field required",)),
    "no annotations key": (change("annotations", drop=True), ("annotations: Field required",)),
    "no categories key": (change("categories", drop=True), ("categories: Field required",)),
    "no images at all": (change("images", to=[]), ("lists no images",)),
    "no keypoints": (change("annotations", 1, "keypoints", drop=True), ("annotations[1].keypoints",)),
    "text for a number": (change("annotations", 1, "keypoints", 3, to="8"), ("annotations[1].keypoints[3]",)),
    "a list for a file name": (change("images", 2, "file_name", to=[]), ("images[2].file_name",)),
    "one value short": (
        change("annotations", 1, "keypoints", 14, drop=True),
        ("'1.png' has 14", "expected 15"),
    ),
    "one point more": (change("annotations", 0, "keypoints", to=[*FACE, 1, 1, 2]), ("'0.png' has 18",)),
    "not a number": (
        change("annotations", 1, "keypoints", 0, to=float("nan")),
        ("'left_eye_outer' of '1.png'",),
    ),
    "infinite": (change("annotations", 1, "keypoints", 13, to=float("inf")), ("'nose' of '1.png'", "inf")),
    "null where labelled": (change("annotations", 1, "keypoints", 12, to=None), ("'nose' of '1.png'",)),
    "visibility 3": (change("annotations", 2, "keypoints", 2, to=3), ("visibility 3", "'2.png'")),
    "outside": (
        change("annotations", 1, "keypoints", 12, to=60),
        ("'nose' of '1.png' at (60, 20.5)", "40 x 30", "outside=drop"),
    ),
    "duplicate image id": (change("images", 1, "id", to=0), ("image id is not unique: 0",)),
    "duplicate file name": (
        change("images", 1, "file_name", to="0.png"),
        ("file_name is not unique: '0.png'",),
    ),
    "duplicate annotation id": (change("annotations", 1, "id", to=10), ("annotation id is not unique: 10",)),
    "unknown image": (change("annotations", 1, "image_id", to=77), ("image 77",)),
    "unknown category": (change("annotations", 1, "category_id", to=5), ("category_id 5",)),
    "missing image": (
        change("images", 1, "file_name", to="gone.png"),
        ("1 of 3 images are missing", "gone.png"),
    ),
    "path upwards": (change("images", 1, "file_name", to="../images/1.png"), ("leads out of",)),
    "Windows path upwards": (change("images", 1, "file_name", to="..\\images\\1.png"), ("leads out of",)),
    "absolute path": (change("images", 1, "file_name", to="/etc/passwd"), ("leads out of",)),
    "drive": (change("images", 1, "file_name", to="C:\\x.png"), ("leads out of",)),
    "wrong size": (change("images", 1, "width", to=41), ("is 40 x 30", "says 41 x 30")),
    "flips out of range": (change("categories", 0, "flip_indices", to=[3, 2, 1, 0, 9]), ("flip_indices",)),
    "flips no pairing": (change("categories", 0, "flip_indices", to=[1, 2, 3, 0, 4]), ("flip_indices",)),
    "duplicate names": (change("categories", 0, "keypoints", 1, to="nose"), ("is not unique: 'nose'",)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_annotation_is_told_at_opening(damage: str, tmp_path: Path) -> None:
    content = document()
    apply, words = DAMAGE[damage]
    apply(content)
    write_split(tmp_path, "train", content)
    message = refused(tmp_path)
    for word in words:
        assert word in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(document())[:400], "not valid JSON: EOF"),
        ("", "not valid JSON"),
        ("id,x,y\n", "not valid JSON"),
        (b"\x89PNG\r\n\x1a\n", "not valid JSON"),
        ("[]", "not COCO-keypoints JSON"),
    ],
)
def test_files_that_are_no_annotation(content: str | bytes, words: str, tmp_path: Path) -> None:
    write_split(tmp_path, "train", content)
    message = refused(tmp_path)
    assert words in message
    assert "annotations.json" in message


def test_missing_folders(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "is not a folder" in refused(tmp_path / "file")
    assert "no split 'train'" in refused(tmp_path)
    write_split(tmp_path, "train", document())
    shutil.rmtree(tmp_path / "train" / "images")
    assert "images is missing" in refused(tmp_path)
    (tmp_path / "train" / "annotations.json").rename(tmp_path / "train" / "people.json")
    (tmp_path / "train" / "images").mkdir()
    assert "people.json" in refused(tmp_path)
    with pytest.raises(BenchError, match="needs a folder"):
        CocoProvider().open("train", None, CocoOptions())


def test_points_outside_can_be_dropped_and_a_pixel_is_forgiven(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["keypoints"][12:14] = [60, 20]
    content["annotations"][2]["keypoints"][12:14] = [WIDTH + 0.4, -1.4]
    write_split(tmp_path, "train", content)
    dataset = open_split(tmp_path, "train", "outside=drop")
    assert dataset[1].visible.tolist() == [True, True, True, True, False]
    assert dataset[2].visible.all()


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    write_split(tmp_path, "train", b"\xef\xbb\xbf" + json.dumps(document()).encode())
    assert len(open_split(tmp_path)) == 3


def test_sizes_may_be_left_out(tmp_path: Path) -> None:
    content = document()
    for image in content["images"]:
        del image["width"], image["height"]
    content["annotations"][1]["keypoints"][12] = 60
    write_split(tmp_path, "train", content)
    assert "the image is 40 x 30" in refused(tmp_path)


def test_broken_images_are_named(tmp_path: Path) -> None:
    content = document()
    for image in content["images"]:
        image["file_name"] = image["file_name"].replace(".png", ".jpg")
    folder = write_split(tmp_path, "train", content) / "images"
    for i in range(3):
        noise(i).save(folder / f"{i}.jpg", quality=95)
    whole = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = open_split(tmp_path)
    assert dataset[0].image.shape == (3, HEIGHT, WIDTH)
    with pytest.raises(BenchError, match=r"1\.jpg is damaged"):
        dataset[1]
    with pytest.raises(BenchError, match=r"1\.jpg is damaged"):
        load_split(dataset, Preprocessing(image_size=16))
    (folder / "1.jpg").write_text("<html>not found</html>")
    assert "1.jpg is not an image" in refused(tmp_path)
    (folder / "1.jpg").write_bytes(b"")
    assert "1.jpg is not an image" in refused(tmp_path)
    png = (folder / "1.png").read_bytes()
    (folder / "1.jpg").write_bytes(png[:300])  # the name's ending does not matter, the missing half does
    with pytest.raises(BenchError, match=r"1\.jpg is damaged"):
        open_split(tmp_path)[1]


def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path) -> None:
    """Grey, palette, transparent, 16-bit and two-colour images."""
    from datasets.images import read_rgb  # noqa: PLC0415

    rgb = noise(4)
    grey = rgb.convert("L")
    deep = np.random.default_rng(5).integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    palette = rgb.quantize(16)
    clear = rgb.copy()
    clear.putalpha(Image.fromarray(np.full((HEIGHT, WIDTH), 7, dtype=np.uint8)))
    images = {
        "grey": (grey, np.array(grey)[:, :, None].repeat(3, axis=2)),
        "palette": (palette, np.array(palette.convert("RGB"))),
        "transparent": (clear, np.array(rgb)),
        "deep": (
            Image.fromarray(deep),
            np.rint(deep / 65535 * 255).astype(np.uint8)[:, :, None].repeat(3, axis=2),
        ),
        "bits": (
            grey.convert("1"),
            np.array(grey.convert("1"))[:, :, None].repeat(3, axis=2) * np.uint8(255),
        ),
    }
    for name, (image, expected) in images.items():
        image.save(tmp_path / f"{name}.png")
        found = read_rgb(tmp_path / f"{name}.png")
        assert found.dtype == torch.uint8
        np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected, err_msg=name)
    palette.save(tmp_path / "keyed.png", transparency=b"\x00" * 16)
    np.testing.assert_array_equal(read_rgb(tmp_path / "keyed.png").permute(1, 2, 0), images["palette"][1])
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BenchError, match=r"float\.tiff has pixels of mode 'F'"):
        read_rgb(tmp_path / "float.tiff")


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    content = document(1)
    content["images"][0]["file_name"] = "turned.jpg"
    folder = write_split(tmp_path, "train", content) / "images"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(0).save(folder / "turned.jpg", exif=exif)
    assert open_split(tmp_path)[0].image.shape == (3, HEIGHT, WIDTH)
    # Annotated as viewers show it: told, with the reason.
    content["images"][0].update(width=HEIGHT, height=WIDTH)
    (tmp_path / "train" / "annotations.json").write_text(json.dumps(content))
    assert "EXIF orientation" in refused(tmp_path)


def test_fingerprint_follows_what_can_change_a_result(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train", document())
    original = open_split(tmp_path).fingerprint
    assert open_split(tmp_path).fingerprint == original

    def after(apply: Callable[[Document], None], *items: str) -> str:
        content = document()
        apply(content)
        (folder / "annotations.json").write_text(json.dumps(content, indent=3))
        return open_split(tmp_path, "train", *items).fingerprint

    nothing = change("info", "version", to="3")
    prints = [
        after(change("annotations", 1, "keypoints", 0, to=8.25)),
        after(change("annotations", 1, "keypoints", 2, to=0)),
        after(change("images", 1, "identity", to="somebody")),
        after(nothing, "occluded=drop"),
        after(nothing, "points=[0,1,2]"),
        after(nothing, "normaliser=[0,4]"),
    ]
    assert after(nothing) == original  # layout and remarks of the file are no content
    noise(77).save(folder / "images" / "2.png")
    prints.append(open_split(tmp_path).fingerprint)
    assert len({original, *prints}) == len(prints) + 1
    # A copy elsewhere is the same data.
    shutil.copytree(tmp_path / "train", tmp_path / "elsewhere" / "train")
    assert open_split(tmp_path / "elsewhere").fingerprint == prints[-1]


def real(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} does not lie beside this checkout")
    return path


def test_real_faces() -> None:
    folder = real("data", "ytf68")
    raw = json.loads((folder / "val" / "annotations.json").read_text())
    dataset = open_split(folder, "val")
    assert len(dataset) == 359
    assert dataset.schema.normaliser == ((36,), (45,))
    assert len({image["identity"] for image in raw["images"]}) == 30
    # 000151.jpg: first jaw point and the outer eye corners, as printed in the file, plus half a pixel.
    sample = dataset[0]
    assert (sample.id, sample.identity) == ("000151.jpg", "Aleksander_Kwasniewski")
    for index, (x, y) in {0: (21.90, 40.98), 36: (36.24, 51.02), 45: (85.02, 51.02)}.items():
        assert sample.points[index].tolist() == pytest.approx([x + 0.5, y + 0.5], abs=0.01)
    # The README's mean distance of the outer eye corners.
    points = np.stack([np.array(a["keypoints"]).reshape(68, 3)[:, :2] for a in raw["annotations"]]) + 0.5
    np.testing.assert_allclose(np.stack([dataset[i].points.numpy() for i in range(8)]), points[:8], atol=1e-4)
    five = open_split(folder, "val", "landmarks=5")
    assert five.schema.normaliser == ((0,), (1,))
    assert five.schema.normaliser_name == "eye centres"
    expected = [
        points[0, 36:42].mean(0),
        points[0, 42:48].mean(0),
        points[0, 30],
        points[0, 48],
        points[0, 54],
    ]
    np.testing.assert_allclose(five[0].points.numpy(), np.stack(expected), atol=0.01)
    assert five.schema.flip_indices == (1, 0, 2, 4, 3)


def test_real_bees_and_unlabelled_images() -> None:
    bees = real("data", "apic_bee32")
    dataset = open_split(bees, "train")
    assert dataset.schema.normaliser == ((0,), (5,))
    assert dataset.schema.normaliser_name == "head_front to body_back"
    assert dataset[0].identity == "27_05_2018_2_2Fvideo_32_bee_id26911"
    assert dataset[0].points[0].tolist() == pytest.approx([69.78, 80.91], abs=0.01)
    # The README: all visible but one point in each of two images.
    missing = sorted(32 - int(sample.visible.sum()) for sample in dataset)
    assert missing == [0] * 164 + [1, 1]
    background = open_split(bees, "background_only")
    assert len(background) == 25
    assert not background[0].visible.any()


@pytest.mark.parametrize(
    ("name", "points", "items"),
    [
        ("300w", 68, []),
        ("aflw", 19, []),
        ("cofw", 29, []),
        ("ap10k", 17, []),
        ("animalpose", 20, []),
        ("horse10", 22, []),
        ("fly", 32, []),
        ("locust", 35, []),
        ("wflw", 98, ["objects=largest"]),
    ],
)
def test_public_files_in_our_layout(name: str, points: int, items: list[str], tmp_path: Path) -> None:
    source = real("fixtures", "mmpose_coco", name)
    images = tmp_path / "train" / "images"
    images.mkdir(parents=True)
    for file in source.iterdir():
        if file.suffix == ".json":
            shutil.copy(file, tmp_path / "train" / "annotations.json")
        else:
            (images / file.name).symlink_to(file)
    raw = json.loads((tmp_path / "train" / "annotations.json").read_text())
    dataset = open_split(tmp_path, "train", *items)
    assert len(dataset.schema.names) == points
    for sample, image in zip(dataset, raw["images"], strict=True):
        objects = [a for a in raw["annotations"] if a["image_id"] == image["id"]]
        chosen = max(objects, key=lambda a: a["bbox"][2] * a["bbox"][3])
        triples = np.array(chosen["keypoints"], dtype=np.float64).reshape(points, 3)
        seen = triples[:, 2] > 0
        assert sample.visible.tolist() == seen.tolist()
        np.testing.assert_allclose(sample.points.numpy()[seen], triples[seen, :2] + 0.5, atol=1e-3)
        assert sample.image.shape == (3, image["height"], image["width"])
    if name == "wflw":
        assert "several objects" in refused(tmp_path)
