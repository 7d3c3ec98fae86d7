from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.landmarks import DatasetInfo, LandmarkDataset, LandmarkSchema, Sample
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.protocol import Measurement
from bench.seeds import torch_generator
from datasets.mafl import MaflUnalignedProvider
from protocols.scale import Scale, ScaleOptions, black_frames, in_bins
from tests.datasets.celeba_tree import open_split, write_tree
from tests.protocols.regression_world import COLOURS, SCHEMA, Colours

SIDE, OBJECT = 80, 30
OPTIONS = ScaleOptions(epochs=20, cosine_t_max=20, learning_rate=0.03, batch_size=20, map_stride=4)


class Scenes(LandmarkDataset):
    """Small objects of three coloured spots, with their box, anywhere in grey images."""

    def __init__(self, split: str, count: int) -> None:
        self.name, self.split, self.count = "scenes", split, count
        self.info = DatasetInfo("scenes", "own", "none", "none")
        self.schema: LandmarkSchema = SCHEMA

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        generator = torch_generator(0, "scenes", self.split, index)
        corner = 25 + 5 * torch.rand(2, generator=generator)
        points = corner + torch.tensor([[8.0, 10.0], [22.0, 10.0], [15.0, 22.0]])
        points = points + 3 * torch.rand(3, 2, generator=generator) - 1.5
        centres = torch.arange(SIDE) + 0.5
        squared = (centres - points[:, :1]).square()[:, None, :] + (centres - points[:, 1:]).square()[
            :, :, None
        ]
        image = torch.einsum("khw,kc->chw", torch.exp(-squared / 16), torch.tensor(COLOURS) / 1.2)
        return Sample(
            id=self.ids[index],
            image=(image + 40).clamp(0, 255).to(torch.uint8),
            points=points,
            visible=torch.ones(3, dtype=torch.bool),
            box=torch.cat([corner, corner + OBJECT]),
        )

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.split}{i}" for i in range(self.count))

    @property
    def fingerprint(self) -> str:
        return f"{self.split}-{self.count}"


def views(
    options: ScaleOptions = OPTIONS, *, train: int = 40, test: int = 40, seed: int = 0, margin: int = 0
) -> EvaluationData:
    preprocessing = Preprocessing(image_size=32, margin=margin)
    learned = Scale().view(Scenes("train", train), "train", options, seed)
    unseen = Scale().view(Scenes("test", test), "test", options, seed)
    return EvaluationData(load_split(learned, preprocessing), load_split(unseen, preprocessing))


def measure(
    data: EvaluationData, options: ScaleOptions = OPTIONS, run: RunContext | None = None
) -> Measurement:
    protocol = Scale()
    protocol.check(options, data)
    return protocol.measure(Colours(), data, options, run or RunContext())


@pytest.fixture(scope="module")
def measured() -> tuple[EvaluationData, Measurement]:
    data = views()
    return data, measure(data)


def by_condition(result: Measurement) -> dict[str, float]:
    return {str(*value.condition.values()): value.value for value in result.values}


def test_training_and_test_images_have_their_own_ranges() -> None:
    data = views()
    train, test = (np.array(split.zoom_factors) for split in (data.training(), data.test))
    assert 1 <= train.min() < 1.1
    assert 1.4 < train.max() <= 1.5
    assert 1 <= test.min() < 1.1
    assert 1.9 < test.max() <= 2
    # The object fills a smaller part of the image where it is zoomed out further.
    apart = (data.test.points[:, 0] - data.test.points[:, 1]).norm(dim=1).numpy()
    assert np.corrcoef(apart, 1 / test)[0, 1] > 0.8
    assert views(seed=1).test.zoom_factors != data.test.zoom_factors


def test_values_are_those_of_the_stored_arrays(measured: tuple[EvaluationData, Measurement]) -> None:
    data, result = measured
    stored = result.per_sample
    np.testing.assert_array_equal(stored["zoom_factors"], np.array(data.test.zoom_factors))
    assert stored["ids"].tolist() == list(data.test.ids)
    distances = np.linalg.norm(stored["predictions"].astype(float) - stored["targets"], axis=2)
    eyes = np.linalg.norm(stored["targets"][:, 0].astype(float) - stored["targets"][:, 1], axis=1)
    errors = 100 * distances / eyes[:, None]
    zoom = stored["zoom_factors"]
    values = by_condition(result)
    assert values.pop("seen") == pytest.approx(errors[zoom <= 1.5].mean(), rel=1e-6)
    assert values.pop("unseen") == pytest.approx(errors[zoom > 1.5].mean(), rel=1e-6)
    assert len(values) == 10
    for i in range(10):
        low, high = 1 + i / 10, 1 + (i + 1) / 10
        inside = errors[(zoom > low) & (zoom <= high)]
        assert values[f"{low:g}-{high:g}"] == pytest.approx(inside.mean(), rel=1e-6)
    counts = [value.count for value in result.values]
    assert sum(counts[:2]) == sum(counts[2:]) == 40  # type: ignore[arg-type]
    assert all(value.low <= value.value <= value.high for value in result.values)  # type: ignore[operator]
    assert [value.condition for value in result.values[:3]] == [
        {"scales": "seen"},
        {"scales": "unseen"},
        {"zoom": "1-1.1"},
    ]


def test_a_regressor_that_sees_the_landmarks_does_worse_on_unseen_scales(
    measured: tuple[EvaluationData, Measurement],
) -> None:
    values = by_condition(measured[1])
    assert values["seen"] < values["unseen"]
    assert values["seen"] < 25


def _a_tenth_off(
    options: ScaleOptions, run: RunContext, *, split: LoadedSplit, unseen: Any, test: LoadedSplit, **_: Any
) -> Arrays:
    """Every landmark a tenth of the eyes' distance too far right."""
    del options, run, split, unseen
    apart = (test.points[:, 0] - test.points[:, 1]).norm(dim=1)
    shift = torch.stack([apart / 10, torch.zeros(len(test))], dim=1)
    return {"predictions": (test.points + shift[:, None]).numpy(), "losses": np.zeros(1)}


def test_errors_do_not_shrink_with_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    data = views()
    monkeypatch.setattr(
        "protocols.heads.regressor.fit_and_predict",
        lambda *args, **kwargs: _a_tenth_off(*args, **kwargs, test=data.test),
    )
    values = by_condition(measure(data))
    np.testing.assert_allclose(list(values.values()), 10, rtol=1e-5)


def test_bins_by_hand() -> None:
    options = ScaleOptions()
    assert options.edges() == [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2]
    factors = np.array([1.0, 1.1, 1.1000001, 1.5, 1.5000001, 2.0])
    # An edge belongs to the lower bin, the very first one to the only bin it touches.
    assert [np.flatnonzero(chosen).tolist() for chosen in in_bins(factors, options.edges())] == [
        *([0, 1], [2], [], [], [3]),
        *([4], [], [], [], [5]),
    ]
    # The seen range ends where a bin ends.
    assert options.seen(factors).tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("zoom", "width", "edges"),
    [
        ((1.0, 1.25), 0.1, [1, 1.1, 1.2, 1.25]),
        ((1.0, 1.5), 2.0, [1, 1.5]),
        ((1.0, 1.0), 0.1, [1, 1]),
        ((1.5, 2.0), 0.25, [1.5, 1.75, 2]),
    ],
)
def test_bins_end_with_the_range(zoom: tuple[float, float], width: float, edges: list[float]) -> None:
    assert ScaleOptions(test_zoom=zoom, bin_width=width).edges() == edges
    chosen = in_bins(np.array(zoom), edges)
    assert len(chosen) == len(edges) - 1
    assert np.sum(chosen, axis=0).tolist() == [1, 1]


def test_hidden_landmarks_do_not_count_and_empty_bins_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = views(test=20)
    factors = np.array(data.test.zoom_factors)
    data.test.visible[factors > 1.8] = False
    data.test.visible[:, 2] = False
    monkeypatch.setattr(
        "protocols.heads.regressor.fit_and_predict",
        lambda *args, **kwargs: _a_tenth_off(*args, **kwargs, test=data.test),
    )
    result = measure(data)
    assert not {"1.8-1.9", "1.9-2"} & set(by_condition(result))
    assert result.per_sample["counted"].sum() == 2 * (factors <= 1.8).sum()
    unseen = next(value for value in result.values if value.condition == {"scales": "unseen"})
    assert unseen.count == ((factors > 1.5) & (factors <= 1.8)).sum()
    assert unseen.value == pytest.approx(10, rel=1e-5)


def test_the_batch_size_does_not_matter() -> None:
    data, options = views(train=12, test=24), OPTIONS.model_copy(update={"epochs": 2})
    one, other = (measure(data, options, RunContext(batch_size=size)) for size in (64, 5))
    np.testing.assert_allclose(one.per_sample["predictions"], other.per_sample["predictions"], atol=1e-3)


class Knowing(FeatureExtractor):
    """Predicts the mean of the annotated training shapes; its features cannot be read."""

    capabilities = frozenset({"dense", "annotated"})

    def forward(self, images: Tensor) -> Any:
        raise AssertionError("no features are needed")

    def annotated_landmarks(self, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        return points.mean(0).expand(len(images), -1, -1)


def test_methods_that_predict_landmarks_are_asked() -> None:
    data = views()
    result = Scale().measure(Knowing(), data, OPTIONS, RunContext())
    mean = data.training().points.mean(0).numpy()
    np.testing.assert_allclose(result.per_sample["predictions"], np.tile(mean, (40, 1, 1)), rtol=1e-5)
    assert any("no regressor was trained" in note for note in result.notes)


# --- data that is already cut, and data that cannot be -------------------------------------------------------


def test_factors_are_not_applied_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    root = write_tree(tmp_path / "celeba", [0] * 4 + [2] * 8, training=range(1, 5), testing=range(5, 13))
    split = open_split(MaflUnalignedProvider(), root, "test")
    assert Scale().view(split, "test", OPTIONS, 0) is split
    assert split.zoom_factors is not None
    assert max(split.zoom_factors.values()) > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"test_zoom": (1.0, 1.6)},
            r"factors of its own, from 1 to 1\.98, and test_zoom says 1 to 1\.6\n.*-P test_zoom=\[1\.0,2\.0\]",
        ),
        ({"train_zoom": (1.2, 1.5)}, r"train_zoom says 1\.2 to 1\.5"),
        (
            {"train_zoom": (1.0, 1.99)},
            "no image of scenes/test is zoomed out further than what is learned from",
        ),
    ],
)
def test_factors_must_be_what_the_options_say(options: dict[str, Any], message: str) -> None:
    data = views()
    with pytest.raises(BenchError, match=message):
        Scale().check(OPTIONS.model_copy(update=options), data)


def test_splits_that_are_not_cut_are_refused() -> None:
    whole = load_split(Scenes("test", 3), Preprocessing(image_size=32))
    with pytest.raises(BenchError, match="not cut around boxes"):
        Scale().check(OPTIONS, EvaluationData(views().train, whole))


@pytest.mark.parametrize("zoom", [(1.5, 1.0), (0.0, 1.0), (1.0, math.inf), (-1.0, 1.0)])
def test_ranges_that_cannot_be(zoom: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="two positive factors"):
        ScaleOptions(train_zoom=zoom)


# --- what is drawn and said ----------------------------------------------------------------------------------


def test_the_seen_range_is_shaded(measured: tuple[EvaluationData, Measurement]) -> None:
    picture = measured[1].pictures["zoom_curve"]
    assert picture.shape == (480, 720, 3)
    assert picture.dtype == np.uint8
    # A row below the curve, within the axes: grey up to 1.5, the middle of the range, white from there.
    row = picture[400, 60:700, 0].astype(int)
    shaded = np.flatnonzero(row == 230)
    white = np.flatnonzero(row == 255)
    middle = (52 + 705) / 2 - 60
    assert abs(shaded.max() - middle) < 5
    assert abs(white[white > 100].min() - middle) < 5


def test_black_frames_by_hand() -> None:
    images = torch.full((4, 3, 10, 10), 7, dtype=torch.uint8)
    images[1, :, :2] = 0
    images[1, :, :, 9:] = 0
    images[2, :, 4:6, 4:6] = 0
    images[3] = 0
    # 8 rows of 9; a hole is no frame; nothing at all.
    torch.testing.assert_close(black_frames(images), torch.tensor([0, 0.28, 0, 1], dtype=torch.float64))


def test_black_frames_and_margins_are_noted() -> None:
    once = OPTIONS.model_copy(update={"epochs": 1})
    assert measure(views(test=10), once).notes == ()
    assert "a method sees 0.80 of the sides" in measure(views(test=10, margin=4), once).notes[0]
    far = once.model_copy(update={"test_zoom": (3.0, 4.0)})
    data = views(far, train=10, test=10)
    # The image is 80 pixels wide and the box 30: every cut reaches beyond it.
    shown = SIDE / OBJECT / np.array(data.test.zoom_factors)
    (note,) = measure(data, far).notes
    found = re.fullmatch(r"10 of 10 test cuts reach beyond their image; the (\d+) % .* are black", note)
    assert found is not None
    # Where a pixel is mixed from the image and what lies beyond, it is not black.
    most, least = (100 * (1 - np.mean((shown + mixed / 32) ** 2)) for mixed in (0, 2))
    assert least < float(found[1]) <= most


def test_presets_are_options() -> None:
    assert ScaleOptions(**Scale.presets["paper"]) == ScaleOptions()
    assert (ScaleOptions().train_zoom, ScaleOptions().test_zoom) == ((1.0, 1.5), (1.0, 2.0))
    assert (ScaleOptions().epochs, ScaleOptions().cosine_t_max) == (150, 200)
    assert ScaleOptions(**Scale.presets["quick"]).epochs == 6
