"""Segmentation by a linear layer on the features, from few annotated images or many."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.interpolation import resize
from bench.landmarks import UNLABELLED
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.record import RunRecord
from bench.seeds import derive_seed, torch_generator
from protocols.heads.segmentation import HeadSettings, SegmentationHead, class_shares, train_head
from protocols.scores.masks import COUNTED, MIOU, PIXEL_ACCURACY, count_pixels, values_by_count

_SHORTEST = 1e-12
"""Features that are zero everywhere stay zero."""

_SHOWN = 8  # test images on the picture

_WHERE_MASKS_ARE = "Sets with masks: the synthetic ones, cub (with segmentations/), helen."


class SegmentationOptions(ProtocolOptions):
    """Which annotations are drawn and how the layer is trained on them."""

    counts: tuple[int, ...] = Field((10, 50, 100, 250, 1241), description="Numbers of annotated images.")
    draws: int = Field(3, ge=1, description="Support sets drawn for each count.")
    finetune: bool = Field(
        False, description="Train the network together with the layer, batch norm as in evaluation."
    )
    steps: int = Field(2000, ge=1, description="Training steps, for every count.")
    batch_size: int = Field(32, ge=1, description="Images in a training step.")
    learning_rate: float = Field(0.03, gt=0, description="Adam's initial rate, of the layer.")
    network_learning_rate: float = Field(0.0003, gt=0, description="Of the network, where it is fine-tuned.")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty, added to the gradient.")
    map_stride: int = Field(2, ge=1, description="Scores are computed at image size / map_stride.")

    @field_validator("counts")
    @classmethod
    def _counts_increase(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if not counts or counts[0] < 1 or list(counts) != sorted(set(counts)):
            raise ValueError(f"counts must be positive and increasing, got {list(counts)}")
        return counts

    def settings(self) -> HeadSettings:
        return HeadSettings(**{name: getattr(self, name) for name in HeadSettings.model_fields})

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = image_size
        return max(1, height // self.map_stride), max(1, width // self.map_stride)


class Segmentation(Protocol):
    """A 1x1 convolution on the features is trained to tell the class of each pixel, by cross-entropy.

    Foreground and background where the set has masks (birds), parts where it has classes (HELEN). Annotations and
    predictions are those of the method's input image: annotation is resized to it, scores are computed on a map of
    half its side and enlarged bilinearly. A draw is a seeded permutation of the annotated training images; the
    support set of n is its first n, so that the sets are nested.

    Not published, and chosen here: loss, optimiser, rates, steps, size of the map, number of draws. A cell of the map
    that several classes share is to be predicted in those shares. Of ContrastLandmarks' table, whether the
    background's own overlap enters: its random features score 0.00, so it does not. Of Thewlis et al., which ten
    classes: the set has eleven, all of which are used.

    Reference:
        ContrastLandmarks, supplement, section 5 and Table 6 (counts as here, one row per ``finetune``). Thewlis et
        al., supplement, Tables 3 and 4: preset ``parsing``.
    """

    name: ClassVar[str] = "segmentation"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "foreground or parts of the object from features by a linear layer"
    reference: ClassVar[str] = (
        "Cheng et al., ICCV 2021, supplement, Table 6; Thewlis et al., ICCV 2017, supplement, Tables 3 and 4"
    )
    Options: ClassVar[type[ProtocolOptions]] = SegmentationOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "parsing": {"counts": (20, 50, 2000)},
        # As far in a tenth of the steps: 0.79 against 0.77 of intersection over union, on rendered faces.
        "quick": {
            "counts": (10, 50),
            "steps": 200,
            "batch_size": 16,
            "learning_rate": 0.3,
            "map_stride": 4,
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MIOU, PIXEL_ACCURACY)

    def check(self, options: SegmentationOptions, data: EvaluationData) -> None:
        train, test = data.training().cropped(), data.test.cropped()
        for split in (train, test):
            if not annotated_images(split):
                raise BenchError(
                    f"{split.name} has no masks, and segmentation needs them", hint=_WHERE_MASKS_ARE
                )
        if train.classes != test.classes:
            raise BenchError(
                f"{train.name} has classes {', '.join(train.classes)}, and {test.name} {', '.join(test.classes)}",
                hint="Choose splits of one data set.",
            )
        annotated = len(annotated_images(train))
        if options.counts[0] > annotated:
            raise BenchError(
                f"the smallest support set has {options.counts[0]} images, and {train.name} has {annotated} "
                f"with masks",
                hint="Ask for fewer: -P counts=[1,5].",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: SegmentationOptions, run: RunContext
    ) -> Measurement:
        learner = _Learner(extractor, data.training().cropped(), data.test.cropped(), options, run)
        annotated = len(learner.annotated)
        counts = [count for count in options.counts if count <= annotated]
        per_sample: Arrays = {
            "ids": np.array(learner.test.ids),
            "class_names": np.array(learner.test.classes, dtype=np.str_),
        }
        predictions: dict[int, np.ndarray[Any, Any]] = {}
        for count in counts:
            results = [learner.result(count, draw) for draw in range(options.draws)]
            for name in (*COUNTED, "support_ids", "losses"):
                per_sample[f"{name}_{count}"] = np.stack([result[name] for result in results])
            per_sample["labelled"] = results[0]["labelled"]
            predictions[count] = results[0]["shown"]
        skipped = ", ".join(str(count) for count in options.counts if count not in counts)
        reason = f"annotations = {skipped} skipped: {learner.train.name} has {annotated} images with masks"
        return Measurement(
            values_by_count(per_sample, options.counts, run.seed),
            per_sample,
            notes=(reason,) if skipped else (),
            pictures={"segments": _picture(learner.test, predictions)},
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return values_by_count(arrays, self.options_of(record).counts, record.seed)


@dataclass
class _Learner:
    """Learns from the support set of one count and one draw after another."""

    extractor: FeatureExtractor
    train: LoadedSplit
    test: LoadedSplit
    options: SegmentationOptions
    run: RunContext

    @cached_property
    def annotated(self) -> list[int]:
        return annotated_images(self.train)

    @cached_property
    def size(self) -> tuple[int, int]:
        height, width = self.test.images.shape[-2:]
        return self.options.map_size((height, width))

    @cached_property
    def unseen(self) -> FeatureMap:
        return self.run.features(self.extractor, self.test.images, "test images", self.size, keep=True)

    def result(self, count: int, draw: int) -> Arrays:
        key = f"segmentation/annotations={count}/draw={draw}"
        return self.run.step(key, lambda: self._learn(count, draw, key))

    def _learn(self, count: int, draw: int, key: str) -> Arrays:
        seed = derive_seed(self.run.seed, "segmentation", draw)
        order = torch.randperm(len(self.annotated), generator=torch_generator(seed, "support"))
        support = self.train.take([self.annotated[int(i)] for i in order[:count]])
        frozen = self.run.features(self.extractor, support.images, f"support images, {key}", self.size)
        network = copy.deepcopy(self.extractor) if self.options.finetune else None

        def read(places: Tensor) -> FeatureMap:
            if network is None:
                return frozen[places].to(self.run.device)
            images = support.images[places].to(self.run.device).float() / 255
            features: FeatureMap = network(images)
            return features.defined_at(self.size)

        if network is not None:
            network.eval().requires_grad_(True)
        scale = 1 / max(frozen.mean_length(), _SHORTEST)
        head = SegmentationHead(frozen.channels, len(self.train.classes), scale)
        losses = train_head(
            head,
            read,
            class_shares(_masks(support), len(self.train.classes), self.size),
            self.options.settings(),
            network=network,
            seed=derive_seed(seed, "fit"),
            run=self.run,
            key=key,
        )
        predicted = self._predict(head, network)
        return {
            **count_pixels(predicted, _masks(self.test), len(self.train.classes)),
            "support_ids": np.array(support.ids),
            "losses": losses,
            "shown": predicted[shown(len(self.test))].numpy(),
        }

    def _predict(self, head: SegmentationHead, network: FeatureExtractor | None) -> Tensor:
        """(N, S, S), uint8, of the test images."""
        height, width = self.test.images.shape[-2:]
        parts = []
        for start in range(0, len(self.test), self.run.batch_size):
            place = slice(start, start + self.run.batch_size)
            if network is None:
                features = self.unseen[place].to(self.run.device)
            else:
                features = network.extract(self.test.images[place].to(self.run.device)).defined_at(self.size)
            with torch.no_grad():
                parts.append(resize(head(features), (height, width)).argmax(1).to(torch.uint8).cpu())
        return torch.cat(parts)


def annotated_images(split: LoadedSplit) -> list[int]:
    """The images of which a pixel's class is known."""
    if split.masks is None:
        return []
    return [int(i) for i in (split.masks != UNLABELLED).any(2).any(1).nonzero()]


def shown(count: int) -> list[int]:
    """The images on a picture, evenly spread over ``count``."""
    number = min(_SHOWN, count)
    return [i * count // number for i in range(number)]


def _masks(split: LoadedSplit) -> Tensor:
    if split.masks is None:
        raise BenchError(f"{split.name} has no masks, and segmentation needs them", hint=_WHERE_MASKS_ARE)
    return split.masks


def _picture(test: LoadedSplit, predictions: dict[int, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Some test images, their annotation, and what was predicted from each number of annotations (first draw)."""
    # Imported here: it takes long to load, and whoever lists protocols draws nothing.
    from protocols.part_discovery.picture_sheet import Row, class_colours, draw_sheet, painted  # noqa: PLC0415

    some = test.take(shown(len(test)))
    images = some.images.permute(0, 2, 3, 1).numpy()
    colours = class_colours(len(test.classes))

    def row(name: str, numbers: np.ndarray[Any, Any]) -> Row:
        return Row(name, [painted(i, n, colours) for i, n in zip(images, numbers, strict=True)])

    rows = [Row("image", list(images)), row("annotation", _masks(some).numpy())]
    rows += [row(f"{count}\nannotations", numbers) for count, numbers in predictions.items()]
    return draw_sheet(rows, list(zip(test.classes, colours, strict=True)))
