"""``cub:FOLDER``: hand-checked parts, both divisions into splits, masks, and every kind of damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data_checks import verify_split
from bench.errors import BenchError
from bench.options import parse_options
from bench.progress import Progress
from datasets.cub import SCHEMA, CubOptions, CubProvider
from datasets.cub_splits import PASSEROIDEA_SIZES
from datasets.listed import ListedDataset

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WIDTH, HEIGHT = 60, 40
SPECIES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
SMALL = ("check_counts=false",)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def image_path(number: int) -> str:
    return f"{SPECIES[(number - 1) // 4]}/bird_{number:04d}.jpg"


def write_copy(folder: Path, count: int = 8) -> Path:
    """A copy of the layout: part p of image i lies at (i + 2 p, 5 + p), odd parts of image 2 are hidden."""
    root = folder / "CUB_200_2011"
    (root / "parts").mkdir(parents=True)
    numbers = range(1, count + 1)
    (root / "images.txt").write_text("".join(f"{i} {image_path(i)}\n" for i in numbers))
    (root / "train_test_split.txt").write_text("".join(f"{i} {int(i % 4 < 2)}\n" for i in numbers))
    (root / "bounding_boxes.txt").write_text("".join(f"{i} {i}.0 4.0 40.0 20.0\n" for i in numbers))
    rows = []
    for i in numbers:
        for p in range(1, 16):
            hidden = i == 2 and p % 2 == 1
            rows.append(f"{i} {p} 0.0 0.0 0" if hidden else f"{i} {p} {i + 2 * p}.0 {5 + p}.0 1")
    (root / "parts" / "part_locs.txt").write_text("\n".join(rows) + "\n")
    for i in numbers:
        file = root / "images" / image_path(i)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (10 * i, 90, 40)).save(file)
    lists = folder / "passeroidea"
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"{image_path(i)}\n" for i in (1, 2, 5)))
    (lists / "val.txt").write_text("3\r\n6\r\n")
    (lists / "test.txt").write_text(f"images/{image_path(4)}\nCUB_200_2011/images/{image_path(8)}")
    return folder


def open_split(folder: Path, split: str = "train", *items: str) -> ListedDataset:
    return CubProvider().open(split, str(folder), parse_options(CubOptions, items, "data set 'cub'"))


def refused(folder: Path, *items: str, split: str = "train") -> str:
    with pytest.raises(BenchError) as caught:
        open_split(folder, split, *items)
    return str(caught.value)


def test_parts_by_hand(tmp_path: Path) -> None:
    dataset = open_split(write_copy(tmp_path), "train", *SMALL)
    assert dataset.ids == (image_path(1), image_path(2), image_path(5))
    assert len(dataset.schema.names) == 15
    first, second = dataset[0], dataset[1]
    # "1 2 5.0 7.0 1": beak of image 1, one-based, so 4.5 and 6.5 from the corner.
    assert dataset.schema.names[1] == "beak"
    assert first.points[1].tolist() == [4.5, 6.5]
    assert dataset.schema.names[14] == "throat"
    assert first.points[14].tolist() == [30.5, 19.5]
    assert first.visible.all()
    assert second.visible.tolist() == [p % 2 == 0 for p in range(1, 16)]
    assert first.box is not None
    assert first.box.tolist() == [0.0, 3.0, 40.0, 23.0]
    assert first.mask is None
    assert first.image.shape == (3, HEIGHT, WIDTH)
    zero_based = open_split(tmp_path, "train", *SMALL, "base=0")
    assert zero_based[0].points[1].tolist() == [5.5, 7.5]
    assert zero_based.fingerprint != dataset.fingerprint


def test_mirror_images_exchange_left_and_right() -> None:
    assert SCHEMA.flip_indices is not None
    exchanged = {"left": "right", "right": "left"}
    for name, mirrored in zip(SCHEMA.names, SCHEMA.flip_indices, strict=True):
        side, _, part = name.partition("_")
        expected = f"{exchanged[side]}_{part}" if side in exchanged else name
        assert SCHEMA.names[mirrored] == expected


def test_lists_by_path_or_number(tmp_path: Path) -> None:
    write_copy(tmp_path)
    assert open_split(tmp_path, "val", *SMALL).ids == (image_path(3), image_path(6))
    assert open_split(tmp_path, "test", *SMALL).ids == (image_path(4), image_path(8))
    (tmp_path / "passeroidea").rename(tmp_path / "mine")
    assert len(open_split(tmp_path, "val", *SMALL, f"lists={tmp_path / 'mine'}")) == 2


def test_official_division(tmp_path: Path) -> None:
    write_copy(tmp_path)
    official = (*SMALL, "division=official")
    options = parse_options(CubOptions, official, "data set 'cub'")
    assert CubProvider().splits(str(tmp_path), options) == ("train", "test")
    assert CubProvider().validation_split(str(tmp_path), options) is None
    assert CubProvider().validation_split(str(tmp_path), CubOptions()) == "val"
    assert open_split(tmp_path, "train", *official).ids == tuple(image_path(i) for i in (1, 4, 5, 8))
    assert open_split(tmp_path, "test", *official).ids == tuple(image_path(i) for i in (2, 3, 6, 7))
    assert "no split 'val'" in refused(tmp_path, *official, split="val")


def test_masks_are_what_most_annotators_marked(tmp_path: Path) -> None:
    write_copy(tmp_path)
    votes = np.tile(np.array([0, 51, 102, 153, 204, 255], dtype=np.uint8), (HEIGHT, WIDTH // 6))
    for i in range(1, 9):
        file = (tmp_path / "segmentations" / image_path(i)).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(votes).save(file)
    dataset = open_split(tmp_path, "train", *SMALL)
    mask = dataset[0].mask
    assert mask is not None
    np.testing.assert_array_equal(mask.numpy(), votes >= 3 * 51)
    without = open_split(tmp_path, "train", *SMALL, "masks=no")
    assert without[0].mask is None
    assert without.fingerprint != dataset.fingerprint
    Image.fromarray(votes[:-1]).save((tmp_path / "segmentations" / image_path(1)).with_suffix(".png"))
    with pytest.raises(BenchError, match=r"bird_0001\.png is \(39, 60\), its image \(40, 60\)"):
        dataset[0]
    shutil.rmtree(tmp_path / "segmentations")
    assert "segmentations.tgz" in refused(tmp_path, *SMALL, "masks=yes")


def replace(file: str, old: str, new: str) -> tuple[str, str, str]:
    return file, old, new


DAMAGE = {
    "a row is lost": (
        replace("CUB_200_2011/parts/part_locs.txt", "3 4 11.0 9.0 1\n", ""),
        "has 119 rows, expected 15 for each of 8 images",
    ),
    "rows in another order": (
        replace("CUB_200_2011/parts/part_locs.txt", "3 4 11.0 9.0 1\n3 5", "3 5 13.0 10.0 1\n3 4"),
        "line 34: image 3 part 5, expected image 3 part 4",
    ),
    "a word for a number": (
        replace("CUB_200_2011/parts/part_locs.txt", "3 4 11.0", "3 4 eleven"),
        "line 34: 'eleven' is not a number",
    ),
    "a column more": (
        replace("CUB_200_2011/parts/part_locs.txt", "3 4 11.0 9.0 1\n", "3 4 11.0 9.0 1 77\n"),
        "line 34: 6 fields, expected 5",
    ),
    "visibility 2": (
        replace("CUB_200_2011/parts/part_locs.txt", "3 4 11.0 9.0 1\n", "3 4 11.0 9.0 2\n"),
        "line 34: visibility 2, expected 0 or 1",
    ),
    "boxes of other images": (
        replace("CUB_200_2011/bounding_boxes.txt", "3 3.0", "9 3.0"),
        "does not list the 8 images of images.txt in their order",
    ),
    "an image twice": (
        replace("CUB_200_2011/images.txt", image_path(2), image_path(1)),
        f"lists '{image_path(1)}' twice",
    ),
    "train and test overlap": (
        replace("passeroidea/test.txt", image_path(4), image_path(1)),
        f"shares {image_path(1)} with train.txt",
    ),
    "a list of something else": (
        replace("passeroidea/test.txt", image_path(4), "sparrow.jpg"),
        "names 'images/sparrow.jpg', which images.txt does not list",
    ),
    "a list with a double": (
        replace("passeroidea/val.txt", "3\r\n", "3\r\n3\r\n"),
        "lists '3' twice",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_copies(damage: str, tmp_path: Path) -> None:
    (file, old, new), words = DAMAGE[damage]
    path = write_copy(tmp_path) / file
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new, 1).encode())
    message = refused(tmp_path, *SMALL)
    assert words in message
    assert str(path) in message or "test.txt" in message


def test_exchanged_axes_are_told(tmp_path: Path) -> None:
    path = write_copy(tmp_path) / "CUB_200_2011" / "parts" / "part_locs.txt"
    rows = [line.split() for line in path.read_text().splitlines()]
    path.write_text("".join(f"{i} {p} {y} {x} {seen}\n" for i, p, x, y, seen in rows))
    assert "with x and y exchanged 100.0 %" in refused(tmp_path, *SMALL)


def test_a_web_page_for_a_table(tmp_path: Path) -> None:
    path = write_copy(tmp_path) / "CUB_200_2011" / "images.txt"
    path.write_text("<!DOCTYPE html><html>quota exceeded</html>")
    message = refused(tmp_path, *SMALL)
    assert "web page" in message
    assert "vision.caltech.edu" in message


def test_missing_parts_say_where_they_are_had(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    write_copy(tmp_path)
    assert f"cub:{tmp_path}" in refused(tmp_path / "CUB_200_2011", *SMALL)
    shutil.rmtree(tmp_path / "passeroidea")
    message = refused(tmp_path, *SMALL)
    assert "cvl-umass/contrast-landmark" in message
    assert "division=official" in message
    (tmp_path / "CUB_200_2011" / "parts" / "part_locs.txt").unlink()
    assert "part_locs.txt is missing" in refused(tmp_path, *SMALL)


def test_published_counts_are_insisted_on(tmp_path: Path) -> None:
    write_copy(tmp_path)
    message = refused(tmp_path)
    assert "found 8, published 11,788" in message
    assert "check_counts=false" in message
    assert PASSEROIDEA_SIZES == {"train": 1241, "val": 382, "test": 383}
    whole = {r.path: r for r in CubProvider().requirements(CubOptions())}
    assert whole["CUB_200_2011/images"].count == 11_788
    assert whole["CUB_200_2011/parts/part_locs.txt"].count == 176_820
    assert [whole[f"passeroidea/{split}.txt"].count for split in PASSEROIDEA_SIZES] == [1241, 382, 383]


def test_a_missing_image_is_named_and_none_is_skipped(tmp_path: Path) -> None:
    write_copy(tmp_path)
    dataset = open_split(tmp_path, "train", *SMALL)
    (tmp_path / "CUB_200_2011" / "images" / image_path(2)).unlink()
    with pytest.raises(BenchError, match=r"bird_0002\.jpg is missing"):
        dataset[1]
    check = verify_split(dataset, Progress.silent())
    assert (check.count, len(check.problems)) == (3, 1)


def test_real_rows(tmp_path: Path) -> None:
    """The first twelve images of the official tables."""
    fixture = SHARED / "fixtures" / "cub"
    if not fixture.is_dir():
        pytest.skip("fixtures/cub does not lie beside this checkout")
    root = tmp_path / "CUB_200_2011"
    (root / "parts").mkdir(parents=True)
    shutil.copy(fixture / "parts" / "part_locs.head180.txt", root / "parts" / "part_locs.txt")
    shutil.copy(fixture / "bounding_boxes.head12.txt", root / "bounding_boxes.txt")
    names = [f"001.Black_footed_Albatross/{i}.jpg" for i in range(1, 13)]
    (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    (root / "train_test_split.txt").write_text("".join(f"{i} {int(i != 2)}\n" for i in range(1, 13)))
    (root / "images" / SPECIES[0]).mkdir(parents=True)
    Image.new("RGB", (500, 335)).save(root / "images" / names[0])
    dataset = open_split(tmp_path, "train", *SMALL, "division=official")
    sample = dataset[0]
    assert sample.visible.tolist() == [bool(int(c)) for c in "010011000110001"]
    # "1 2 312.0 182.0 1", "1 7 0.0 0.0 0", "1 11 183.0 101.0 1"; box "1 60.0 27.0 325.0 304.0"
    assert sample.points[1].tolist() == pytest.approx([311.5, 181.5], abs=0.01)
    assert sample.points[10].tolist() == pytest.approx([182.5, 100.5], abs=0.01)
    assert sample.box is not None
    assert sample.box.tolist() == [59.0, 26.0, 384.0, 330.0]
    parts = [line.split(maxsplit=1)[1] for line in (fixture / "parts" / "parts.txt").read_text().splitlines()]
    assert dataset.schema.names == tuple(part.strip().replace(" ", "_") for part in parts)
