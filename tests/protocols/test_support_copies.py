from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.context import RunContext
from bench.loading import LoadedSplit
from protocols.fewshot import FewShot, FewShotOptions
from protocols.heads.regressor import fit_and_predict
from protocols.support import draw_seed, support_order
from protocols.support_copies import SupportFeatures, warped_copies
from tests.protocols.regression_world import Colours, evaluation_data, world

COUNTS = (1, 5, 12)
OPTIONS = FewShotOptions(counts=COUNTS, draws=2, copies=24, epochs=3, cosine_t_max=3, batch_size=12)
PLAIN = OPTIONS.model_copy(update={"augment": False})
SIZE = (16, 16)


def shared(
    options: FewShotOptions = OPTIONS,
    counts: tuple[int, ...] = COUNTS,
    run: RunContext | None = None,
    drawn: LoadedSplit | None = None,
) -> tuple[SupportFeatures, Colours]:
    extractor = Colours()
    drawn = drawn or world("train", counts[-1])
    run = run or RunContext(batch_size=10)
    return SupportFeatures(
        extractor, drawn, counts, options, run, seed=7, size=SIZE, what="images"
    ), extractor


def separate(count: int, options: FewShotOptions) -> LoadedSplit:
    support = world("train", COUNTS[-1]).take(list(range(count)))
    return warped_copies(support, 7, options, RunContext()) if options.augment else support.cropped()


def check(features: SupportFeatures, count: int, options: FewShotOptions) -> None:
    split, found = features.of(count)
    expected = separate(count, options)
    assert split.ids == expected.ids
    assert torch.equal(split.images, expected.images)
    assert torch.equal(split.points, expected.points)
    assert torch.equal(split.visible, expected.visible)
    read = Colours().extract(expected.images)
    assert (found.size, found.image_size) == (SIZE, read.image_size)
    for ours, theirs in zip(found.levels, read.levels, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("options", [OPTIONS, PLAIN], ids=["warped", "plain"])
@pytest.mark.parametrize("order", [COUNTS, (12,), (5, 12), (12, 1, 5), (5, 5)])
def test_every_set_is_what_it_is_by_itself(options: FewShotOptions, order: tuple[int, ...]) -> None:
    features, _ = shared(options)
    for count in order:
        check(features, count, options)


def test_every_copy_is_read_once() -> None:
    features, extractor = shared()
    seen = []
    for count in COUNTS:
        features.of(count)
        seen.append(extractor.images_seen)
    # 24 copies of one image; 4 each of four more; 2 each of seven more.
    assert seen == [24, 24 + 16, 24 + 16 + 14]


def test_the_papers_sets_are_read_in_3900_images() -> None:
    counts = (1, 5, 10, 20, 50, 100)
    features, extractor = shared(FewShotOptions(counts=counts), counts, RunContext(batch_size=500))
    for count in counts:
        features.of(count)
    assert extractor.images_seen == 3900


def test_plain_images_are_read_once() -> None:
    features, extractor = shared(PLAIN)
    for count in COUNTS:
        features.of(count)
    assert extractor.images_seen == 12


def test_only_one_set_is_kept() -> None:
    features, _ = shared()
    for count in COUNTS:
        split, found = features.of(count)
        assert len(found) == len(split) == count * (24 // count)
        for level in found.levels:
            assert level.untyped_storage().nbytes() == level.element_size() * math.prod(level.shape)


class _BatchesSeen(Colours):
    """Remembers of which images each batch was made."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor):  # type: ignore[no-untyped-def]
        self.batches.append(images)
        return super().forward(images)


def test_a_run_that_continues_reads_the_same_batches() -> None:
    undisturbed, continued = _BatchesSeen(), _BatchesSeen()
    for extractor, counts in ((undisturbed, COUNTS), (continued, COUNTS[2:])):
        features, _ = shared()
        features.extractor = extractor
        for count in counts:
            features.of(count)
    for batch in continued.batches:
        assert any(batch.shape == other.shape and torch.equal(batch, other) for other in undisturbed.batches)


def test_trainings_are_those_of_separate_sets() -> None:
    data, extractor, run = evaluation_data(), Colours(), RunContext(seed=3)
    measured = FewShot().measure(extractor, data, OPTIONS, run).per_sample
    train, unseen = data.training(), run.features(extractor, data.test.cropped().images, size=SIZE)
    for count in COUNTS:
        for draw in range(OPTIONS.draws):
            seed = draw_seed(run.seed, draw)
            support = train.take(support_order(train, seed)[:count])
            split = warped_copies(support, seed, OPTIONS, run)
            learned = run.features(extractor, split.images, size=SIZE)
            expected = fit_and_predict(
                OPTIONS, run, learned=learned, split=split, unseen=unseen, seed=seed, key="separate"
            )
            np.testing.assert_array_equal(measured[f"predictions_{count}"][draw], expected["predictions"])
            np.testing.assert_array_equal(measured[f"losses_{count}"][draw], expected["losses"])
