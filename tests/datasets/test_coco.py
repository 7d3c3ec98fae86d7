"""``coco:FOLDER``: hand-checked coordinates, landmarks and splits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.loading import Preprocessing, load_split
from bench.options import parse_options
from datasets.coco import CocoOptions, CocoProvider
from tests.datasets.coco_folders import (
    CATEGORY,
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
