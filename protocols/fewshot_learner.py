"""Regressors that learn from support sets: of every draw, one for each number of annotated images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from protocols.heads.regressor import Validation, fit_and_predict, predict_directly, predicts_itself
from protocols.heads.side_by_side import side_by_side
from protocols.support import draw_seed, support_order
from protocols.support_copies import SupportFeatures

if TYPE_CHECKING:
    from protocols.fewshot import FewShotOptions


Learning = Callable[[RunContext], Arrays]
"""What remains to be done once features are read."""

_FEATURES_AT_ONCE = 1 << 30
"""Bytes of features on which trainings at the same time may learn; one alone may have more."""


@dataclass
class Learner:
    """Learns from the support set of one count and one draw after another."""

    extractor: FeatureExtractor
    train: LoadedSplit
    test_images: Tensor
    validation: LoadedSplit | None
    options: FewShotOptions
    run: RunContext

    @cached_property
    def unseen(self) -> FeatureMap:
        return self.run.features(self.extractor, self.test_images, "test images", self._map_size, keep=True)

    @cached_property
    def watched(self) -> Validation | None:
        return Validation.read(self.extractor, self.validation, self.options, self.run)

    @property
    def _map_size(self) -> tuple[int, int]:
        height, width = self.test_images.shape[-2:]
        return self.options.map_size((height, width))

    def results(self, counts: list[int]) -> dict[int, list[Arrays]]:
        """By count, of all draws. Draw by draw, because the support sets of a draw share their features."""
        found: dict[int, list[Arrays]] = {count: [] for count in counts}
        for draw in range(self.options.draws):
            drawn = self._drawn(counts, draw)
            waiting: dict[int, Learning] = {}
            for count in counts:
                waiting[count] = self._learning(drawn, count, draw)
                if count == counts[-1] or not self._one_more(drawn, len(waiting)):
                    results = side_by_side(list(waiting.values()), self.run, f"fewshot, draw={draw}")
                    for learned, result in zip(waiting, results, strict=True):
                        found[learned].append(result)
                    waiting = {}
        return found

    def _one_more(self, drawn: SupportFeatures, waiting: int) -> bool:
        """Whether there is a core for another training, and memory for its features."""
        return waiting < torch.get_num_threads() and (waiting + 1) * drawn.nbytes < _FEATURES_AT_ONCE

    def _drawn(self, counts: list[int], draw: int) -> SupportFeatures:
        seed = draw_seed(self.run.seed, draw)
        drawn = self.train.take(support_order(self.train, seed)[: counts[-1]])
        return SupportFeatures(
            self.extractor,
            drawn,
            counts,
            self.options,
            self.run,
            seed=seed,
            size=self._map_size,
            what=f"support images, draw={draw}",
        )

    def _learning(self, drawn: SupportFeatures, count: int, draw: int) -> Learning:
        """What remains to be done of a count once its features are read."""
        key = f"fewshot/annotations={count}/draw={draw}"
        known = self.run.finished(key)
        if known is not None:
            return partial(_as_is, known)
        support = drawn.drawn.take(list(range(count)))
        predict = self._prediction(drawn, support, count, key)

        def learn(run: RunContext) -> Arrays:
            result = {**predict(run), "support_ids": np.array(support.ids)}
            run.finish(key, result)
            return result

        return learn

    def _prediction(self, drawn: SupportFeatures, support: LoadedSplit, count: int, key: str) -> Learning:
        if predicts_from_support(self.extractor):
            direct = predict_directly(
                self.extractor, self.run, split=support.cropped(), unseen=self.test_images
            )
            return partial(_as_is, direct)
        split, learned = drawn.of(count)
        return partial(
            fit_and_predict,
            self.options.for_count(count),
            learned=learned,
            split=split,
            unseen=self.unseen,
            seed=drawn.seed,
            key=key,
            validation=self.watched,
        )


def _as_is(result: Arrays, run: RunContext) -> Arrays:
    del run
    return result


def predicts_from_support(extractor: FeatureExtractor) -> bool:
    """A network that was trained with all annotations would give the same, however few are given."""
    return predicts_itself(extractor) and not extractor.knows_annotations
