"""Cuts around boxes: by hand, with factors that depend on nothing but seed and image, and every mistake told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample
from bench.loading import Preprocessing, load_split
from bench.seeds import torch_generator
from bench.zoom import ZoomedDataset, cut, enlarged, zoomed

WIDTH, HEIGHT = 50, 40


class Boxed(LandmarkDataset):
    """Noise images with one box; the landmarks are a corner of the image and three points about the box."""

    def __init__(self, ids: list[str], box: tuple[float, ...] | None = (20, 10, 30, 30)) -> None:
        self.name, self.split, self.box = "boxed", "train", box
        self.info = DatasetInfo("boxed", "own", "none", "none")
        self.schema = LandmarkSchema(("a", "b", "c", "d"))
        self._ids = tuple(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        generator = torch_generator(0, "boxed", self._ids[index])
        image = torch.randint(1, 256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
        return Sample(
            id=self._ids[index],
            image=image,
            points=torch.tensor([[0.0, 0.0], [15.0, 0.0], [35.0, 39.5], [34.5, 20.0]]),
            visible=torch.tensor([True, True, True, True]),
            mask=image[0] > 100,
            labels=image[1],
            box=None if self.box is None else torch.tensor(self.box, dtype=torch.float32),
        )

    @property
    def ids(self) -> tuple[str, ...]:
        return self._ids

    @property
    def fingerprint(self) -> str:
        return f"{self._ids}{self.box}"


IDS = [f"{i}.png" for i in range(200)]


@pytest.mark.parametrize(
    ("box", "factor", "window"),
    [
        ((20, 10, 30, 30), 1.0, (20, 10, 30, 30)),
        # centre (25, 20), half sides 5 and 10
        ((20, 10, 30, 30), 2.0, (15, 0, 35, 40)),
        ((20, 10, 30, 30), 1.5, (18, 5, 33, 35)),  # 17.5 and 32.5 round up
        ((20, 10, 30, 30), 3.0, (10, -10, 40, 50)),
        ((0.2, 0.4, 10.4, 10.6), 1.0, (0, 0, 10, 11)),
    ],
)
def test_windows_by_hand(box: tuple[float, ...], factor: float, window: tuple[int, int, int, int]) -> None:
    assert enlarged(box, factor) == window


def test_a_cut_by_hand() -> None:
    sample = Boxed(["x"])[0]
    part = cut(sample, (15, 0, 35, 40))
    assert torch.equal(part.image, sample.image[:, :, 15:35])
    assert sample.mask is not None
    assert sample.labels is not None
    assert part.mask is not None
    assert part.labels is not None
    assert part.box is not None
    assert torch.equal(part.mask, sample.mask[:, 15:35])
    assert torch.equal(part.labels, sample.labels[:, 15:35])
    assert part.box.tolist() == [5, 10, 15, 30]
    assert part.points.tolist() == [[-15, 0], [0, 0], [20, 39.5], [19.5, 20]]
    # The left and upper edge belong to the cut, the right edge does not.
    assert part.visible.tolist() == [False, True, False, True]
    assert (part.id, part.identity) == (sample.id, sample.identity)


def test_what_was_not_visible_stays_so() -> None:
    sample = replace(Boxed(["x"])[0], visible=torch.tensor([True, False, True, False]))
    assert cut(sample, (0, 0, WIDTH, HEIGHT)).visible.tolist() == [True, False, True, False]


def test_a_cut_beyond_the_image_is_black_there() -> None:
    sample = Boxed(["x"])[0]
    part = cut(sample, (-3, 30, 60, 45))
    expected = torch.zeros(3, 15, 63, dtype=torch.uint8)
    expected[:, :10, 3:53] = sample.image[:, 30:, :]
    assert torch.equal(part.image, expected)
    assert part.mask is not None
    assert part.mask.dtype == torch.bool
    assert part.mask.shape == (15, 63)
    assert not part.mask[10:].any()
    assert part.points[2].tolist() == [38, 9.5]


def test_a_sample_without_landmarks_and_masks_can_be_cut() -> None:
    sample = Sample("x", torch.ones(3, 9, 9, dtype=torch.uint8), torch.zeros(0, 2), torch.zeros(0).bool())
    part = cut(sample, (1, 2, 4, 8))
    assert part.image.shape == (3, 6, 3)
    assert part.points.shape == (0, 2)
    assert part.mask is None
    assert part.labels is None
    assert part.box is None


def test_factors_are_uniform_and_the_images_own() -> None:
    factors = ZoomedDataset(Boxed(IDS), (1.0, 2.0), seed=3).zoom_factors
    drawn = np.sort(list(factors.values()))
    # Kolmogorov's distance from the uniform distribution: 1.63 / sqrt(200) is exceeded once in a hundred.
    assert np.abs(drawn - 1 - (np.arange(200) + 0.5) / 200).max() < 1.63 / np.sqrt(200)
    fewer = ZoomedDataset(Boxed(IDS[150:20:-7]), (1.0, 2.0), seed=3).zoom_factors
    assert all(factors[name] == factor for name, factor in fewer.items())
    assert ZoomedDataset(Boxed(IDS), (1.0, 2.0), seed=4).zoom_factors != factors
    assert set(ZoomedDataset(Boxed(IDS), (1.5, 1.5), seed=4).zoom_factors.values()) == {1.5}


def test_samples_are_cut_by_their_factor() -> None:
    dataset = Boxed(IDS[:5])
    views = ZoomedDataset(dataset, (1.0, 2.0), seed=0)
    assert len(views) == 5
    assert views.ids == dataset.ids
    for sample, whole in zip(views, dataset, strict=True):
        window = enlarged([20, 10, 30, 30], views.zoom_factors[sample.id])
        assert torch.equal(sample.image, cut(whole, window).image)
        assert sample.image.shape[1:] == (window[3] - window[1], window[2] - window[0])


def test_the_fingerprint_follows_everything_that_changes_a_cut() -> None:
    same = [ZoomedDataset(Boxed(IDS), (1.0, 2.0), seed=0).fingerprint for _ in range(2)]
    assert same[0] == same[1]
    others = {
        Boxed(IDS).fingerprint,
        ZoomedDataset(Boxed(IDS), (1.0, 2.0), seed=1).fingerprint,
        ZoomedDataset(Boxed(IDS), (1.0, 2.1), seed=0).fingerprint,
        ZoomedDataset(Boxed(IDS[1:]), (1.0, 2.0), seed=0).fingerprint,
    }
    assert len({*same, *others}) == 5


def test_a_set_with_factors_of_its_own_is_left_alone() -> None:
    once = zoomed(Boxed(IDS), (1.0, 2.0), seed=0)
    assert isinstance(once, ZoomedDataset)
    assert zoomed(once, (1.0, 1.5), seed=1) is once


class Spot(Boxed):
    """A bright pixel block whose centre is the only landmark."""

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
        image[:, 18:22, 24:28] = 200
        point = torch.tensor([[26.0, 20.0]])
        return Sample(
            self._ids[index], image, point, torch.tensor([True]), box=torch.tensor([20.0, 10.0, 30.0, 30.0])
        )


def test_loading_moves_pixels_and_points_together_and_keeps_factors() -> None:
    dataset = Spot(IDS[:12])
    dataset.schema = LandmarkSchema(("spot",))
    views = ZoomedDataset(dataset, (1.0, 2.0), seed=0)
    loaded = load_split(views, Preprocessing(image_size=32, margin=2))
    assert loaded.zoom_factors == tuple(views.zoom_factors[name] for name in views.ids)
    assert loaded.take([3, 1]).cropped().zoom_factors == (loaded.zoom_factors[3], loaded.zoom_factors[1])
    centres = torch.arange(36, dtype=torch.float64) + 0.5
    for image, points in zip(loaded.images[:, 0].double(), loaded.points[:, 0], strict=True):
        found = torch.stack([(image.sum(0) * centres).sum(), (image.sum(1) * centres).sum()]) / image.sum()
        torch.testing.assert_close(found.float(), points, atol=0.1, rtol=0)
    in_workers = load_split(views, Preprocessing(image_size=32, margin=2), workers=1)
    assert torch.equal(in_workers.images, loaded.images)
    assert in_workers.zoom_factors == loaded.zoom_factors
    assert load_split(dataset, Preprocessing(image_size=32)).zoom_factors is None


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (None, r"0\.png has no box.*\n.*-D wild=true, celeba-wild"),
        ((30, 10, 20, 30), r"0\.png: its box \(30, 10, 20, 30\) is empty"),
        ((20, 10, float("nan"), 30), "not finite"),
        ((60, 10, 70, 30), "lies outside its image of 50 x 40"),
        ((20, -30, 30, -10), "lies outside its image"),
        ((20.6, 10, 20.7, 30), "a cut of 0 x"),
    ],
)
def test_boxes_that_cannot_be_cut(box: tuple[float, ...] | None, message: str) -> None:
    views = ZoomedDataset(Boxed(IDS, box), (1.0, 1.01), seed=0)
    with pytest.raises(BenchError, match=message):
        views[0]
