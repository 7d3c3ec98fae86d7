"""``cat-head:FOLDER``: points by hand, the square about the head, both divisions, and every kind of damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError
from bench.options import parse_options
from datasets.cathead import CatHeadOptions, CatHeadProvider, head_square, read_cat
from datasets.listed import ListedDataset

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WIDTH, HEIGHT = 90, 70
SMALL = ("check_counts=false",)
# Eyes, mouth, left ear (outer, tip, inner), right ear (inner, tip, outer).
POINTS = ((30, 30), (50, 30), (40, 45), (20, 25), (18, 10), (28, 20), (52, 20), (60, 10), (61, 25))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def cat_line(shift: int = 0) -> str:
    """As in the set: a trailing blank and no newline."""
    return "9 " + "".join(f"{x + shift} {y} " for x, y in POINTS)


def write_copy(folder: Path, count: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"CAT_0{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i:08d}_000.jpg", quality=95)
        (place / f"{i:08d}_000.jpg.cat").write_text(cat_line(i))
    lists = folder / "zhang2018"
    lists.mkdir()
    (lists / "train.txt").write_text("CAT_00/00000000_000.jpg\nCAT_01/00000001_000.jpg\n")
    (lists / "test.txt").write_text("CAT_00/00000004_000.jpg.cat")
    return folder


def open_split(folder: Path, split: str = "train", *items: str) -> ListedDataset:
    return CatHeadProvider().open(split, str(folder), parse_options(CatHeadOptions, items, "cat-head"))


def refused(folder: Path, *items: str, split: str = "train") -> str:
    with pytest.raises(BenchError) as caught:
        open_split(folder, split, *items)
    return str(caught.value)


def test_seven_points_by_hand(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    dataset = open_split(folder, "train", *SMALL, "crop=none")
    sample = dataset[1]  # shifted by one
    assert sample.id == "CAT_01/00000001_000.jpg"
    assert sample.points.tolist() == [
        [x + 1.5, y + 0.5] for i, (x, y) in enumerate(POINTS) if i not in (4, 7)
    ]
    assert sample.visible.all()
    assert dataset.schema.names == (
        "left_eye", "right_eye", "mouth", "left_ear_outer", "left_ear_inner", "right_ear_inner", "right_ear_outer",
    )  # fmt: skip
    assert dataset.schema.flip_indices == (1, 0, 2, 6, 5, 4, 3)
    assert dataset.schema.normaliser == ((0,), (1,))
    nine = open_split(folder, "train", *SMALL, "landmarks=9").schema
    assert nine.names[4] == "left_ear_tip"
    assert nine.flip_indices == (1, 0, 2, 8, 7, 6, 5, 4, 3)
    outer = open_split(folder, "train", *SMALL, "dropped=outer").schema
    assert outer.names[3:] == ("left_ear_tip", "left_ear_inner", "right_ear_inner", "right_ear_tip")
    assert outer.flip_indices == (1, 0, 2, 6, 5, 4, 3)


def test_the_square_about_the_head(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    # The points' box is (18.5, 10.5)-(61.5, 45.5): 43 wide, centre (40, 28); 1.5 x 43 = 64.5, so 65 px from (8, -4).
    assert head_square(np.array(POINTS) + 0.5, 1.5) == (8, -4, 65)
    sample = open_split(folder, "train", *SMALL)[0]
    assert sample.image.shape == (3, 65, 65)
    stored = torch.from_numpy(np.array(Image.open(folder / sample.id))).permute(2, 0, 1)
    assert torch.equal(sample.image[:, 4:], stored[:, :61, 8:73])
    assert not sample.image[:, :4].any()
    assert sample.points[0].tolist() == [30.5 - 8, 30.5 + 4]
    tight = open_split(folder, "train", *SMALL, "enlarge=1")
    assert tight[0].image.shape == (3, 43, 43)
    assert tight.fingerprint != open_split(folder, "train", *SMALL).fingerprint


def test_points_beyond_the_photograph(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    (folder / "CAT_00" / "00000000_000.jpg.cat").write_text(cat_line(-25))  # left ear at -5 and -7
    whole = open_split(folder, "train", *SMALL, "crop=none", "landmarks=9")[0]
    assert whole.visible.tolist() == [True] * 3 + [False, False] + [True] * 4
    cut = open_split(folder, "train", *SMALL, "landmarks=9")[0]
    assert cut.visible.all()
    # 25 px further left, so is the square.
    assert cut.points.tolist() == [[x + 0.5 - 8, y + 0.5 + 4] for x, y in POINTS]


def test_divisions(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    assert open_split(folder, "test", *SMALL).ids == ("CAT_00/00000004_000.jpg",)
    draw = ("division=draw", "train_count=4")
    train, test = (open_split(folder, split, *draw).ids for split in ("train", "test"))
    assert (len(train), len(test)) == (4, 2)
    everything = {f"CAT_0{i % 2}/{i:08d}_000.jpg" for i in range(6)}
    assert set(train) | set(test) == everything
    assert open_split(folder, "train", *draw).ids == train
    draws = {open_split(folder, "train", *draw, f"seed={seed}").ids for seed in range(5)}
    assert len(draws) > 1
    assert "leaves nothing to test on" in refused(folder, "division=draw")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("9 " + "1 2 " * 8, "announces 9 points and holds 16 numbers"),
        ("7 " + "1 2 " * 7, "announces 7 points and holds 14 numbers"),
        ("9 " + "1 x " * 9, "not made of whole numbers"),
        ("<html>no such item</html>", "a web page"),
        ("", "an empty file"),
    ],
)
def test_damaged_cat_files(content: str, words: str, tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    path = folder / "CAT_00" / "00000000_000.jpg.cat"
    path.write_text(content)
    message = refused(folder, *SMALL)
    assert words in message
    assert str(path) in message


def test_damaged_lists_and_folders(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    lists = folder / "zhang2018"
    assert "found 2, published 7,747" in refused(folder)
    (lists / "test.txt").write_text("CAT_00/00000000_000.jpg\n")
    assert "share 1 images, e.g. 'CAT_00/00000000_000.jpg'" in refused(folder, *SMALL)
    (lists / "test.txt").write_text("CAT_00/00000009_000.jpg\n")
    assert "00000009_000.jpg.cat is missing" in refused(folder, *SMALL, split="test")
    (lists / "test.txt").unlink()
    (lists / "train.txt").unlink()
    lists.rmdir()
    message = refused(folder)
    assert "YutingZhang/lmdis-rep" in message
    assert "division=draw" in message
    (folder / "CAT_01" / "00000003_000.jpg.cat").unlink()
    assert "CAT_01/00000003_000.jpg.cat is missing" in refused(folder, "division=draw", "train_count=2")
    (tmp_path / "empty").mkdir()
    assert "holds no CAT_" in refused(tmp_path / "empty", "division=draw")


def test_real_annotations() -> None:
    fixture = SHARED / "fixtures" / "cat_head"
    if not fixture.is_dir():
        pytest.skip("fixtures/cat_head does not lie beside this checkout")
    files = sorted(fixture.glob("*.cat"))
    assert len(files) == 24
    # "9 175 160 239 162 199 199 149 121 137 78 166 93 281 101 312 96 296 133 "
    first = read_cat(fixture / "00000001_000.jpg.cat")
    assert first[0].tolist() == [175, 160]
    assert first[2].tolist() == [199, 199]
    assert first[8].tolist() == [296, 133]
    for file in files:
        points = read_cat(file)
        assert points[0, 0] < points[1, 0]  # left is the image's left
        # The tip is the ear's point farthest from the eyes' centre, the outer end farther than the inner one.
        distance = np.linalg.norm(points - points[:2].mean(axis=0), axis=1)
        assert distance[4] == max(distance[3:6])
        assert distance[7] == max(distance[6:9])


def test_real_photographs(tmp_path: Path) -> None:
    fixture = SHARED / "fixtures" / "cat_head"
    if not fixture.is_dir():
        pytest.skip("fixtures/cat_head does not lie beside this checkout")
    folder = tmp_path / "CAT_00"
    folder.mkdir()
    for photograph in fixture.glob("*.jpg"):
        for file in (photograph, fixture / f"{photograph.name}.cat"):
            (folder / file.name).symlink_to(file)
    dataset = open_split(tmp_path, "train", "division=draw", "train_count=3")
    assert len(dataset) == 3
    for sample in dataset:
        assert sample.image.shape[1] == sample.image.shape[2]
        assert sample.visible.all()
