"""A split in memory: resized with its points, in order, the same with any number of workers."""

from __future__ import annotations

import os
import pickle
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from bench.cli import app
from bench.cli.run import run
from bench.errors import BenchError
from bench.landmarks import LandmarkSchema, Sample
from bench.loading import PREPROCESSINGS, LoadedSplit, Preprocessing, load_split, named_preprocessing
from bench.runner import RunRequest
from tests.bench.pictures import HEIGHT, WIDTH, Pictures
from tests.goldens import golden


def test_points_follow_the_resized_image() -> None:
    loaded = load_split(Pictures(2), Preprocessing(image_size=24, margin=3))
    assert loaded.images.shape == (2, 3, 30, 30)
    # x scales by 30 / 60, y by 30 / 40; corners of the image stay its corners.
    expected = torch.tensor([[0.0, 0.0], [30.0, 30.0], [7.75, 22.875]])
    torch.testing.assert_close(loaded.points[0], expected, atol=1e-5, rtol=0)
    assert loaded.points[1, 2, 1].item() == pytest.approx(31.5 * 0.75)


class Blob(Pictures):
    """A bright rectangle, whose centre is its only landmark."""

    def __init__(self) -> None:
        super().__init__(1)
        self.schema = LandmarkSchema(("centre",))

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
        image[:, 20:24, 30:36] = 240
        return Sample("000.jpg", image, torch.tensor([[33.0, 22.0]]), torch.ones(1, dtype=torch.bool))


def test_pixels_and_points_move_together() -> None:
    """The blob's centre of mass in the resized image lies where its landmark is said to be."""
    loaded = load_split(Blob(), Preprocessing(image_size=20))
    weight = loaded.images[0, 0].double()
    centres = torch.arange(20, dtype=torch.float64) + 0.5
    found = torch.stack([(weight.sum(0) * centres).sum(), (weight.sum(1) * centres).sum()]) / weight.sum()
    torch.testing.assert_close(loaded.points[0, 0], torch.tensor([11.0, 11.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.float(), loaded.points[0, 0], atol=0.02, rtol=0)


def test_order_ids_and_identities_are_kept() -> None:
    dataset = Pictures(5)
    loaded = load_split(dataset, Preprocessing(image_size=60))
    assert loaded.ids == dataset.ids
    assert loaded.identities == ("person 0", "person 0", "person 1", "person 1", "person 2")
    assert loaded.name == "pictures/train"
    assert loaded.fingerprint == dataset.fingerprint
    # The third point's y grows with the index.
    assert torch.all(loaded.points[1:, 2, 1] > loaded.points[:-1, 2, 1])
    assert loaded.visible[:, 2].tolist() == [True, False, True, False, True]


def test_crop_removes_the_margin_from_image_and_points() -> None:
    loaded = load_split(Pictures(1), Preprocessing(image_size=16, margin=7))
    cropped = loaded.cropped()
    assert cropped.images.shape == (1, 3, 16, 16)
    assert torch.equal(cropped.images, loaded.images[:, :, 7:23, 7:23])
    assert torch.equal(cropped.points, loaded.points - 7)
    assert cropped.margin == 0
    assert cropped.cropped() is cropped
    assert torch.equal(cropped.visible, loaded.visible)


def test_take_selects_in_the_given_order() -> None:
    loaded = load_split(Pictures(4), Preprocessing(image_size=16))
    taken = loaded.take([3, 1])
    assert taken.ids == ("003.jpg", "001.jpg")
    assert taken.identities == ("person 1", "person 0")
    assert torch.equal(taken.images, torch.stack([loaded.images[3], loaded.images[1]]))
    assert torch.equal(taken.points, torch.stack([loaded.points[3], loaded.points[1]]))
    assert len(loaded.take([])) == 0


def test_an_image_without_landmarks_is_invisible_throughout() -> None:
    loaded = load_split(Pictures(3, unlabelled=1), Preprocessing(image_size=16))
    assert loaded.visible.sum(dim=1).tolist() == [3, 0, 3]
    assert torch.isfinite(loaded.points).all()


def test_workers_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 2)  # so that two workers share the seven images
    dataset = Pictures(7, unlabelled=2)
    alone = load_split(dataset, Preprocessing(image_size=16, margin=2), workers=0)
    helped = load_split(dataset, Preprocessing(image_size=16, margin=2), workers=2)
    assert torch.equal(alone.images, helped.images)
    assert torch.equal(alone.points, helped.points)
    assert torch.equal(alone.visible, helped.visible)
    assert alone.identities == helped.identities


def test_images_of_workers_hold_no_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tensor that a worker hands over is an open file here until it is freed."""
    resource = pytest.importorskip("resource")  # of POSIX
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)  # the lowest number that is free
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 64, hard))
    try:
        loaded = load_split(Pictures(60), Preprocessing(image_size=16), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert torch.equal(loaded.images, load_split(Pictures(60), Preprocessing(image_size=16)).images)


def test_workers_can_be_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS, Windows and newer Pythons send the reader to its workers pickled."""

    class Pickling(torch.utils.data.DataLoader[Any]):
        def __init__(self, dataset: Any, *, collate_fn: Any, batch_size: None, num_workers: int) -> None:
            sent = pickle.loads(pickle.dumps((dataset, collate_fn)))
            super().__init__(sent[0], collate_fn=sent[1], batch_size=batch_size, num_workers=num_workers)

    expected = load_split(Pictures(2), Preprocessing(image_size=16))
    monkeypatch.setattr("bench.decoding.DataLoader", Pickling)
    assert torch.equal(load_split(Pictures(2), Preprocessing(image_size=16)).images, expected.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 2)
    with pytest.raises(BenchError) as caught:
        load_split(Pictures(5, broken=3), Preprocessing(image_size=16), workers=workers)
    assert caught.value.message == "image 003.jpg is damaged"
    assert caught.value.hint == "Copy it again."


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(BenchError, match="split 'train' of 'pictures' is empty"):
        load_split(Pictures(0), Preprocessing())


class Misnamed(Pictures):
    """A list that names other images than it gives."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        super().__init__(3)
        self._ids = ids

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("000.jpg", "001.jpg", "000.jpg"), "pictures train lists '000.jpg' 2 times"),
        (("000.jpg", "002.jpg", "001.jpg"), "gave '001.jpg' where its list says '002.jpg'"),
        (("000.jpg", "001.jpg"), "has 3 samples and 2 ids"),
    ],
)
def test_no_image_is_skipped_or_counted_twice(ids: tuple[str, ...], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        load_split(Misnamed(ids), Preprocessing(image_size=16))


class Misshapen(Pictures):
    """One image whose sample is not what the interface promises."""

    def __init__(self, image: Tensor, landmarks: int) -> None:
        super().__init__(1)
        self.image, self.landmarks = image, landmarks

    def __getitem__(self, index: int) -> Sample:
        points = torch.zeros(self.landmarks, 2)
        return Sample("000.jpg", self.image, points, torch.ones(self.landmarks, dtype=torch.bool))


@pytest.mark.parametrize(
    ("image", "landmarks", "message"),
    [
        (torch.zeros(3, 4, 4), 3, r"000.jpg: the image is torch.float32 \(3, 4, 4\), expected torch.uint8"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), 3, r"the image is torch.uint8 \(4, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), 2, "000.jpg: 2 landmarks, and the data set names 3"),
    ],
)
def test_a_sample_that_breaks_its_promise_is_named(image: Tensor, landmarks: int, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        load_split(Misshapen(image, landmarks), Preprocessing(image_size=16))


def test_sizes_of_the_papers() -> None:
    sizes = {name: (p.working_size, p.margin, p.image_size) for name, p in PREPROCESSINGS.items()}
    assert sizes == {
        "square-96": (96, 0, 96),
        "dve-70": (100, 15, 70),
        "contrast-96": (136, 20, 96),
        "contrast-128": (182, 27, 128),
    }
    assert PREPROCESSINGS["square-96"] == Preprocessing()
    with pytest.raises(BenchError, match="no preprocessing is called 'contrast96'") as caught:
        named_preprocessing("contrast96")
    assert "Did you mean 'contrast-96'" in str(caught.value)


class One(Pictures):
    """A single stored image with its points."""

    def __init__(self, image: Tensor, points: Tensor) -> None:
        super().__init__(1)
        self.image, self.points = image, points
        self.schema = LandmarkSchema(tuple(str(i) for i in range(len(points))))

    def __getitem__(self, index: int) -> Sample:
        return Sample("000.jpg", self.image, self.points, torch.ones(len(self.points), dtype=torch.bool))


def _official(image: np.ndarray[Any, Any], points: Tensor, width: int) -> LoadedSplit:
    preprocessing = PREPROCESSINGS[{100: "dve-70", 136: "contrast-96"}[width]]
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    return load_split(One(pixels, points), preprocessing).cropped()


def _normalised(loaded: LoadedSplit) -> Tensor:
    mean, std = torch.tensor([0.5084, 0.4224, 0.3769]), torch.tensor([0.2599, 0.2371, 0.2323])
    return (loaded.images[0] / 255 - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize("width", [100, 136])
@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_are_those_of_the_official_pipeline(split: str, width: int) -> None:
    """Square images: rows 30 to 207 of CelebA's, resized and cropped by the official code; one grey level."""
    values = golden("dve/f_pipeline.npz")
    key = f"mafl_{width}_{ {100: 15, 136: 20}[width] }_{split}__"
    ours = _normalised(_official(values[key + "image0_u8"][30:208], torch.zeros(1, 2), width))
    np.testing.assert_allclose(ours[:, ::3, ::3].numpy(), values[key + "data0_s3"], atol=0.0175)


@pytest.mark.parametrize("width", [100, 136])
def test_pixels_and_points_of_the_official_pipeline_where_the_aspect_changes(width: int) -> None:
    values = golden("dve/f_pipeline.npz")
    # Official: (row, column), whose origin is the centre of the first pixel.
    stored = torch.from_numpy(values["aflwR_gt0"][:, ::-1].copy()).float() + 0.5
    ours = _official(values["aflwR_image0_u8"], stored, width)
    np.testing.assert_allclose(
        _normalised(ours)[:, ::3, ::3], values[f"aflwR_{width}__data0_s3"], atol=0.0175
    )
    np.testing.assert_allclose(ours.points[0] - 0.5, values[f"aflwR_{width}__kp0"], atol=1e-4)


def test_official_points_are_off_by_half_a_pixel_s_change() -> None:
    """x is scaled by 18 / 60: 0.5 (1 - 0.3) = 0.35 px; y by 18 / 40: 0.5 (1 - 0.45) = 0.275 px."""
    exact, official = (
        load_split(Pictures(1), Preprocessing(image_size=16, margin=1, points=arithmetic)).points[0]
        for arithmetic in ("exact", "official")
    )
    torch.testing.assert_close(official - exact, torch.tensor([[0.35, 0.275]]).expand(3, 2))


def _asked_for(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Preprocessing:
    """The preprocessing that ``bench run`` hands to the runner."""
    seen: list[RunRequest] = []

    def stop(request: RunRequest, progress: object) -> None:
        seen.append(request)
        raise BenchError("seen enough")

    monkeypatch.setattr("bench.runner.run", stop)
    done = CliRunner().invoke(app, ["run", "-m", "random", "-p", "matching", *arguments])
    if not seen and done.exception is not None:
        raise done.exception
    return seen[0].preprocessing


def test_the_command_line_names_a_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _asked_for(monkeypatch) == PREPROCESSINGS["square-96"]
    assert _asked_for(monkeypatch, "--preprocessing", "dve-70") == PREPROCESSINGS["dve-70"]
    changed = _asked_for(monkeypatch, "--preprocessing", "contrast-96", "--image-size", "128")
    assert changed == Preprocessing(image_size=128, margin=20, points="official")
    assert _asked_for(monkeypatch, "--margin", "20") == Preprocessing(image_size=96, margin=20)
    with pytest.raises(BenchError, match="no preprocessing is called 'dve'"):
        _asked_for(monkeypatch, "--preprocessing", "dve")


def test_the_help_names_every_preprocessing() -> None:
    """It is written out there, since help must not import torch."""
    hint = get_type_hints(run, include_extras=True)["preprocessing"]
    assert isinstance(hint, type(Annotated[str, None]))
    text = get_args(hint)[1].help
    assert all(name in text for name in PREPROCESSINGS)
