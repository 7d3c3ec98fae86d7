"""``bbcpose:FOLDER``: joints by hand, the papers' crops, and every kind of damage."""

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
from bench.options import parse_options
from datasets.bbcpose import JOINTS, SCHEMA, VIDEOS, BBCPoseOptions, BBCPoseProvider, crop_of
from datasets.listed import ListedDataset

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WIDTH, HEIGHT = 400, 320
SMALL = ("check_counts=false",)
FIELDS = ("videoName", "type", "source", "train_frames", "train_joints", "test_frames", "test_joints")

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def joints(frames: int, start: float = 0.0) -> Array:
    """(2, 7, N): joint j of frame f at (100 + 10 j + f, 60 + 20 j + start)."""
    j, f = np.meshgrid(np.arange(7), np.arange(frames), indexing="ij")
    return np.stack([100.0 + 10 * j + f, 60.0 + 20 * j + start + 0 * f])


def videos(kinds: list[str]) -> Array:
    table = np.empty((1, len(kinds)), dtype=[(field, object) for field in FIELDS])
    for i, kind in enumerate(kinds):
        by_hand = kind == "val" and i > 1
        table[0, i]["videoName"], table[0, i]["type"], table[0, i]["source"] = (
            f"video{i + 1}",
            kind,
            "charles",
        )
        table[0, i]["train_frames"] = np.array([[7.0, 14.0, 21.0]])
        table[0, i]["train_joints"] = joints(3)
        table[0, i]["test_frames"] = np.array([[30.0, 31.0]]) if by_hand else np.zeros((0, 0))
        table[0, i]["test_joints"] = joints(2, 0.25) if by_hand else np.zeros((0, 0))
    return table


def results(video: Array, frame: Array, gt: Array) -> dict[str, Any]:
    return {"results": {"gt": gt, "frame_name": frame, "video_name": video}}


def write_copy(folder: Path, kinds: list[str] | None = None, images: tuple[str, ...] = ()) -> Path:
    code = folder / "code"
    code.mkdir(parents=True)
    scipy.io.savemat(code / "bbcpose.mat", {"bbcpose": videos(kinds or ["train", "val", "test", "val"])})
    test = results(np.array([[16.0, 17.0]]), np.array([[11.0, 22.0]]), joints(2, 0.5))
    scipy.io.savemat(code / "results.mat", test)
    rng = np.random.default_rng(0)
    for name in images:
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def open_split(folder: Path, split: str, *items: str) -> ListedDataset:
    return BBCPoseProvider().open(split, str(folder), parse_options(BBCPoseOptions, items, "bbcpose"))


def refused(folder: Path, split: str, *items: str) -> str:
    with pytest.raises(BenchError) as caught:
        open_split(folder, split, *items)
    return str(caught.value)


def stored(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(folder / name))).permute(2, 0, 1)


def test_joints_by_hand(tmp_path: Path) -> None:
    folder = write_copy(tmp_path, images=("17/22.jpg",))
    sample = open_split(folder, "test", *SMALL, "crop=none")[1]
    assert sample.id == "17/22.jpg"
    assert sample.identity == "video 17"
    # Frame 1: head (101, 60.5), right wrist (111, 80.5), left shoulder (161, 180.5); one-based.
    assert sample.points[0].tolist() == [100.5, 60.0]
    assert sample.points[1].tolist() == [110.5, 80.0]
    assert sample.points[6].tolist() == [160.5, 180.0]
    assert torch.equal(sample.image, stored(folder, "17/22.jpg"))
    zero_based = open_split(folder, "test", *SMALL, "crop=none", "base=0")[1]
    assert zero_based.points[0].tolist() == [101.5, 61.0]


def test_window_of_the_papers(tmp_path: Path) -> None:
    folder = write_copy(tmp_path, images=("16/11.jpg", "17/22.jpg"))
    dataset = open_split(folder, "test", *SMALL)
    sample = dataset[0]
    # Joints span (99.5..159.5, 60..180), centre (129.5, 120): 300 px about it begin at (-20, -30).
    assert sample.image.shape == (3, 300, 300)
    assert sample.points[0].tolist() == [99.5 + 20, 60.0 + 30]
    assert not sample.image[:, :30].any()
    assert not sample.image[:, :, :20].any()
    assert torch.equal(sample.image[:, 30:, 20:], stored(folder, "16/11.jpg")[:, :270, :280])
    assert dataset.fingerprint != open_split(folder, "test", *SMALL, "crop=loose").fingerprint


def test_loose_crop(tmp_path: Path) -> None:
    folder = write_copy(tmp_path, images=("1/7.jpg",))
    sample = open_split(folder, "train", *SMALL, "crop=loose")[0]
    # Joints span (99.5..159.5, 59.5..179.5): (39, -1) to (220, 240).
    assert sample.image.shape == (3, 241, 181)
    assert sample.points[0].tolist() == [99.5 - 39, 59.5 + 1]
    assert torch.equal(sample.image[:, 1:], stored(folder, "1/7.jpg")[:, :240, 39:220])


def test_a_frame_without_joints_stays_whole() -> None:
    assert crop_of(np.zeros((0, 2)), "window", (HEIGHT, WIDTH)) == (0, 0, WIDTH, HEIGHT)


def test_videos_make_the_splits(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    assert open_split(folder, "train", *SMALL).ids == ("1/7.jpg", "1/14.jpg", "1/21.jpg")
    # Video 2 has no frames annotated by hand, video 4 has.
    val = open_split(folder, "val", *SMALL)
    assert val.ids == ("2/7.jpg", "2/14.jpg", "2/21.jpg", "4/30.jpg", "4/31.jpg")
    assert val.entries[4].points[0].tolist() == [100.5, 59.75]
    provider, options = BBCPoseProvider(), BBCPoseOptions()
    assert provider.evaluation_splits(None, options) == ("val", "test")
    assert provider.pretraining_splits(None, options) == ("train",)


def test_the_extended_set_is_left_out_and_types_are_the_published_ones(tmp_path: Path) -> None:
    kinds = [kind for kind, numbers in VIDEOS.items() for _ in numbers] + ["train"] * 72
    whole = write_copy(tmp_path / "whole", kinds)
    dataset = open_split(whole, "train")
    assert {entry.identity for entry in dataset.entries} == {f"video {i}" for i in range(1, 11)}
    kinds[10] = "train"
    message = refused(write_copy(tmp_path / "other", kinds), "train")
    assert "video 11 is of type 'train', expected val" in message


def test_mirror_images_exchange_left_and_right() -> None:
    assert SCHEMA.flip_indices is not None
    mirrored = [JOINTS[i] for i in SCHEMA.flip_indices]
    swap = {"left": "right", "right": "left"}
    sides = (name.partition("_") for name in JOINTS)
    assert mirrored == [f"{swap[side]}_{rest}" if side in swap else side for side, _, rest in sides]


def test_texts_in_cells_are_read_as_numbers(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    frames = np.array([["000011.jpg", "22"]], dtype=object)
    names = np.array([["video16", "video17"]], dtype=object)
    scipy.io.savemat(folder / "code" / "results.mat", results(names, frames, joints(2)))
    assert open_split(folder, "test", *SMALL).ids == ("16/11.jpg", "17/22.jpg")


def test_unannotated_joints_are_invisible(tmp_path: Path) -> None:
    folder = write_copy(tmp_path, images=("16/11.jpg",))
    gt = joints(2)
    gt[:, 2, 0] = np.nan
    numbers = np.array([[16.0, 17.0]]), np.array([[11.0, 22.0]])
    scipy.io.savemat(folder / "code" / "results.mat", results(*numbers, gt))
    assert open_split(folder, "test", *SMALL)[0].visible.tolist() == [True, True, False] + [True] * 4


GOOD = (np.array([[16.0, 17.0]]), np.array([[11.0, 22.0]]))
DAMAGE: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "swapped axes": (lambda: results(*GOOD, joints(2).transpose(1, 0, 2)), "(7, 2, 2), expected numbers (2, 7, N)"),
    "another number of joints": (lambda: results(*GOOD, joints(2)[:, :5]), "(2, 5, 2), expected numbers (2, 7, N)"),
    "a frame too few": (lambda: results(*GOOD, joints(3)), "has 3 frames, their numbers are 2"),
    "no such variable": (lambda: {"predictions": joints(2)}, "has no variable 'results'"),
    "no such field": (lambda: {"results": {"gt": joints(2), "video": GOOD[0]}}, "no field frame"),
    "half a frame": (lambda: results(GOOD[0], GOOD[1] + 0.5, joints(2)), "11.5 is no number of a frame"),
    "a frame twice": (
        lambda: results(np.array([[16.0, 16.0]]), np.array([[11.0, 11.0]]), joints(2)),
        "lists '16/11.jpg' twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_results(damage: str, tmp_path: Path) -> None:
    content, words = DAMAGE[damage]
    folder = write_copy(tmp_path)
    scipy.io.savemat(folder / "code" / "results.mat", content())
    assert words in refused(folder, "test", *SMALL)


def test_files_that_are_no_matlab(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    path = folder / "code" / "results.mat"
    whole = path.read_bytes()
    path.write_text("<html><body>Sign the BBC agreement first</body></html>")
    assert "web page" in refused(folder, "test", *SMALL)
    path.write_bytes(whole[: len(whole) // 2])
    assert "results.mat is damaged" in refused(folder, "test", *SMALL)
    path.unlink()
    assert "robots.ox.ac.uk" in refused(folder, "test", *SMALL)


def test_published_counts_are_insisted_on(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    assert "found 2, published 1,000" in refused(folder, "test")
    assert "found 4, published 20" in refused(folder, "train")


def test_a_video_of_another_split_among_the_test_frames(tmp_path: Path) -> None:
    folder = write_copy(tmp_path)
    videos_ = np.repeat([[16.0, 12.0]], 500, axis=0).reshape(1, 1000)
    frames = np.arange(1000.0)[None]
    scipy.io.savemat(folder / "code" / "results.mat", results(videos_, frames, joints(1000)))
    assert "frames of video 12; videos 16-20 are the test set" in refused(folder, "test")


def test_fixture() -> None:
    fixture = SHARED / "fixtures" / "bbcpose_synthetic"
    if not fixture.is_dir():
        pytest.skip("fixtures/bbcpose_synthetic does not lie beside this checkout")
    from datasets.bbcpose import read_results, read_videos  # noqa: PLC0415

    first, second = read_results(fixture / "results.mat", check_counts=False)
    assert (first.video, first.number, second.number) == (16, 11, 22)
    # gt's first column, x 270.3 136.1 129.0 ... over y 85.3 228.7 148.9 ...
    np.testing.assert_allclose(first.joints[:3], [[270.3, 85.3], [136.1, 228.7], [129.0, 148.9]], atol=0.01)
    np.testing.assert_allclose(second.joints[6], [111.8, 192.8], atol=0.01)
    kinds = [
        (video.kind, len(video.frames)) for video in read_videos(fixture / "bbcpose.mat", check_counts=False)
    ]
    assert kinds == [("train", 4), ("val", 3), ("test", 3)]
