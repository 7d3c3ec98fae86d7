"""Landmark regression in which the network learns together with the regressor."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from bench.progress import Progress
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions, Role
from bench.record import RunRecord
from bench.seeds import derive_seed, torch_generator
from protocols.annotations import annotation_arrays, check_landmarks, error_arrays, scoring_notes
from protocols.heads.best_epoch import BestEpoch
from protocols.heads.fitting import train
from protocols.heads.regressor import RegressorOptions, chosen_notes, unit_factor, validation_split
from protocols.heads.virtual_keypoints import VirtualKeypointRegressor, to_normalised, to_pixels
from protocols.pictures.cases import draw_cases
from protocols.regression import Regression
from protocols.scores.landmarks import LANDMARK_METRICS, reported, scores, selection_score
from protocols.stored import StoredAnnotation, required_tensor
from protocols.support import draw_seed, support_order

_SAVE_SECONDS = 120.0
"""Between two saved states, which here hold a whole network and its optimiser's."""


class FinetuneOptions(RegressorOptions):
    """How the regressor is trained, as in the regression protocol, and the network with it."""

    network_learning_rate: float = Field(
        0.001, ge=0, description="Adam's initial rate of the network's parameters (0: they stay)."
    )
    images: int | None = Field(
        None, ge=1, description="Annotated images to learn from, drawn with the seed (null: the whole split)."
    )


class Finetune(Protocol):
    """The regression protocol with all layers of the network trained too, on the loss of the regressor.

    One Adam trains both, with one weight decay and one schedule. The paper says no more than "end-to-end fine-tuning
    of all layers": rates, epochs and the rest are therefore those of its regression. Its representation is the fourth
    block of a ResNet-50 (``-M features=conv4``).

    Batch norm stays in evaluation mode: its statistics are those of the pre-training, its scales and shifts learn. A
    prediction then never depends on the other images of a batch, in training as in testing, and with the network's
    rate at 0 the training is that of the regression protocol, number for number.

    The network is a copy; the number is that after the last epoch, unless ``select_epoch`` says otherwise. With
    ``images`` it learns from some of the annotated images alone, which the quick preset does.

    Reference:
        ContrastLandmarks, supplement, section 1.2 and Table 1.
    """

    name: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "landmarks regressed by network and regressor trained together"
    reference: ClassVar[str] = "Cheng et al., ICCV 2021, supplement, Table 1"
    Options: ClassVar[type[ProtocolOptions]] = FinetuneOptions
    # Each step trains a network too: of 32 images of 96 px 0.43 s on one core for a ResNet-18 of width 32, 1 to 2 s for
    # SmallNet and Thewlis' network, whose maps are larger. So quick learns from some of the images, 108 steps of 16,
    # however large the split is. On rendered faces, against 93 steps of 32 of all 1000 at a rate of 0.001, in % of the
    # inter-ocular distance: Thewlis 21.8 and 24.1, Rahaman 42.6 and 48.9, supervised 23.3 and 52.3, LEAD 17.9 and
    # 17.7, DVE 30.1 and 28.6, ContrastLandmarks 26.2 and 23.6.
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "quick": {
            **Regression.presets["quick"],
            "images": 300,
            "batch_size": 16,
            "network_learning_rate": 0.0003,
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = LANDMARK_METRICS

    def roles(self, options: Any) -> tuple[Role, ...]:
        return options.roles()  # type: ignore[no-any-return]

    def check(self, options: Any, data: EvaluationData) -> None:
        check_landmarks(data)
        validation_split(options, data)

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: Any, run: RunContext
    ) -> Measurement:
        all_train, test = data.training().cropped(), data.test.cropped()
        train_split = _drawn(all_train, options.images, run.seed)
        validation = validation_split(options, data)

        def compute() -> Arrays:
            learner = _NetworkAndRegressor(extractor, train_split, options, run)
            best = None if validation is None else BestEpoch(lambda: learner.score(validation, run))
            losses = train(
                learner,
                len(train_split),
                options.settings(),
                seed=derive_seed(run.seed, "fit"),
                run=run,
                key="finetune",
                best=best,
                save_seconds=_SAVE_SECONDS,
            )
            result = {"predictions": learner.predict(test.images, run).numpy(), "losses": losses}
            if best is not None:
                result |= {"validation_scores": np.array(best.scores), "chosen_epoch": np.array(best.epoch)}
            return result

        result = run.step("finetune/result", compute)
        predictions = torch.from_numpy(result["predictions"])
        arrays = {**annotation_arrays(test), **result, **error_arrays(test, predictions)}
        return Measurement(
            values=_values(arrays, run.seed),
            per_sample=arrays,
            notes=(
                *_drawn_notes(train_split, all_train),
                *scoring_notes(train_split, test),
                *chosen_notes({"": [result]}, options, validation),
            ),
            pictures=draw_cases(predictions, test),
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _values(arrays, record.seed)


def _drawn(train_split: LoadedSplit, images: int | None, seed: int) -> LoadedSplit:
    """So many annotated images, those of few-shot's first draw; all images where there are no more."""
    if images is None or images >= len(train_split):
        return train_split
    return train_split.take(support_order(train_split, draw_seed(seed, 0))[:images])


def _drawn_notes(drawn: LoadedSplit, whole: LoadedSplit) -> tuple[str, ...]:
    return (f"learned from {len(drawn)} of {len(whole)} images",) if len(drawn) < len(whole) else ()


def _values(arrays: Arrays, seed: int) -> tuple[MetricValue, ...]:
    predictions = required_tensor(arrays, "predictions")
    return reported([scores(predictions, StoredAnnotation.of(arrays))], seed)


class _NetworkAndRegressor:
    """A copy of the network under a new regressor; seeds and arithmetic are those of ``fit_and_predict``."""

    def __init__(
        self, extractor: FeatureExtractor, split: LoadedSplit, options: FinetuneOptions, run: RunContext
    ) -> None:
        height, width = split.images.shape[-2:]
        self.image_size, self.size = (height, width), options.map_size((height, width))
        self.images, self.device = split.images, run.device
        self.targets = to_normalised(split.points, self.image_size).to(run.device)
        self.visible = split.visible.to(run.device)
        self.factor = 1.0
        if options.feature_scale == "unit":
            # Of the pre-trained features, once: the factor is for where the regressor begins.
            learned = run.features(extractor, split.images, "training images", self.size, keep=True)
            self.factor = unit_factor(learned)
        self.network = copy.deepcopy(extractor).to(run.device).requires_grad_(True).eval()
        features = self._features(self.images[:1])
        if not any(level.requires_grad for level in features.levels):
            raise BenchError(
                f"{type(extractor).__name__} has nothing to fine-tune: no parameter changes its features",
                hint="Measure it with -p regression, which trains no network.",
            )
        self.regressor = VirtualKeypointRegressor(
            features.channels, split.points.shape[1], torch_generator(run.seed, "regressor")
        ).to(run.device)
        self.modules: dict[str, nn.Module] = {"network": self.network, "regressor": self.regressor}
        relative_rate = options.network_learning_rate / options.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": list(self.regressor.parameters())},
            {"params": list(self.network.parameters()), "relative_rate": relative_rate},
        ]
        self.optimiser: torch.optim.Optimizer = options.settings().optimiser(groups)

    def loss_and_gradients(self, picked: Tensor) -> Tensor:
        features = self._features(self.images[picked])
        # The regressor works through its landmarks in groups, each of which would need the network's graph: it gives
        # the gradients of the features, and one pass takes them through the network.
        read = replace(
            features,
            levels=tuple(level.detach().requires_grad_(level.requires_grad) for level in features.levels),
        )
        here = picked.to(self.device)
        loss = self.regressor.loss_and_gradients(read, self.targets[here], self.visible[here])
        self.network.zero_grad(set_to_none=True)
        learned = [level for level in features.levels if level.requires_grad]
        torch.autograd.backward(learned, [level.grad for level in read.levels if level.requires_grad])
        return loss

    def predict(self, images: Tensor, run: RunContext) -> Tensor:
        """(N, 3, S, S), uint8 -> (N, K, 2), pixels."""
        features = run.features(self.network, images, "test images", self.size)
        with run.phase("head"), torch.no_grad():
            predicted = [
                self.regressor(part.to(run.device).scaled(self.factor)).cpu()
                for part in features.split(run.batch_size)
            ]
        return to_pixels(torch.cat(predicted), self.image_size)

    def score(self, validation: LoadedSplit, run: RunContext) -> float:
        """Of network and regressor as they are now."""
        # The training has a progress bar of its own, and a terminal shows one at a time.
        quiet = replace(run, progress=Progress.silent())
        return selection_score(self.predict(validation.images, quiet), validation)

    def _features(self, images: Tensor) -> FeatureMap:
        """As the regressor reads them, with gradients."""
        found: FeatureMap = self.network(images.to(self.device).float() / 255)
        return found.defined_at(self.size).condensed().scaled(self.factor)
