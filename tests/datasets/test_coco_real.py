"""``coco:FOLDER``: real files, where they are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.coco_folders import (
    open_split,
    refused,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


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
