"""``helen:FOLDER``: painted labels against a naive loop, and damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from datasets.helen import LABEL_NAMES, HelenDataset, HelenOptions, HelenProvider

WIDTH, HEIGHT = 24, 18
LISTS = {"train": "exemplars.txt", "val": "tuning.txt", "test": "testing.txt"}

pytestmark = pytest.mark.usefixtures("own_cache")


def soft_segments(seed: int) -> np.ndarray:
    """(11, H, W) of 0 to 255, overlapping; 127 and 128, around the threshold, occur."""
    segments = np.random.default_rng(seed).integers(100, 150, (11, HEIGHT, WIDTH)).astype(np.uint8)
    segments[:, :, :4] = 0
    segments[4, 3, 5:8] = (127, 128, 255)
    return segments


def write_tree(root: Path) -> Path:
    members = {"train": ["100_1", "200_1", "300_1"], "val": ["400_1"], "test": ["500_1", "600_1"]}
    number = 0
    for part, names in members.items():
        (root / LISTS[part]).write_text("\n".join(f"{i + 1} , {name}" for i, name in enumerate(names)))
        for name in names:
            number += 1
            (root / "images").mkdir(exist_ok=True)
            (root / "labels" / name).mkdir(parents=True)
            pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{name}.jpg")
            for k, segment in enumerate(soft_segments(number)):
                Image.fromarray(segment).save(root / "labels" / name / f"{name}_lbl{k:02}.png")
    return root


def open_split(root: Path, split: str = "train", **options: Any) -> HelenDataset:
    options.setdefault("check_counts", False)
    return HelenProvider().open(split, str(root), HelenOptions(**options))


def test_labels_are_painted_in_order(tmp_path: Path) -> None:
    dataset = open_split(write_tree(tmp_path))
    assert dataset.ids == ("100_1", "200_1", "300_1")
    for index in range(3):
        segments = soft_segments(index + 1)
        expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for row in range(HEIGHT):
            for column in range(WIDTH):
                over = [k for k in range(1, 11) if segments[k, row, column] > 127.5]
                expected[row, column] = max(over, default=0)
        labels = dataset.labels(index)
        np.testing.assert_array_equal(labels, expected)
        sample = dataset[index]
        assert sample.image.shape == (3, HEIGHT, WIDTH)
        assert sample.points.shape == (0, 2)
        assert sample.mask is not None
        np.testing.assert_array_equal(sample.mask, expected > 0)
        assert sample.labels is not None
        np.testing.assert_array_equal(sample.labels, expected)
        assert not sample.mask[:, :4].any()
    assert len(LABEL_NAMES) == 11
    assert dataset.classes == LABEL_NAMES
    assert dataset.info.extra["label_names"][10] == "hair"


def test_published_sizes(tmp_path: Path) -> None:
    counts = {q.path: q.count for q in HelenProvider().requirements(HelenOptions())}
    assert [counts[file] for file in LISTS.values()] == [2000, 230, 100]
    assert counts["images/*.jpg"] == counts["labels/*/*_lbl10.png"] == 2330
    with pytest.raises(BenchError, match=r"exemplars\.txt: found 3, published 2,000"):
        open_split(write_tree(tmp_path), check_counts=True)


def test_fingerprint_follows_the_labels(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    before = open_split(root).fingerprint
    assert open_split(root).fingerprint == before
    assert open_split(root, "val").fingerprint != before
    file = root / "labels" / "200_1" / "200_1_lbl10.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)).save(file)
    assert open_split(root).fingerprint != before


def _list(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "testing.txt").write_text(text)


DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "list gone": (lambda root: (root / "testing.txt").unlink(), ("testing.txt is missing", "face-parsing")),
    "list is a page": (_list("<!doctype html><p>404"), ("testing.txt", "web page")),
    "names alone": (_list("500_1\n600_1\n"), ("line 1", "'500_1'", "number , name")),
    "name lost": (_list("1 , 500_1\n2 ,\n"), ("line 2", "'2 ,'")),
    "named twice": (_list("1 , 500_1\n2 , 500_1\n"), ("lists '500_1' twice",)),
    "leak": (_list("1 , 500_1\n2 , 200_1\n"), ("1 images", "exemplars.txt", "200_1", "wrong split list")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_lists(damage: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    apply, words = DAMAGE[damage]
    apply(root)
    with pytest.raises(BenchError) as caught:
        open_split(root)
    for word in words:
        assert word in str(caught.value)


def test_half_unpacked_labels_are_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    (root / "labels" / "100_1" / "100_1_lbl07.png").unlink()
    with pytest.raises(BenchError, match=r"100_1_lbl07\.png is missing"):
        open_split(root)[0]
    Image.fromarray(np.zeros((9, 12), dtype=np.uint8)).save(root / "labels" / "200_1" / "200_1_lbl03.png")
    with pytest.raises(BenchError, match=r"200_1_lbl03\.png is 12 x 9, 200_1_lbl01\.png is 24 x 18"):
        open_split(root)[1]
    Image.fromarray(np.zeros((9, 12, 3), dtype=np.uint8)).save(root / "images" / "300_1.jpg")
    with pytest.raises(BenchError, match=r"300_1\.jpg is 12 x 9, its labels are 24 x 18"):
        open_split(root)[2]
