"""Masks and classes of a split: resized by pixel centres, carried along, kept on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.decoding import resize_classes
from bench.errors import BenchError
from bench.image_cache import ImageCache
from bench.landmarks import FIGURE_GROUND, UNLABELLED, LandmarkDataset, Sample
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.seeds import torch_generator
from bench.zoom import cut
from tests.bench.pictures import HEIGHT, WIDTH, Pictures

SMALL = Preprocessing(image_size=16, margin=2)
CLASSES = ("background", "skin", "hair", "mouth")


class Masked(Pictures):
    """Pictures whose samples have random masks, or random classes; some have neither."""

    def __init__(
        self, count: int, bare: tuple[int, ...] = (), classes: tuple[str, ...] = FIGURE_GROUND
    ) -> None:
        super().__init__(count)
        self.bare, self.classes = bare, classes

    def annotation(self, index: int) -> Tensor:
        generator = torch_generator(1, "classes", index)
        return torch.randint(0, len(self.classes), (HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)

    def __getitem__(self, index: int) -> Sample:
        plain = super().__getitem__(index)
        if index in self.bare:
            return plain
        values = self.annotation(index)
        labels = values if len(self.classes) > 2 else None
        return Sample(plain.id, plain.image, plain.points, plain.visible, mask=values > 0, labels=labels)

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint}-{self.bare}-{self.classes}"


def loaded(dataset: LandmarkDataset, preprocessing: Preprocessing = SMALL) -> LoadedSplit:
    return load_split(dataset, preprocessing)


def masks_of(split: LoadedSplit) -> Tensor:
    assert split.masks is not None
    return split.masks


def test_each_pixel_takes_the_class_at_its_centre() -> None:
    generator = torch_generator(0, "classes")
    for height, width, side in ((40, 60, 20), (7, 5, 16), (96, 96, 96), (31, 64, 30)):
        classes = torch.randint(0, 11, (height, width), generator=generator, dtype=torch.uint8)
        found = resize_classes(classes, side)
        assert found.dtype == torch.uint8
        for i in range(side):
            for j in range(side):
                # Exact fractions: floor((j + 1/2) width / side).
                x, y = (2 * j + 1) * width // (2 * side), (2 * i + 1) * height // (2 * side)
                assert found[i, j] == classes[y, x]


def test_a_mask_moves_with_its_image() -> None:
    """A bright rectangle, whose mask is itself, halved in both directions."""
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    image[:, 8:20, 12:30] = 255

    class One(Pictures):
        def __getitem__(self, index: int) -> Sample:
            plain = super().__getitem__(index)
            return Sample(plain.id, image, plain.points, plain.visible, mask=image[0] > 0)

    split = loaded(One(1), Preprocessing(image_size=20))
    expected = torch.zeros(20, 20, dtype=torch.uint8)
    expected[4:10, 6:15] = 1
    assert torch.equal(masks_of(split)[0], expected)
    assert torch.equal(split.images[0, 0] > 127, expected.bool())
    assert split.classes == ("background", "foreground")


def test_classes_come_before_the_mask() -> None:
    dataset = Masked(3, classes=CLASSES)
    split = loaded(dataset)
    assert split.classes == CLASSES
    for index in range(3):
        assert torch.equal(masks_of(split)[index], resize_classes(dataset.annotation(index), 20))


def test_an_image_without_a_mask_is_unlabelled_throughout() -> None:
    masks = masks_of(loaded(Masked(5, bare=(1, 3))))
    assert [bool((mask == UNLABELLED).all()) for mask in masks] == [False, True, False, True, False]
    assert bool((masks[::2] <= 1).all())
    assert loaded(Masked(3, bare=(0, 1, 2))).masks is None
    assert loaded(Pictures(3)).masks is None


def test_crop_and_selection_carry_the_masks() -> None:
    split = loaded(Masked(4, classes=CLASSES))
    cropped = split.cropped()
    assert torch.equal(masks_of(cropped), masks_of(split)[:, 2:18, 2:18])
    assert masks_of(cropped).shape[1:] == cropped.images.shape[2:]
    taken = split.take([3, 0])
    assert torch.equal(masks_of(taken), masks_of(split)[[3, 0]])
    assert taken.classes == cropped.classes == CLASSES


def test_zoomed_cuts_carry_masks_and_classes() -> None:
    sample = cut(Masked(1, classes=CLASSES)[0], (-2, 3, 8, 11))
    values = Masked(1, classes=CLASSES).annotation(0)
    assert sample.labels is not None
    assert sample.mask is not None
    assert torch.equal(sample.labels[:, 2:], values[3:11, :8])
    assert bool((sample.labels[:, :2] == 0).all())
    assert torch.equal(sample.mask, sample.labels > 0)


@pytest.mark.parametrize("bare", [(), (0, 1), (2, 5)])
def test_workers_do_not_change_masks(bare: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 2)  # the first chunk of (0, 1) has no mask at all
    dataset = Masked(6, bare=bare, classes=CLASSES)
    alone = load_split(dataset, SMALL, workers=0)
    helped = load_split(dataset, SMALL, workers=2)
    assert torch.equal(masks_of(alone), masks_of(helped))
    for index in range(6):
        expected = torch.full((20, 20), UNLABELLED, dtype=torch.uint8)
        if index not in bare:
            expected = resize_classes(dataset.annotation(index), 20)
        assert torch.equal(masks_of(alone)[index], expected)


def test_masks_are_kept_on_disk_small_and_checked(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.decoding._PER_CHUNK", 2)
    cache = ImageCache(tmp_path_factory.mktemp("cache"), 10**9)
    dataset = Masked(7, bare=(1, 4, 5), classes=CLASSES)
    expected = load_split(dataset, SMALL)
    first = load_split(dataset, SMALL, cache=cache)
    dataset.reads.clear()
    second = load_split(dataset, SMALL, cache=cache)
    assert dataset.reads == []
    for split in (first, second):
        assert torch.equal(masks_of(split), masks_of(expected))
        assert torch.equal(split.images, expected.images)
        assert split.classes == CLASSES
    (file,) = cache.folder.glob("*/annotation.npz")
    assert file.stat().st_size < masks_of(expected).numel()  # of noise; true masks shrink to a few percent
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = load_split(dataset, SMALL, cache=cache)
    assert set(dataset.reads) == set(range(7))
    assert torch.equal(masks_of(again), masks_of(expected))
    assert load_split(Pictures(3), SMALL, cache=cache).masks is None


class Wrong(Pictures):
    """One sample whose mask or classes are not what the interface promises."""

    def __init__(self, mask: Tensor | None, labels: Tensor | None) -> None:
        super().__init__(1)
        self.mask, self.labels, self.classes = mask, labels, CLASSES

    def __getitem__(self, index: int) -> Sample:
        plain = super().__getitem__(index)
        return Sample(plain.id, plain.image, plain.points, plain.visible, mask=self.mask, labels=self.labels)


@pytest.mark.parametrize(
    ("mask", "labels", "message"),
    [
        (
            torch.ones(HEIGHT, WIDTH),
            None,
            r"000.jpg: its mask is torch.float32 \(40, 60\), expected torch.bool",
        ),
        (torch.ones(WIDTH, HEIGHT, dtype=torch.bool), None, r"\(60, 40\), expected torch.bool \(40, 60\)"),
        (None, torch.ones(HEIGHT, WIDTH, dtype=torch.int64), r"its labels is torch.int64"),
        (None, torch.full((HEIGHT, WIDTH), 4, dtype=torch.uint8), "has class 4, and the data set names 4"),
    ],
)
def test_a_sample_that_breaks_its_promise_is_named(
    mask: Tensor | None, labels: Tensor | None, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        load_split(Wrong(mask, labels), SMALL)


def test_partly_unlabelled_classes_are_allowed() -> None:
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    labels[:, 30:] = UNLABELLED
    masks = masks_of(load_split(Wrong(None, labels), Preprocessing(image_size=20)))
    np.testing.assert_array_equal(masks[0], np.where(np.arange(20) < 10, 0, UNLABELLED)[None].repeat(20, 0))
