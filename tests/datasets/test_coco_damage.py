"""``coco:FOLDER``: every kind of damage is named, and what can be forgiven is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError
from bench.loading import Preprocessing, load_split
from datasets.coco import CocoOptions, CocoProvider
from tests.datasets.coco_folders import (
    FACE,
    HEIGHT,
    WIDTH,
    Document,
    change,
    document,
    noise,
    open_split,
    refused,
    write_split,
)

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
