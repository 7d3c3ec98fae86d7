"""A split in memory: resized with its points, in order, the same with any number of workers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample, no_landmarks
from bench.loading import Preprocessing, load_split
from bench.seeds import torch_generator

WIDTH, HEIGHT = 60, 40


class Pictures(LandmarkDataset):
    """Noise images of 60 x 40 with three known points; one image may be broken, another unlabelled."""

    def __init__(self, count: int, broken: int | None = None, unlabelled: int | None = None) -> None:
        self.name, self.split = "pictures", "train"
        self.info = DatasetInfo("pictures", "own", "none", "none")
        self.schema = LandmarkSchema(("a", "b", "c"))
        self.count, self.broken, self.unlabelled = count, broken, unlabelled

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise BenchError(f"image {index:03d}.jpg is damaged", hint="Copy it again.")
        image = torch.randint(
            0, 256, (3, HEIGHT, WIDTH), generator=torch_generator(index, "picture"), dtype=torch.uint8
        )
        points = torch.tensor([[0.0, 0.0], [WIDTH, HEIGHT], [15.5, 30.5 + index]])
        visible = torch.tensor([True, True, index % 2 == 0])
        if index == self.unlabelled:
            points, visible = no_landmarks()
        return Sample(f"{index:03d}.jpg", image, points, visible, identity=f"person {index // 2}")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{i:03d}.jpg" for i in range(self.count))

    @property
    def fingerprint(self) -> str:
        return f"{self.count:x}"


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
    assert loaded.fingerprint == "5"
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


def test_workers_do_not_change_the_result() -> None:
    dataset = Pictures(7, unlabelled=2)
    alone = load_split(dataset, Preprocessing(image_size=16, margin=2), workers=0)
    helped = load_split(dataset, Preprocessing(image_size=16, margin=2), workers=2)
    assert torch.equal(alone.images, helped.images)
    assert torch.equal(alone.points, helped.points)
    assert torch.equal(alone.visible, helped.visible)
    assert alone.identities == helped.identities


def test_workers_can_be_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS, Windows and newer Pythons send the reader to its workers pickled."""

    class Pickling(torch.utils.data.DataLoader[Any]):
        def __init__(self, dataset: Any, *, collate_fn: Any, batch_size: None, num_workers: int) -> None:
            sent = pickle.loads(pickle.dumps((dataset, collate_fn)))
            super().__init__(sent[0], collate_fn=sent[1], batch_size=batch_size, num_workers=num_workers)

    expected = load_split(Pictures(2), Preprocessing(image_size=16))
    monkeypatch.setattr("bench.loading.DataLoader", Pickling)
    assert torch.equal(load_split(Pictures(2), Preprocessing(image_size=16)).images, expected.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named(workers: int) -> None:
    with pytest.raises(BenchError) as caught:
        load_split(Pictures(5, broken=3), Preprocessing(image_size=16), workers=workers)
    assert caught.value.message == "image 003.jpg is damaged"
    assert caught.value.hint == "Copy it again."


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(BenchError, match="split 'train' of 'pictures' is empty"):
        load_split(Pictures(0), Preprocessing())
